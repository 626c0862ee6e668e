"""Surgery computes what the silenced wide network computes; files give back what was saved."""

import copy
import json
import resource
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import lwdna
from lwdna.errors import CheckpointError, ConfigError, GraphError, LwdnaError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import cut, silence
from lwdna.networks.build import build
from lwdna.networks.provenance import NetworkSpec
from lwdna.networks.registry import input_shape
from lwdna.networks.sealed import seal
from lwdna.networks.weights import save

models = torchvision.models
BLOCKS = ((24, 1), (32, 2), (40, 1))
NETWORKS = {
    "ResNet8": (lambda: build("ResNet8", width=0.5), (2, 3, 16, 16)),
    "ResNet20": (lambda: build("ResNet20", width=0.5), (2, 3, 16, 16)),
    "MobileNetV1": (lambda: build("MobileNetV1", width=0.25), (2, 3, 32, 32)),
    "DnCNN": (lambda: build("DnCNN", width=0.5, blocks=4), (2, 1, 8, 8)),
    "U-Net": (lambda: build("U-Net", width=0.25, depth=4), (2, 1, 16, 16)),
    "EDSR": (lambda: build("EDSR", width=0.125, blocks=2), (2, 3, 4, 4)),
    "SRResNet": (lambda: build("SRResNet", width=0.25, blocks=2), (2, 3, 4, 4)),
    "EDSR x3": (lambda: build("EDSR", width=0.125, blocks=1, scale=3), (2, 3, 4, 4)),
    "resnet18": (lambda: models.resnet18(num_classes=10), (2, 3, 32, 32)),
    "densenet121": (lambda: models.densenet121(num_classes=10), (2, 3, 32, 32)),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=10), (2, 3, 32, 32)),
    "regnet_y_400mf": (lambda: models.regnet_y_400mf(num_classes=10), (2, 3, 32, 32)),
}

OURS = list(NETWORKS)[:7]


def storages(model):
    tensors = [*model.parameters(), *model.buffers()]
    return {t.untyped_storage().data_ptr() for t in tensors if t.numel()}


@pytest.mark.parametrize("name", NETWORKS)
def test_cut_equals_silence(name, random_mask, scramble, snapshot):
    make, shape = NETWORKS[name]
    wide = scramble(make()).double().eval()
    x = torch.randn(shape, dtype=torch.float64)
    graph = ChannelGraph(wide, x)
    counted = MaskedComplexity(graph)
    before = snapshot(wide)
    for seed, share in ((0, 0.3), (1, 0.8)) if name in OURS else ((2, 0.5),):
        mask = random_mask(graph, seed, share)
        small, silent = cut(graph, wide, mask), silence(graph, wide, mask)
        with torch.no_grad():
            expected = silent(x)
            torch.testing.assert_close(small(x), expected, rtol=1e-10, atol=1e-10)
            # The test sees something: dropping these channels changed the output.
            whole = wide(x)
            assert float((whole - expected).abs().max() / whole.std()) > 1e-3
        assert complexity(small, x) == (counted.flops(mask), counted.params(mask))
        assert not storages(small) & storages(wide)
        assert not small.training
        assert [n for n, _ in small.named_modules()] == [n for n, _ in wide.named_modules()]
        for layer, kept in graph.kept(mask).items():
            module = small.get_submodule(layer)
            assert (
                len(kept) == getattr(module, "out_channels", None)
                or len(kept) == module.out_features
            )
    snapshot.compare(wide, before)


@pytest.mark.parametrize("name", ["ResNet20", "MobileNetV1", "SRResNet"])
def test_cut_network_trains_like_the_silenced_one(name, random_mask):
    """Batch statistics and gradients of what is kept."""
    make, shape = NETWORKS[name]
    wide = make().double().train()
    for module in wide.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.randn(4, *shape[1:], dtype=torch.float64)
    graph = ChannelGraph(wide, x)
    mask = random_mask(graph, 0, 0.5)
    small, silent = cut(graph, wide, mask), silence(graph, wide, mask)
    for model in (small, silent):
        model(x).square().mean().backward()
    grads = copy.deepcopy(silent)
    with torch.no_grad():
        for own, theirs in zip(grads.parameters(), silent.parameters(), strict=True):
            own.copy_(theirs.grad)
    for (layer, own), theirs in zip(
        small.named_parameters(), cut(graph, grads, mask).parameters(), strict=True
    ):
        torch.testing.assert_close(own.grad, theirs, rtol=1e-8, atol=1e-10, msg=layer)


