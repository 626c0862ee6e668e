"""``lwdna.Predictor``: the same as the command, for pictures of any kind, or a sentence."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import lwdna
from lwdna.data.images import write_image
from lwdna.errors import ConfigError, DataError, LwdnaError
from lwdna.networks.provenance import Trained, note_trained

TASK = {"kind": "denoising", "sigma": 25}
NOISE = 25 * np.random.default_rng(1).standard_normal((40, 56))
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 56), dtype=np.uint8)


@pytest.fixture
def predictor(scramble):
    return lwdna.Predictor(scramble(lwdna.build("DnCNN", blocks=2, channels=4)), TASK)


def test_a_picture_may_come_as_anything_that_holds_one(predictor, tmp_path):
    path = tmp_path / "x.png"
    write_image(path, PICTURE)
    made = predictor(path)
    assert made.dtype == np.uint8 and made.shape == PICTURE.shape
    same = [str(path), PICTURE, PICTURE.astype(np.float64), PICTURE[:, :, None]]
    same += [Image.fromarray(PICTURE), torch.from_numpy(PICTURE), torch.tensor(PICTURE)[None]]
    same += [np.repeat(PICTURE[:, :, None], 3, axis=2)]  # without colour
    for picture in same:
        np.testing.assert_array_equal(predictor(picture), made)


REFUSED = {
    "the scale 0-1": (PICTURE / 255, "values from 0 to 1, but the network takes the scale 0-255"),
    "noise on the scale 0-1": (PICTURE / 255 + NOISE / 255, "the network takes the scale 0-255"),
    "the scale -1 to 1": (PICTURE / 127.5 - 1, "from -1 to 1, but the network takes"),
    "16 bits": (PICTURE.astype(np.uint16) * 257, "to 65535, but the network .* divide by 257"),
    "not a number": (np.where(PICTURE > 9, PICTURE, np.nan), "from nan to nan"),
    "alpha": (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\); give gray"),
    "a batch": (np.zeros((2, 3, 8, 8), np.uint8), "shape"),
    "a mask": (PICTURE > 99, "is made of bool"),
    "nothing": (np.zeros((0, 8), np.uint8), "shape"),
    "a palette": (Image.fromarray(PICTURE).convert("P"), "colour mode P"),
    "colour": (np.dstack([PICTURE, PICTURE, 255 - PICTURE]), "is in colour"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_pictures_that_would_come_out_badly_are_refused(predictor, case):
    picture, said = REFUSED[case]
    with pytest.raises(DataError, match=said):
        predictor(picture)


def test_a_picture_on_its_side_is_refused(predictor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(tmp_path / "x.jpg", exif=exif)
    with pytest.raises(DataError, match=r"x\.jpg' is stored on its side"):
        predictor(tmp_path / "x.jpg")


def test_a_network_of_ones_own_is_told_by_its_file(tmp_path):
    """Also of which size its pictures are."""
    task = {"kind": "classification", "mean": [0.5] * 3, "std": [0.5] * 3, "flip": False}
    trained = Trained(task, {"channels": 3, "range": [0, 255], "size": [40, 56]}, ["a", "b"])

    def make():
        return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    model = make()
    note_trained(model, trained)
    lwdna.save(model, tmp_path / "x.safetensors")
    predictor = lwdna.Predictor.load(tmp_path / "x.safetensors", network=make)
    assert {guess.name for guess in predictor(PICTURE)} == {"a", "b"}
    with pytest.raises(DataError, match="takes 40 x 56"):
        predictor(PICTURE[:30])
    resizing = lwdna.Predictor.load(tmp_path / "x.safetensors", network=make, resize=True)
    with pytest.raises(ConfigError, match="takes 40 x 56 pixels, and pictures are resized to squ"):
        resizing(PICTURE[:30])
    with pytest.raises(DataError, match=r"whole numbers|bytes|uint8"):
        resizing(PICTURE[:30] - 3.5)  # whose values would begin again at 255


def test_noise_may_leave_the_scale_and_black_is_a_picture(predictor):
    noisy = PICTURE + NOISE
    assert noisy.min() < 0 and noisy.max() > 255
    assert predictor(noisy).shape == PICTURE.shape
    assert predictor(np.zeros((16, 16), np.uint8)).shape == (16, 16)
    with pytest.raises(ConfigError, match="is a list"):
        predictor(PICTURE.tolist())


def test_colour_is_converted_if_that_is_asked_for(predictor):
    colour = np.dstack([PICTURE, PICTURE.T[:40, :].repeat(2, 1)[:, :56], 255 - PICTURE])
    asked = lwdna.Predictor(predictor.model, TASK, gray=True)
    assert asked(colour).shape == PICTURE.shape


class Other(nn.Module):
    """Makes pictures of another size, or other things."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: x[..., ::2, ::2], "makes .* of the picture .* must be 1 x 40 x 56"),
        (lambda x: x.repeat(1, 3, 1, 1), "makes 3 x 40 x 56"),
        (lambda x: x / 0 * 0, "not finite"),
        (lambda x: x @ x, "does not run on"),
    ],
)
def test_networks_of_another_task_are_refused(make, said):
    with pytest.raises(LwdnaError, match=said):
        lwdna.Predictor(Other(make), TASK)(PICTURE)


