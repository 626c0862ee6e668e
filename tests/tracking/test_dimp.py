"""The tracker's network: sizes, its loss, its file, and what is said of files that do not fit."""

import json
import re
from dataclasses import replace

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_taps import made, smallest_of_each_family, taps_of
from torch import nn

import lwdna
from lwdna.errors import CheckpointError, ConfigError
from lwdna.networks.provenance import provenance_of
from lwdna.networks.sealed import seal
from lwdna.networks.weights import save as save_network
from lwdna.tracking.classifier import scores_of
from lwdna.tracking.dimp import Dimp, PerFrame, Settings, load, loss, losses, save

MILLION = 1e6


def batch(sequences=2, frames=3, tests=2, proposals=4, size=72):
    def boxes(*shape):
        return torch.rand(*shape, 4) * size / 5 + size / 5

    images = torch.rand(sequences, frames + tests, 3, size, size)
    drawn = boxes(sequences, tests, proposals)
    return (images[:, :frames], boxes(sequences, frames), images[:, frames:], drawn), {
        "boxes": boxes(sequences, tests),
        "iou": torch.rand(sequences, tests, proposals),
    }


def test_dimp50_is_as_large_as_in_the_paper():
    """Parameters in use, in millions, as they were counted for each part."""
    with torch.device("meta"):
        model = Dimp(lwdna.build("ResNet50"), Settings())

    def count(part):
        return sum(p.numel() for p in part.parameters() if p.requires_grad) / MILLION

    assert count(model.backbone) == pytest.approx(8.54, abs=0.005)
    assert count(model.head) == pytest.approx(4.72, abs=0.005)
    assert count(model.initialiser) == pytest.approx(2.36, abs=0.005)
    assert count(model.iou_net) == pytest.approx(10.46, abs=0.005)
    assert (model.stride, model.score_size) == (16, 19)
    assert model.settings.spread / model.stride == pytest.approx(0.9)


def test_what_a_frame_costs():
    """In GMACs at 288 pixels, as they were counted for each part; batch norm is counted here."""
    model = Dimp(lwdna.build("ResNet50"), Settings()).eval()
    flops, _ = lwdna.complexity(PerFrame(model), torch.zeros(1, 3, 288, 288))
    backbone, _ = lwdna.complexity(model.backbone, torch.zeros(1, 3, 288, 288))
    assert backbone / 1e9 == pytest.approx(5.42, rel=0.01)
    assert flops / 1e9 == pytest.approx(5.42 + 1.53 + 3.25 + 0.003, rel=0.01)


def test_the_scores_of_a_frame_are_counted(small_tracker):
    """A multiplication for each channel and place of the filter, at each place of the map."""

    class WithoutScores(PerFrame):
        def forward(self, image):
            fine, coarse = self.model.maps(image)
            return self.model.head(coarse), *self.model.iou_net.maps(fine, coarse)

    model = small_tracker(channels=8).eval()
    image = torch.rand(1, 3, model.settings.size, model.settings.size)
    counted, without = (lwdna.complexity(c(model), image)[0] for c in (PerFrame, WithoutScores))
    assert counted - without == 8 * model.settings.kernel**2 * model.score_size**2
    shown = PerFrame(model)
    shown.filters = torch.randn_like(shown.filters)
    features = model.head(model.maps(image)[1])
    torch.testing.assert_close(shown(image)[0], scores_of(features[None], shown.filters))


@pytest.mark.parametrize("name", smallest_of_each_family())
def test_it_is_built_on_every_family_of_cnns(name):
    backbone = made(name)
    with torch.device("meta"):
        model = Dimp(backbone, Settings(taps=taps_of(name))).to("meta")
        given, _ = batch(1, 1, 1, 2, 288)
        model.eval()
        prediction = model(*given)
    assert prediction["scores"].shape == (1, 6, 1, model.score_size, model.score_size)
    assert prediction["iou"].shape == (1, 1, 2)


def test_shapes_and_gradients_of_all_that_is_trained(small_tracker):
    model = small_tracker()
    given, target = batch()
    prediction = model(*given)
    assert prediction["scores"].shape == (2, 6, 2, 19, 19)
    assert prediction["iou"].shape == (2, 2, 4)
    loss(model.settings, prediction, target).backward()
    for name, parameter in model.named_parameters():
        trained = not name.startswith(("backbone.network.classifier", "backbone.network.pool"))
        assert (parameter.grad is not None) == trained, name
        # A filter descends on the loss alone where a residual cannot be: nothing of it is unused.
        assert not trained or bool(parameter.grad.isfinite().all()), name


def test_a_sequence_does_not_know_the_others(small_tracker):
    model = small_tracker().eval()
    given, _ = batch()
    whole, alone = model(*given), model(*(part[1:] for part in given))
    for name in ("scores", "iou"):
        torch.testing.assert_close(whole[name][1:], alone[name], rtol=1e-4, atol=1e-4)