class ImageNorm(nn.LayerNorm):
    """Over the channels of ``(B, C, H, W)``; knows where it has run."""

    ran_on: ClassVar[set[str]] = set()

    def forward(self, x):
        self.ran_on.add(x.device.type)
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def test_which_axis_a_norm_of_many_channels_takes_is_asked_without_data(random_mask):
    """Images of more pixels a side than channels would not fit into memory."""
    net = nn.Sequential(nn.Conv2d(3, 2048, 1), ImageNorm(2048), nn.Conv2d(2048, 4, 1)).double()
    x = torch.rand(2, 3, 3, 3, dtype=torch.float64)
    graph = ChannelGraph(net, x)
    mask = random_mask(graph)
    ImageNorm.ran_on.clear()
    silent = silence(graph, net, mask)
    assert ImageNorm.ran_on == {"meta"}
    torch.testing.assert_close(cut(graph, net, mask)(x), silent(x))


def test_full_mask_cuts_nothing(scramble):
    model = scramble(build("ResNet8")).eval()
    x = torch.randn(2, 3, 16, 16)
    graph = ChannelGraph(model, x)
    whole = cut(graph, model, graph.full_mask())
    assert torch.equal(whole(x), model(x))
    assert whole.state_dict().keys() == model.state_dict().keys()


def test_cut_in_single_precision_and_without_gradient(random_mask, scramble):
    model = scramble(build("EDSR", width=0.125, blocks=1)).eval()
    x = 255 * torch.rand(1, 3, 6, 6)
    graph = ChannelGraph(model, x)
    mask = random_mask(graph)
    small = cut(graph, model, mask)
    torch.testing.assert_close(small(x), silence(graph, model, mask)(x), rtol=1e-5, atol=1e-3)
    # What was fixed stays fixed, what was trained is trained.
    grads = {name: p.requires_grad for name, p in model.named_parameters()}
    assert {name: p.requires_grad for name, p in small.named_parameters()} == grads
    assert {p.dtype for p in small.parameters()} == {torch.float32}


@pytest.mark.parametrize("per_channel", [False, True])
def test_buffer_that_is_not_saved(net, random_mask, per_channel):
    def run(self, x):
        return self.b(self.a(x) * self.scale)

    model = net(run, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 2, 1))
    value = torch.rand(1, 8, 1, 1) if per_channel else torch.tensor(2.0)
    model.register_buffer("scale", value, persistent=False)
    x = torch.randn(1, 3, 4, 4)
    graph = ChannelGraph(model, x)
    mask = random_mask(graph)
    assert not mask.all()
    small = cut(graph, model, mask)
    torch.testing.assert_close(small(x), silence(graph, model, mask)(x))


def test_layer_registered_twice(net, random_mask, tmp_path):
    def make():
        model = net(
            lambda self, x: self.c(self.b(self.a(x).relu())),
            a=nn.Conv2d(8, 8, 1),
            c=nn.Conv2d(8, 2, 1),
        )
        model.b = model.a
        return nn.Sequential(nn.Conv2d(3, 8, 1), model)

    model = make()
    x = torch.randn(1, 3, 4, 4)
    result = lwdna.shrink(model, x, None, target_flops=1000, criterion="magnitude")
    assert result.model[1].a is result.model[1].b
    result.save(tmp_path / "x.safetensors")
    loaded = lwdna.load(tmp_path / "x.safetensors", network=make)
    torch.testing.assert_close(loaded(x), result.model(x))


def test_weight_shared_by_two_layers_is_refused(net):
    model = net(lambda self, x: self.b(self.a(x)), a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1))
    model.b.weight = model.a.weight
    with pytest.raises(GraphError, match="'a' and 'b' share a weight"):
        ChannelGraph(model, torch.randn(1, 3, 4, 4))


def test_silence_does_not_touch_what_it_was_given(random_mask):
    model = build("DnCNN", width=0.25, blocks=1)
    graph = ChannelGraph(model, torch.zeros(1, 1, 8, 8))
    before = model.tail.weight.clone()
    mask = random_mask(graph)
    silent = silence(graph, model, mask)
    assert torch.equal(model.tail.weight, before)
    kept = mask[graph.layers["tail"].inputs]
    assert torch.equal(silent.tail.weight[:, kept], before[:, kept])
    assert not silent.tail.weight[:, ~kept].any()