def test_named_networks_serve_their_task_alone():
    with pytest.raises(ConfigError, match="EDSR, which does not serve classification"):
        lwdna.Predictor(
            lwdna.build("EDSR", blocks=1, channels=4),
            {"kind": "classification", "mean": [0.5] * 3, "std": [0.5] * 3},
        )
    with pytest.raises(ConfigError, match="looks at each as a whole; leave --tile out"):
        lwdna.Predictor(
            lwdna.build("ResNet8"),
            {"kind": "classification", "mean": [0.5] * 3, "std": [0.5] * 3},
            tile=64,
        )
    with pytest.raises(ConfigError, match="has no 'sigma'; add it"):
        lwdna.Predictor(lwdna.build("DnCNN", blocks=1, channels=4), {"kind": "denoising"})


class Greedy(nn.Module):
    """Has memory for so many pixels at once."""

    def __init__(self, inner, most):
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, x):
        if x.isfinite().all() and x.shape[-2] * x.shape[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(x)


def test_a_full_memory_is_met_by_tiles(predictor, caplog):
    large = np.tile(PICTURE, (6, 6))
    whole = predictor(large)
    greedy = lwdna.Predictor(Greedy(predictor.model, 130 * 130), TASK)
    made = greedy(large)
    assert "The memory is full" in caplog.text
    assert np.abs(made.astype(int) - whole).max() <= 1
    with pytest.raises(LwdnaError, match="even in tiles"):
        lwdna.Predictor(Greedy(predictor.model, 9), TASK)(large)


def test_a_loaded_network_is_in_evaluation_mode_and_says_what_it_is_for(tmp_path):
    path = tmp_path / "x.safetensors"
    model = lwdna.build("DnCNN", blocks=2, channels=4).train()
    lwdna.save(model, path, task=TASK)
    loaded = lwdna.load(path)
    assert model.training and not any(module.training for module in loaded.modules())
    assert model.provenance.trained is None and loaded.provenance.trained.task == TASK
    assert loaded.provenance.trained.takes == {"channels": 1, "range": [0, 255], "sigma": 25}
    lwdna.save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_new_weights_are_for_nothing_and_kept_ones_for_what_they_were(tmp_path):
    from lwdna.rivals.l1 import score

    path, example = tmp_path / "x.safetensors", torch.empty(1, 1, 32, 32)
    lwdna.save(lwdna.build("DnCNN", blocks=3, channels=8), path, task=TASK)
    model = lwdna.load(path)
    shrunk = lwdna.shrink(model, example, None, flops_ratio=0.6, criterion="random")
    assert shrunk.model.provenance.trained is None
    assert lwdna.widen(model, example, 2).provenance.trained is None
    pruned = lwdna.prune(model, example, score, flops_ratio=0.6).model
    assert pruned.provenance.trained == model.provenance.trained


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": {"kind": "denosing"}}, "did you mean 'denoising'"),
        ({"task": {"kind": "super-resolution"}}, "has no 'scale'"),
        ({"classes": ["a"]}, "give the task as well"),
    ],
)
def test_what_a_network_is_for_is_checked_when_it_is_saved(given, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        lwdna.save(lwdna.build("DnCNN", blocks=1, channels=2), tmp_path / "x", **given)
    assert not list(tmp_path.iterdir())
