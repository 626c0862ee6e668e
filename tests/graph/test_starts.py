"""The weights that a shrunk network starts from: scale, direction, and the same channels."""

import copy
import itertools
import json

import pytest
import torch
from torch import nn

import lwdna
from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.surgery import cut
from lwdna.networks.build import build
from lwdna.shrinkage.starts import STARTS, begin

BLOCKS = ((24, 1), (32, 2))
NETWORKS = {
    "EDSR": (lambda: build("EDSR", width=0.25, blocks=2), (2, 3, 8, 8)),
    "SRResNet": (lambda: build("SRResNet", width=0.5, blocks=2), (2, 3, 8, 8)),
    "SRResNet x3": (lambda: build("SRResNet", width=0.5, blocks=1, scale=3), (2, 3, 8, 8)),
    "U-Net": (lambda: build("U-Net", width=0.5, depth=3), (2, 1, 8, 8)),
    "ResNet8": (lambda: build("ResNet8", width=1), (2, 3, 16, 16)),
    "MobileNetV3-small": (
        lambda: build("MobileNetV3-small", dataset="cifar10", width=0.5),
        (2, 3, 32, 32),
    ),
    "MobileNetV1": (
        lambda: build("MobileNetV1", dataset="cifar10", blocks=BLOCKS),
        (2, 3, 8, 8),
    ),
}


def shrink(model, shape, loss_fn, **options):
    example = torch.zeros(shape)
    target = 0.5 * lwdna.complexity(model, example)[0]
    arguments = {"target_flops": target, "seed": 3, "rho": 0.1, "tau": 0.1} | options
    return lwdna.shrink(model, example, loss_fn, **arguments)


def of_every_start(name, stream, **options):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = make()
    found = {s: shrink(model, shape, stream(*shape), start=s, **options) for s in STARTS}
    return {start: result.model for start, result in found.items()}, found


def layers(model):
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
        and module.weight.requires_grad
    }


def scale(weight):
    return float(weight.detach().double().square().mean().sqrt())


@pytest.mark.parametrize("warmup_steps", [0, 1])
@pytest.mark.parametrize("name", ["ResNet8", "MobileNetV1"])
def test_the_start_makes_no_difference_to_the_channels(name, warmup_steps, stream):
    _, found = of_every_start(name, stream, warmup_steps=warmup_steps)
    assert found["generated"].kept == found["rescaled"].kept == found["fresh"].kept
    assert min(map(len, found["generated"].kept.values())) > 0
    assert {result.flops for result in found.values()} == {found["generated"].flops}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rescaled_layer_has_the_scale_of_a_fresh_one_and_its_own_direction(name, stream):
    models, _ = of_every_start(name, stream)
    generated, rescaled, fresh = (layers(models[start]) for start in STARTS)
    assert list(generated) == list(rescaled) == list(fresh)
    for layer, module in rescaled.items():
        ours, theirs = module.weight, generated[layer].weight
        assert scale(ours) == pytest.approx(scale(fresh[layer].weight), rel=1e-5), layer
        cosine = nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-5), layer
        if module.bias is not None:
            assert torch.equal(module.bias, fresh[layer].bias), layer


@pytest.mark.parametrize("name", ["ResNet8", "EDSR"])
def test_what_is_no_layer_is_left_as_it_was(name, stream):
    """Batch norm, and constants."""
    models, _ = of_every_start(name, stream)
    trained = {f"{layer}.{key}" for layer in layers(models["fresh"]) for key in ("weight", "bias")}
    generated, rescaled = (models[start].state_dict() for start in ("generated", "rescaled"))
    others = set(generated) - trained
    assert others
    assert all(torch.equal(generated[key], rescaled[key]) for key in others)