# -- files ---------------------------------------------------------------------------------------


def small_network(name):
    """A shrunk network, and an input for it."""
    make, shape = NETWORKS[name]
    model, x = make(), torch.randn(shape)
    target = 0.6 * complexity(model, x)[0]
    options = {"criterion": "magnitude", "rho": 0.1, "tau": 0.2}
    return lwdna.shrink(model, x, None, target_flops=target, **options), x


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "small.safetensors"
    small_network("ResNet8")[0].save(path)
    return path


@pytest.fixture
def saved(saved_once, tmp_path):
    """A file of a shrunk ResNet8, to be damaged."""
    return Path(shutil.copy(saved_once, tmp_path))


@pytest.mark.parametrize("name", OURS)
def test_round_trip(name, tmp_path, scramble):
    result, x = small_network(name)
    scramble(result.model).eval()
    path = tmp_path / "new folder" / "small.safetensors"
    result.save(path)
    loaded = lwdna.load(path).eval()
    for key, tensor in result.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    # Memory that lies differently may round differently.
    torch.testing.assert_close(loaded(x), result.model(x), rtol=1e-5, atol=1e-4)
    assert type(loaded) is type(result.model)
    assert loaded.provenance == result.model.provenance
    assert loaded.provenance.spec.name == name
    assert loaded.provenance.kept == result.kept
    wide = build(name, width=loaded.provenance.spec.width, **loaded.provenance.spec.options)
    for layer, kept in result.kept.items():
        module = loaded.get_submodule(layer)
        assert getattr(module, "out_channels", getattr(module, "out_features", 0)) == len(kept)
        assert len(kept) <= result.channels_before[layer]
        if layer.startswith("sub_mean"):
            assert torch.equal(module.weight, wide.get_submodule(layer).weight)
    assert {t.device.type for t in [*loaded.parameters(), *loaded.buffers()]} == {"cpu"}
    # It can be trained, and saved again.
    loaded.train()(x).mean().backward()
    save(loaded, tmp_path / "again.safetensors")
    again = lwdna.load(tmp_path / "again.safetensors")
    assert again.provenance == loaded.provenance


def test_saving_twice_gives_the_same_bytes(tmp_path):
    model = build("ResNet8")
    contents = set()
    for number in range(8):  # an order that only chance decides would differ in some of these
        save(model, tmp_path / f"{number}.safetensors")
        contents.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(contents) == 1


def test_network_that_was_not_shrunk(tmp_path):
    model = build("ResNet8", dataset="cifar100", width=1.5)
    save(model, tmp_path / "x.safetensors")
    loaded = lwdna.load(tmp_path / "x.safetensors")
    assert loaded.provenance.spec == NetworkSpec("ResNet8", "cifar100", 1.5, {})
    assert loaded.provenance.kept is None
    x = torch.randn(2, *input_shape("ResNet8")[1:])
    assert torch.equal(loaded.eval()(x), model.eval()(x))


def own_network(kernel=3):
    return nn.Sequential(
        nn.Conv2d(3, 12, kernel, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 2, 1)
    )


@pytest.fixture
def own(tmp_path):
    """A network that ``lwdna.build`` does not know, shrunk and saved."""
    x = torch.randn(2, 3, 6, 6)
    result = lwdna.shrink(own_network(), x, None, target_flops=8000, criterion="magnitude")
    assert len(result.kept["0"]) < 12
    path = tmp_path / "own.safetensors"
    result.save(path)
    return path, result, x


def test_network_of_a_user(own):
    path, result, x = own
    loaded = lwdna.load(path, network=own_network)
    assert torch.equal(loaded.eval()(x), result.model.eval()(x))
    assert loaded.provenance.spec is None
    assert loaded.provenance.kept == result.kept
    with pytest.raises(CheckpointError, match=r"network=function"):
        lwdna.load(path)