def test_the_loss_by_hand(small_tracker):
    model = small_tracker()
    target = {"boxes": torch.tensor([[[26.0, 26, 20, 20]]]), "iou": torch.tensor([[[0.75]]])}
    scores = torch.zeros(1, 6, 1, 19, 19)
    y, x = torch.meshgrid(torch.arange(19.0), torch.arange(19.0), indexing="ij")
    label = (-((x - 9) ** 2 + (y - 9) ** 2) / (2 * 0.81)).exp()
    prediction = {"scores": scores, "iou": torch.tensor([[[0.25]]]), "stride": torch.tensor([4.0])}
    parts = losses(model.settings, prediction, target)
    assert float(parts["iou"]) == pytest.approx(0.0625)
    foreground = label[label >= 0.05].square().sum() / 361
    assert float(parts["classifier"]) == pytest.approx(600 * float(foreground), rel=1e-5)
    scores[0, 3, 0, 0, 0], scores[0, 4, 0, 0, 1] = 2, -2  # a false alarm, and a true negative
    more = losses(model.settings, prediction, target)["classifier"] - parts["classifier"]
    assert float(more) == pytest.approx(100 * 4 / 361, rel=1e-5)
    heavier = losses(replace(model.settings, iou_weight=5), prediction, target)
    assert float(heavier["iou"]) == pytest.approx(5 * 0.0625)
    assert float(loss(model.settings, prediction, target)) == pytest.approx(
        float(sum(losses(model.settings, prediction, target).values()))
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"size": 0}, "'size' of the tracker is 0; give a whole number from 1 up"),
        ({"iou_width": 1}, "'iou_width' of the tracker is 1"),
        ({"factor": -1}, "'factor' of the tracker is -1"),
        ({"std": (1, 2)}, "three numbers for each"),
        ({"taps": ("stages.0", "stages.2")}, "strides 1 and 4; the second must be twice"),
        ({"taps": ("stages.1", "stage.2")}, "'stage.2' is no layer of ResNet"),
        ({"size": 71}, "a size that these divide"),
    ],
)
def test_settings_that_cannot_be(small_tracker, changed, sentence):
    with pytest.raises(ConfigError, match=sentence):
        small_tracker(**changed)


def test_a_setting_that_does_not_exist():
    with pytest.raises(ConfigError, match="did you mean 'factor'"):
        Settings.read({"factr": 5})


def same(model, other):
    given, _ = batch()
    a, b = model.eval()(*given), other.eval()(*given)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_saved_tracker_is_the_same(small_tracker, tmp_path):
    model = small_tracker(factor=4.5)
    given, target = batch()
    loss(model.settings, model(*given), target).backward()
    save(model, tmp_path / "tracker.safetensors")
    again = load(tmp_path / "tracker.safetensors")
    assert again.settings == model.settings
    assert provenance_of(again.backbone.network) == provenance_of(model.backbone.network)
    for (name, ours), theirs in zip(model.named_parameters(), again.parameters(), strict=True):
        assert ours.requires_grad == theirs.requires_grad, name
    same(model, again)
    save(again, tmp_path / "again.safetensors")
    assert (tmp_path / "tracker.safetensors").read_bytes() == (
        tmp_path / "again.safetensors"
    ).read_bytes()


def test_a_shrunk_backbone_comes_back(tmp_path):
    x = torch.randn(2, 3, 32, 32)
    shrunk = lwdna.shrink(
        lwdna.build("ResNet14"), x, None, flops_ratio=0.5, rho=0.1, tau=0.2, criterion="random"
    )
    settings = Settings(taps=("stages.1", "stages.2"), size=72, channels=8, iou_width=4)
    model = Dimp(shrunk.model, settings)
    save(model, tmp_path / "tracker.safetensors")
    again = load(tmp_path / "tracker.safetensors")
    assert provenance_of(again.backbone.network).kept == provenance_of(shrunk.model).kept
    same(model, again)


def own():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 6, 3, 2, 1))


def test_a_backbone_of_ones_own(tmp_path):
    path = tmp_path / "tracker.safetensors"
    settings = Settings(taps=("0", "1"), size=64, channels=8, iou_width=4)
    model = Dimp(own(), settings)
    save(model, path)
    with pytest.raises(CheckpointError, match=r"say how to make it.*network="):
        load(path)
    with pytest.raises(CheckpointError, match="do not belong to"):
        load(path, network=torchvision.models.resnet18)
    again = load(path, network=own)
    assert torch.equal(again.head.conv.weight, model.head.conv.weight)


def changed_file(path, change, tensors=lambda state: state):
    """The file with something else in it, sealed again as if it had been written so."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["lwdna"])
    state = tensors(load_file(path))
    about.pop("digest")
    change(about)
    about["digest"] = seal(about, state)
    save_file(state, path, {"lwdna": json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a.update(version=99), "is not a tracker saved by this version"),
        (lambda a: a["settings"].update(channels=10**7), r"has the shape \(16, 29, 3, 3\)"),
        (lambda a: a["settings"].update(taps=["stages.0", "stages.1"]), "head.conv.weight"),
        (lambda a: a["settings"].update(taps=["a", "b"]), "'a' is no layer"),
        (lambda a: a["settings"].update(colour=1), "no setting 'colour'"),
        (lambda a: a["settings"].update(size="x"), "'size' of the tracker is 'x'"),
        (lambda a: a.pop("backbone"), "damaged metadata"),
        (lambda a: a["backbone"]["network"].update(name="ResNet20"), "cannot be loaded"),
    ],
)
def test_files_that_do_not_fit(small_tracker, tmp_path, change, sentence):
    path = tmp_path / "tracker.safetensors"
    save(small_tracker(), path)
    changed_file(path, change)
    with pytest.raises(CheckpointError, match=sentence.replace("29, ", r"\d+, ")) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_a_file_of_a_network_is_no_tracker(tmp_path):
    path = tmp_path / "network.safetensors"
    save_network(lwdna.build("ResNet14"), path)
    with pytest.raises(CheckpointError, match="is not a tracker saved by this version"):
        load(path)
    with pytest.raises(CheckpointError, match=re.escape("There is no weights file")):
        load(tmp_path / "none.safetensors")


def test_a_tracker_without_a_tensor(small_tracker, tmp_path):
    path = tmp_path / "tracker.safetensors"
    save(small_tracker(), path)
    changed_file(path, lambda about: None, lambda s: {k: v for k, v in s.items() if k != "mean"})
    with pytest.raises(CheckpointError, match="'mean' has the shape None"):
        load(path)