def test_the_generated_weights_are_those_that_were_cut(stream):
    make, shape = NETWORKS["ResNet8"]
    model = make()
    graph = ChannelGraph(model, torch.zeros(shape))
    result = shrink(model, shape, None, criterion="magnitude", start="generated")
    wide = copy.deepcopy(model)
    lwdna.shrinkage.latents.draw_weights(
        graph, wide, lwdna.shrinkage.latents.draw_latents(graph, 3), seed=3
    )
    mask = graph.full_mask()
    for layer, kept in result.kept.items():
        classes = graph.layers[layer].outputs
        dropped = sorted(set(range(len(classes))) - set(kept))
        mask[classes[dropped]] = False
    small = cut(graph, wide, mask)
    for key, tensor in small.state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[key]), key


@pytest.mark.parametrize(
    "name", ["DenseNet40", "MobileNetV2", "MobileNetV3-small", "U-Net", "EDSR"]
)
def test_fresh_weights_are_those_of_a_new_network(name):
    """Also with the network's own initialisation, and whatever was there before."""
    dataset = None if name in ("U-Net", "EDSR") else "cifar10"
    model, new = (build(name, dataset=dataset, width=0.5) for _ in range(2))
    with torch.no_grad():
        for module in layers(model).values():
            for tensor in module.parameters():
                tensor.fill_(5)
    begin(model, "fresh", layers=layers(model), seed=3)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for key, tensor in new.state_dict().items():
        found = before[key].float()
        if tensor.numel() > 200 and tensor.float().std() > 0:
            assert found.std() == pytest.approx(float(tensor.std()), rel=0.25), key
            assert not torch.equal(found, tensor)
        elif tensor.unique().numel() == 1:
            torch.testing.assert_close(before[key], tensor)
    begin(model, "fresh", layers=layers(model), seed=3)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_fresh_weights_are_drawn_for_the_cut_sizes(stream):
    make, shape = NETWORKS["ResNet8"]
    result = shrink(make(), shape, stream(*shape), start="fresh")
    assert result.params < result.params_before
    for module in layers(result.model).values():
        if module.weight.numel() > 500:
            # PyTorch's default: uniform within 1 / sqrt(fan in).
            bound = module.weight[0].numel() ** -0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound


@pytest.mark.parametrize("start", ["rescaled", "fresh"])
def test_a_warm_up_step_leaves_nothing_in_what_is_no_layer(start, stream):
    make, shape = NETWORKS["ResNet8"]
    model = make()
    with torch.no_grad():
        model.stem[1].weight.fill_(0.25)
    result = shrink(model, shape, stream(*shape), start=start, warmup_steps=1)
    assert set(result.model.stem[1].weight.tolist()) == {0.25}
    left = shrink(model, shape, stream(*shape), start="generated", warmup_steps=1)
    assert set(left.model.stem[1].weight.tolist()) != {0.25}


@pytest.mark.parametrize("name", ["EDSR", "SRResNet"])
def test_outputs_start_as_large_as_those_of_fresh_weights(name, stream):
    """Generated weights amplify: they are large, and a channel that is large is read largely."""
    ratios = {"generated": [], "rescaled": []}
    for seed in range(3):
        models, _ = of_every_start(name, stream, seed=seed)
        image = 255 * torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            spread = {s: float(m.eval()(image).std()) for s, m in models.items()}
        for start, values in ratios.items():
            values.append(spread[start] / spread["fresh"])
    assert all(0.2 < ratio < 5 for ratio in ratios["rescaled"])
    assert all(g > 3 * r for g, r in zip(ratios["generated"], ratios["rescaled"], strict=True))


def test_fresh_is_the_default_and_is_noted(stream, tmp_path):
    make, shape = NETWORKS["ResNet8"]
    model = make()
    default = shrink(model, shape, stream(*shape))
    named = shrink(model, shape, stream(*shape), start="fresh")
    for key, tensor in named.model.state_dict().items():
        assert torch.equal(tensor, default.model.state_dict()[key]), key
    for start in STARTS:
        result = shrink(model, shape, stream(*shape), start=start)
        result.save(tmp_path / f"{start}.safetensors")
        loaded = lwdna.load(tmp_path / f"{start}.safetensors")
        assert loaded.provenance.shrinkage.settings["start"] == start
        assert json.loads((tmp_path / f"{start}.json").read_text())["settings"]["start"] == start