@pytest.mark.parametrize(
    "other",
    [
        lambda: build("ResNet8"),
        lambda: nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU()),
        lambda: own_network()[:3],
        lambda: nn.Sequential(*own_network(), nn.Linear(2, 2)),
        lambda: nn.Sequential(
            nn.Conv1d(3, 12, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 2, 1)
        ),
        # A network of the same names whose kernels differ would compute something else.
        lambda: own_network(kernel=5),
        # So would one that is narrower than what was saved.
        lambda: nn.Sequential(
            nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1)
        ),
        lambda: nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 2, 1)
        ),
    ],
    ids=["resnet", "fewer", "slice", "more", "1d", "kernel", "narrower", "gray"],
)
def test_wrong_network(own, other):
    path, _, _ = own
    with pytest.raises(CheckpointError, match=f"(?s){path.name}.*do not belong"):
        lwdna.load(path, network=other)


@pytest.mark.parametrize("share", [0, 0.0001, 0.02, 0.5, 0.999])
def test_truncated_file(saved, share):
    path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"small\.safetensors.*delete it"):
        lwdna.load(path)


@pytest.mark.parametrize("content", [b"hello\n", b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04" * 9])
def test_file_of_another_kind(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        lwdna.load(path)


def test_no_file(tmp_path):
    for path in (tmp_path / "x.safetensors", tmp_path / "a" / "b"):
        with pytest.raises(CheckpointError, match="no weights file"):
            lwdna.load(path)
    with pytest.raises(ConfigError, match="give the name of a file, not of a folder"):
        lwdna.load(tmp_path)


def test_pickle_is_not_run(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(build("ResNet8").state_dict(), path)
    with pytest.raises(CheckpointError):
        lwdna.load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "lwdna-network"}])
def test_safetensors_of_another_program(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(CheckpointError, match="not a network saved by this version"):
        lwdna.load(path)


def rewrite(path, change_metadata=lambda m: None, change_tensors=lambda t: None):
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about = json.loads(metadata["lwdna"])
    change_metadata(about)
    change_tensors(tensors)
    about.pop("digest", None)
    about["digest"] = seal(about, tensors)
    save_file(tensors, path, {"lwdna": json.dumps(about)})


def test_one_changed_byte_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    data[-200] ^= 1
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"small\.safetensors' is damaged"):
        lwdna.load(saved)


def parsed(text):
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def spec(**changes):
    whole = {"name": "ResNet8", "dataset": "cifar10", "width": 0.5, "options": {}}
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[1]",
        "7",
        '"ResNet8"',
        '{"name": "ResNet8"}',
        spec(more=1),
        spec(name="ResNet19"),
        spec(name="AlexNet"),
        spec(name=7),
        spec(dataset="mnist"),
        spec(dataset=["cifar10"]),
        spec(width="wide"),
        spec(width=-1),
        spec(options={"blocks": 1}),
        spec(options=[1]),
    ],
)
def test_damaged_network_in_the_metadata(saved, value):
    rewrite(saved, lambda metadata: metadata.update(network=parsed(value)))
    with pytest.raises(CheckpointError, match=r"small\.safetensors"):
        lwdna.load(saved)


@pytest.mark.parametrize("value", ["{", "7", '"stem"', "[1]", '{"stem.0": 3}', '{"x": ["y"]}'])
def test_damaged_channel_indices_in_the_metadata(saved, value):
    rewrite(saved, lambda metadata: metadata.update(kept=parsed(value)))
    with pytest.raises(CheckpointError, match=r"small\.safetensors"):
        lwdna.load(saved)


@pytest.mark.parametrize(
    "missing", ["format", "version", "network", "kept", "shrinkage", "arguments"]
)
def test_missing_metadata(saved, missing):
    rewrite(saved, lambda metadata: metadata.pop(missing))
    with pytest.raises(CheckpointError, match=r"small\.safetensors"):
        lwdna.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("stem.0.weight"),
        lambda t: t.update(extra=torch.zeros(1)),
        lambda t: t.update({"stem.1.weight": torch.zeros(3, 3)}),
        lambda t: t.update({"stem.1.weight": torch.zeros(3)}),
        lambda t: t.update({"stem.0.weight": torch.zeros(16, 1, 3, 3)}),
        lambda t: t.update({"stem.0.weight": torch.zeros(17, 3, 3, 3)}),
    ],
    ids=["one less", "one more", "dimensions", "batch norm", "input", "output"],
)
def test_tensors_that_do_not_fit(saved, change):
    rewrite(saved, change_tensors=change)
    with pytest.raises(CheckpointError, match=r"small\.safetensors"):
        lwdna.load(saved)