def test_a_start_that_does_not_exist_is_refused():
    model = build("ResNet8")
    with pytest.raises(ConfigError, match=r"There is no start 'frsh'.*'fresh'"):
        shrink(model, (1, 3, 32, 32), None, criterion="magnitude", start="frsh")


@pytest.mark.parametrize("start", STARTS)
def test_what_is_not_trained_keeps_its_weights(start, stream):
    make, shape = NETWORKS["ResNet8"]
    model = make()
    for parameter in model.stem.parameters():
        parameter.requires_grad_(False)
    for name, buffer in model.stem.named_buffers():
        if "running" in name:
            buffer.fill_(0.5)
    result = shrink(model, shape, stream(*shape), start=start)
    kept = result.kept["stem.0"]
    state = result.model.stem.state_dict()
    for key, tensor in model.stem.state_dict().items():
        assert torch.equal(state[key], tensor[kept] if tensor.ndim else tensor), key


def test_no_random_state_is_changed(stream):
    make, shape = NETWORKS["ResNet8"]
    model = make()
    before = torch.get_rng_state()
    for start in STARTS:
        shrink(model, shape, None, criterion="magnitude", start=start)
    assert torch.equal(before, torch.get_rng_state())


class Scaled(nn.Module):
    """A layer and a number of its own, which nothing draws again."""

    def __init__(self, reset=None):
        super().__init__()
        self.layer = nn.Conv2d(16, 16, 3, padding=1)
        self.factor = nn.Parameter(torch.full((1,), 1e-3))
        if reset is not None:
            self.reset_parameters = reset

    def forward(self, x):
        return x + self.factor * self.layer(x)


def own(**options):
    return nn.Sequential(nn.Conv2d(3, 16, 3), Scaled(**options), nn.Conv2d(16, 3, 3))


@pytest.mark.parametrize("start", STARTS)
def test_what_is_no_layer_and_nothing_draws_again_stays(start):
    arguments = {"shape": (1, 3, 8, 8), "loss_fn": None, "criterion": "magnitude"}
    found = shrink(own(), **arguments, start=start).model[1].factor.item()
    assert found == pytest.approx(1e-3)


@pytest.mark.parametrize("start", ["rescaled", "fresh"])
def test_a_layer_that_cannot_be_drawn_is_named(start):
    model = own()
    model[1].layer.reset_parameters = None
    sentence = r"weights of '1.layer', a Conv2d, cannot be drawn anew.*start: generated"
    arguments = {"shape": (1, 3, 8, 8), "loss_fn": None, "criterion": "magnitude"}
    with pytest.raises(ConfigError, match=sentence):
        shrink(model, **arguments, start=start)


def fails():
    raise RuntimeError("not today")


@pytest.mark.parametrize("start", ["rescaled", "fresh"])
def test_a_method_that_cannot_draw_is_named(start):
    arguments = {"shape": (1, 3, 8, 8), "loss_fn": None, "criterion": "magnitude"}
    sentence = "reset_parameters of a Scaled, .* fails: not today; .*start: generated"
    with pytest.raises(ConfigError, match=sentence):
        shrink(own(reset=fails), **arguments, start=start)
    assert shrink(own(reset=fails), **arguments, start="generated").flops


def test_every_pair_of_starts_differs(stream):
    models, _ = of_every_start("ResNet8", stream)
    for one, other in itertools.combinations(STARTS, 2):
        ours, theirs = layers(models[one]), layers(models[other])
        assert not any(torch.equal(ours[k].weight, theirs[k].weight) for k in ours)