def test_full_disk_while_saving(tmp_path):
    model = build("ResNet8")
    path = tmp_path / "x.safetensors"
    save(build("ResNet8", width=0.1), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(LwdnaError, match=r"Cannot write '.*x\.safetensors'"):
            save(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


# -- what was kept -------------------------------------------------------------------------------


def test_summary_beside_the_weights(tmp_path):
    result, x = small_network("MobileNetV1")
    result.save(tmp_path / "small.safetensors")
    summary = json.loads((tmp_path / "small.json").read_text())
    assert summary["network"] == {
        "name": "MobileNetV1",
        "dataset": "tiny-imagenet",
        "width": 0.25,
        "options": {},
    }
    assert (summary["flops"]["after"], summary["params"]["after"]) == complexity(result.model, x)
    assert summary["flops"]["before"] == result.flops_before
    assert summary["params"]["before"] == result.params_before
    assert summary["inputs"] == [list(x.shape)]
    assert summary["settings"] == {
        "target_flops": 0.6 * result.flops_before,
        "rho": 0.1,
        "tau": 0.2,
        "criterion": "magnitude",
        "warmup_steps": 0,
        "batches": 2,
        "seed": 0,
        "embedding": 8,
        "batch_norm": True,
        "start": "fresh",
    }
    assert list(summary["layers"]) == list(result.kept)
    for name, entry in summary["layers"].items():
        assert entry["kept"] == result.kept[name]
        assert entry["after"] == len(entry["kept"])
        assert entry["before"] == result.channels_before[name]
        assert entry["percent"] == round(100 * entry["after"] / entry["before"], 2)
    # The weights say the same, in the same order.
    loaded = lwdna.load(tmp_path / "small.safetensors").provenance
    assert list(loaded.kept) == list(result.kept)
    assert loaded.shrinkage.settings == summary["settings"]


def test_the_summary_cannot_take_the_place_of_the_weights(tmp_path):
    with pytest.raises(LwdnaError, match=r"does not end in \.safetensors"):
        small_network("ResNet8")[0].save(tmp_path / "small.json")
    assert not list(tmp_path.iterdir())


def test_network_shrunk_twice(tmp_path):
    options = {"criterion": "magnitude", "rho": 0.1, "tau": 0.1}
    x = torch.randn(2, 3, 16, 16)
    first = lwdna.shrink(build("ResNet8"), x, None, target_flops=5e6 / 4, **options)
    second = lwdna.shrink(first.model, x, None, target_flops=0.7 * first.flops, **options)
    second.save(tmp_path / "x.safetensors")
    provenance = lwdna.load(tmp_path / "x.safetensors").provenance
    assert provenance.shrinkage.channels_before == first.channels_before
    assert provenance.shrinkage.flops_before == first.flops_before
    assert provenance.shrinkage.flops_after == second.flops
    for layer, indices in second.kept.items():
        assert provenance.kept[layer] == [first.kept[layer][i] for i in indices]


def test_network_of_another_width_than_the_one_that_was_shrunk(own):
    path, _, _ = own
    wider = [nn.Conv2d(3, 14, 3, padding=1), nn.BatchNorm2d(14), nn.ReLU(), nn.Conv2d(14, 2, 1)]
    with pytest.raises(CheckpointError, match=r"'0' had 12 channels .* but has 14"):
        lwdna.load(path, network=lambda: nn.Sequential(*wider))


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "7",
        "[]",
        "null",
        "{}",
        '{"channels_before": {"stem.0": 3}}',
        '{"channels_before": 3, "flops_before": 1, "flops_after": 1, "params_before": 1, '
        '"params_after": 1, "inputs": [[1]], "settings": {}}',
    ],
)
def test_damaged_shrinkage_in_the_metadata(saved, value):
    rewrite(saved, lambda metadata: metadata.update(shrinkage=parsed(value)))
    with pytest.raises(CheckpointError, match=r"small\.safetensors"):
        lwdna.load(saved)


def test_file_of_an_earlier_version(saved):
    rewrite(saved, lambda metadata: metadata.update(version=1))
    with pytest.raises(
        CheckpointError, match=r"this version of lwdna .*version 1\); make it again"
    ):
        lwdna.load(saved)
