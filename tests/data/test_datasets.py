"""Data sets: aligned pairs, and randomness that is a function of (seed, epoch, index) alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import lwdna.tasks.task as module
from lwdna.data.bicubic import imresize
from lwdna.data.classification import ClassificationTest, ClassificationTrain
from lwdna.data.crops import crop_images, gray_store
from lwdna.data.folders import imagefolder_listing
from lwdna.data.images import to_gray, to_rgb
from lwdna.data.listings import Listing, open_labelled
from lwdna.data.photographs import export_photographs
from lwdna.data.restoration import (
    DenoisingTest,
    DenoisingTrain,
    SuperResolutionTest,
    SuperResolutionTrain,
)
from lwdna.data.stores import Store
from lwdna.errors import ConfigError, DataError
from lwdna.io.hdf5 import create_store
from lwdna.tasks.task import train_dataset

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs; pair.h5 with scale 4; gray.h5; classes.h5."""
    folder = tmp_path_factory.mktemp("data")
    images = export_photographs(["chelsea", "coins"], folder / "images")
    rule = {"size": 96, "step": 96, "threshold": 48, "scale": 4}
    crop_images(images, folder / "pair.h5", **rule)
    gray_store(folder / "pair.h5", folder / "gray.h5")
    shape = (20, 16, 12, 3)
    tables = {"labels": np.arange(20) % 4, "classes": list("abcd")}
    with create_store(
        folder / "classes.h5", images={"images": shape}, tables=tables, attributes={}
    ) as writer:
        rng = np.random.default_rng(0)
        for index in range(20):
            writer.put("images", index, rng.integers(1, 256, shape[1:], dtype=np.uint8))
    return folder


def classification(folder: Path, **changes: Any) -> ClassificationTrain:
    options = {"mean": MEAN, "std": STD, "pad": 2, "flip": True, "seed": 3}
    return ClassificationTrain(Store(folder / "classes.h5"), **{**options, **changes})


def super_resolution(folder: Path, **changes: Any) -> SuperResolutionTrain:
    options = {"patch_size": 8, "scale": 4, "seed": 3}
    return SuperResolutionTrain(Store(folder / "pair.h5"), **{**options, **changes})


def denoising(folder: Path, **changes: Any) -> DenoisingTrain:
    options = {"patch_size": 32, "sigma": 70, "seed": 3}
    return DenoisingTrain(Store(folder / "gray.h5"), **{**options, **changes})


MAKERS = [classification, super_resolution, denoising]


def same(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("make", MAKERS)
def test_randomness_is_a_function_of_seed_epoch_and_index(folder: Path, make: Any) -> None:
    dataset = make(folder)
    there = [dataset[2, index] for index in range(10)]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    again = make(folder)
    back = [again[2, index] for index in reversed(range(10))][::-1]
    assert all(same(a, b) for a, b in zip(there, back, strict=True))
    assert not all(same(a, dataset[3, index]) for index, a in enumerate(there))
    other = make(folder, seed=4)
    assert not all(same(a, other[2, index]) for index, a in enumerate(there))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("held", [True, False])
def test_workers_do_not_matter(
    folder: Path, make: Any, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not held:
        monkeypatch.setattr(Store, "hold", lambda self: False)
    dataset: Dataset[Any] = make(folder)
    keys = [(epoch, index) for epoch in (0, 7) for index in (4, 1, 6, 2, 0)]
    alone = list(DataLoader(dataset, batch_size=3, sampler=keys))
    shared = list(DataLoader(dataset, batch_size=3, sampler=keys, num_workers=2))
    assert len(alone) == 4
    for first, second in zip(alone, shared, strict=True):
        assert same(first, second)


def test_classification_without_augmentation_is_the_test_set(folder: Path) -> None:
    train = classification(folder, pad=0, flip=False)
    test = ClassificationTest(Store(folder / "classes.h5"), mean=MEAN, std=STD)
    assert len(train) == len(test) == 20
    pixels = Store(folder / "classes.h5")[7].astype(np.float64)
    for image, label in (train[9, 7], test[7]):
        assert image.dtype == torch.float32 and image.shape == (3, 16, 12) and label == 3
        expected = (pixels / 255 - MEAN) / STD
        np.testing.assert_allclose(image.numpy(), expected.transpose(2, 0, 1), atol=1e-5)


def test_border_is_black_before_normalisation(folder: Path) -> None:
    dataset = classification(folder, pad=4, flip=False)
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    original = Store(folder / "classes.h5")[0]
    padded = np.pad(original, ((4, 4), (4, 4), (0, 0)))
    shifts = set()
    for epoch in range(60):
        image, _ = dataset[epoch, 0]
        bytes_ = (image * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255
        pixels = bytes_.round().numpy().transpose(1, 2, 0)
        found = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if np.array_equal(padded[y : y + 16, x : x + 12], pixels)
        ]
        assert len(found) == 1
        shifts.add(found[0])
        if found[0][0] < 4:
            torch.testing.assert_close(image[:, 0, 0], black)
    assert len(shifts) > 30
    assert {0, 8} <= {y for y, _ in shifts} and {0, 8} <= {x for _, x in shifts}


def test_half_of_the_images_are_flipped(folder: Path) -> None:
    dataset = classification(folder, pad=0, flip=True)
    plain, _ = classification(folder, pad=0, flip=False)[0, 5]
    flipped = 0
    for epoch in range(200):
        image, _ = dataset[epoch, 5]
        mirrored = torch.equal(image, plain.flip(2))
        assert mirrored or torch.equal(image, plain)
        flipped += mirrored
    assert 70 < flipped < 130


def test_low_and_high_resolution_patches_are_aligned(folder: Path) -> None:
    """The bicubic reduction of the large patch is the small one, away from its border."""
    dataset = super_resolution(folder, patch_size=16)
    for index in range(len(dataset)):
        lr, hr = dataset[1, index]
        assert lr.shape == (3, 16, 16) and hr.shape == (3, 64, 64)
        assert lr.dtype == hr.dtype == torch.float32 and hr.max() > 1
        small = imresize(hr.numpy().transpose(1, 2, 0), 1 / 4).transpose(2, 0, 1)
        difference = np.abs(small - lr.numpy())[:, 2:-2, 2:-2]
        # Each of the two roundings to bytes may move a value by a half.
        assert difference.max() < 1.5


def test_all_orientations_and_places_occur(folder: Path) -> None:
    dataset = super_resolution(folder, patch_size=24)
    store = Store(folder / "pair.h5")
    whole = to_tensor(store.read("lr", 0))
    seen = set()
    for epoch in range(100):
        lr, _ = dataset[epoch, 0]
        for turn in range(8):
            image = whole.transpose(1, 2) if turn & 1 else whole
            dims = [dim for bit, dim in ((2, 1), (4, 2)) if turn & bit]
            if torch.equal(lr, image.flip(dims)):
                seen.add(turn)
    assert len(seen) == 8
    places = {
        tuple(super_resolution(folder)[epoch, 0][0].flatten().tolist()) for epoch in range(50)
    }
    assert len(places) > 40


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1).copy())


def test_samples_walk_through_the_sub_images(folder: Path) -> None:
    count = len(Store(folder / "pair.h5"))
    visited: list[int] = []
    options = {"patch_size": 24, "samples_per_epoch": count - 2}
    dataset = super_resolution(folder, **options)
    assert len(dataset) == count - 2
    assert len(super_resolution(folder)) == count

    def noted(name: str, index: int, window: Any) -> np.ndarray:
        visited.append(index)
        return np.zeros((window[2], window[3], 3), dtype=np.uint8)

    dataset._store.read = noted
    for epoch in range(count):
        for index in range(len(dataset)):
            dataset[epoch, index]
    counts = np.bincount(visited, minlength=count)
    assert counts.min() == counts.max()


def test_noise_is_fresh_gaussian_and_unclipped(folder: Path) -> None:
    dataset = denoising(folder, samples_per_epoch=1000)
    noise = []
    for index in range(60):
        noisy, clean = dataset[0, index]
        assert noisy.shape == clean.shape == (1, 32, 32) and noisy.dtype == torch.float32
        assert torch.equal(clean, clean.round()) and clean.min() >= 0 and clean.max() <= 255
        assert noisy.min() < 0 or noisy.max() > 255
        noise.append((noisy - clean).double())
    values = torch.stack(noise)
    deviation = 70 / values.numel() ** 0.5
    assert abs(values.mean()) < 4 * deviation
    assert abs(values.std() - 70) < 4 * deviation
    assert 0.66 < (values.abs() < 70).double().mean() < 0.70
    correlation = np.corrcoef(values.flatten(1).numpy())
    assert np.abs(correlation - np.eye(60)).max() < 0.2
    # Neither rounded: nearly no value is whole.
    assert (values == values.round()).double().mean() < 0.01


def test_no_noise_at_sigma_zero(folder: Path) -> None:
    noisy, clean = denoising(folder, sigma=0)[0, 0]
    assert torch.equal(noisy, clean)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_super_resolution_test_images(folder: Path, scale: int) -> None:
    paths = sorted((folder / "images").iterdir())
    dataset = SuperResolutionTest(paths, scale=scale)
    assert dataset.names == ["chelsea", "coins"] and len(dataset) == 2
    for index, size in enumerate([(300, 451), (303, 384)]):
        height, width = (side - side % scale for side in size)
        lr, hr = dataset[index]
        assert hr.shape == (3, height, width) and lr.shape == (3, height // scale, width // scale)
        image = to_rgb(np.array(Image.open(paths[index])))[:height, :width]
        assert torch.equal(hr, to_tensor(image))
        assert torch.equal(lr, to_tensor(imresize(image, 1 / scale)))


def test_denoising_noise_is_fixed_by_seed_and_name(folder: Path, tmp_path: Path) -> None:
    paths = sorted((folder / "images").iterdir())
    dataset = DenoisingTest(paths, sigma=70, seed=0)
    noisy, clean = dataset[1]
    assert dataset.names == ["chelsea", "coins"]
    assert clean.shape == (1, 303, 384)
    assert abs((noisy - clean).std() - 70) < 1 and noisy.min() < 0
    # The same image elsewhere, alone, and in another format has the same noise.
    shutil.copy(paths[1], tmp_path / "coins.png")
    assert same(DenoisingTest([tmp_path / "coins.png"], sigma=70, seed=0)[0], (noisy, clean))
    Image.open(paths[1]).save(tmp_path / "coins.bmp")
    assert same(DenoisingTest([tmp_path / "coins.bmp"], sigma=70, seed=0)[0], (noisy, clean))
    # Another name or seed changes it.
    shutil.copy(paths[1], tmp_path / "other.png")
    assert not torch.equal(DenoisingTest([tmp_path / "other.png"], sigma=70, seed=0)[0][0], noisy)
    assert not torch.equal(DenoisingTest(paths, sigma=70, seed=1)[1][0], noisy)
    gray = to_gray(np.array(Image.open(paths[0])))
    assert torch.equal(dataset[0][1], to_tensor(gray[:, :, None]))


def test_equal_names_are_refused(folder: Path) -> None:
    paths = [folder / "a.png", folder / "a.bmp"]
    with pytest.raises(DataError, match=r"a\.png' and .*a\.bmp' have the same name"):
        DenoisingTest(paths, sigma=70, seed=0)


def test_tiny_test_image_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (3, 9)).save(tmp_path / "tiny.png")
    with pytest.raises(DataError, match=r"tiny\.png' has 9 x 3 pixels"):
        SuperResolutionTest([tmp_path / "tiny.png"], scale=4)[0]


def test_stores_that_do_not_fit(folder: Path) -> None:
    with pytest.raises(DataError, match=r"Patches of 25 pixels do not fit into the 24 x 24"):
        super_resolution(folder, patch_size=25)
    with pytest.raises(DataError, match="Patches of 97"):
        denoising(folder, patch_size=97)
    with pytest.raises(DataError, match=r"cut with scale 4, but scale 2"):
        super_resolution(folder, scale=2)
    with pytest.raises(DataError, match="no low-resolution"):
        SuperResolutionTrain(Store(folder / "gray.h5"), patch_size=8, scale=4, seed=0)
    with pytest.raises(DataError, match=r"3 channels.*gray"):
        DenoisingTrain(Store(folder / "pair.h5"), patch_size=8, sigma=70, seed=0)
    with pytest.raises(DataError, match="labelled"):
        ClassificationTest(Store(folder / "pair.h5"), mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (classification, {"mean": (125.3, 123.0, 113.9)}),
        (classification, {"std": (0.2, 0.2, 0)}),
        (classification, {"mean": (0.5,)}),
        (classification, {"pad": -1}),
        (classification, {"seed": -1}),
        (super_resolution, {"patch_size": 0}),
        (super_resolution, {"samples_per_epoch": 0}),
        (denoising, {"sigma": -1}),
        (denoising, {"seed": -1}),
    ],
)
def test_impossible_numbers(folder: Path, make: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(folder, **changes)


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs and parts of them, of many sizes, in two classes."""
    folder = tmp_path_factory.mktemp("listing")
    (photograph,) = export_photographs(["coffee"], folder)
    image = Image.open(photograph)
    for index, size in enumerate([(600, 400), (300, 90), (64, 260), (50, 40), (20, 30), (64, 64)]):
        (folder / "root" / f"class {index % 2}").mkdir(parents=True, exist_ok=True)
        image.crop((0, 0, *size)).save(folder / f"root/class {index % 2}/{index}.jpg")
    imagefolder_listing(folder / "root", folder / "listing.h5")
    return folder / "listing.h5"


def resized_crops(listing: Path, **changes: Any) -> ClassificationTrain:
    options = {"mean": MEAN, "std": STD, "crop": 32, "flip": True, "seed": 3}
    return ClassificationTrain(open_labelled(listing), **{**options, **changes})


def test_resized_crops_are_a_function_of_seed_epoch_and_index(listing: Path) -> None:
    dataset = resized_crops(listing)
    assert dataset.shape == (32, 32, 2)
    there = [dataset[2, index] for index in range(6)]
    assert all(image.shape == (3, 32, 32) for image, _ in there)
    assert [label for _, label in there] == [0, 0, 0, 1, 1, 1]
    before = torch.random.get_rng_state()
    torch.manual_seed(7)
    again = resized_crops(listing)
    state = torch.random.get_rng_state()
    back = [again[2, index] for index in reversed(range(6))][::-1]
    assert torch.equal(state, torch.random.get_rng_state())
    torch.random.set_rng_state(before)
    assert all(same(a, b) for a, b in zip(there, back, strict=True))
    for other in (resized_crops(listing, seed=4), dataset):
        epoch = 2 if other is not dataset else 3
        assert not any(same(a, other[epoch, index]) for index, a in enumerate(there))
    keys = [(1, index) for index in (5, 0, 3, 1)]
    alone = list(DataLoader(dataset, batch_size=2, sampler=keys))
    shared = list(DataLoader(dataset, batch_size=2, sampler=keys, num_workers=2))
    assert all(same(a, b) for a, b in zip(alone, shared, strict=True))


def test_resized_crops_have_torchvisions_areas_and_ratios(listing: Path) -> None:
    """Of a ramp, a crop shows by its values where it was and how large."""
    ramp = np.zeros((200, 200, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(200)[:, None]
    ramp[..., 1] = np.arange(200)[None]

    class Ramp(Listing):
        def __getitem__(self, index: int) -> np.ndarray:
            return ramp

    dataset = ClassificationTrain(
        Ramp(listing), mean=(0, 0, 0), std=(1, 1, 1), crop=50, flip=False, seed=0
    )
    heights, widths = [], []
    for epoch in range(150):
        pixels = dataset[epoch, 0][0] * 255
        # Pixel centres lie half a step inside.
        heights.append(float(pixels[0, -1, 0] - pixels[0, 0, 0]) * 50 / 49)
        widths.append(float(pixels[1, 0, -1] - pixels[1, 0, 0]) * 50 / 49)
    sides = np.array([heights, widths])
    areas, ratios = sides.prod(axis=0) / 200**2, sides[1] / sides[0]
    assert 0.06 < areas.min() < 0.2 and 0.85 < areas.max() < 1.05
    assert 0.7 < ratios.min() < 0.85 and 1.18 < ratios.max() < 1.42


def test_half_of_the_resized_crops_are_flipped(listing: Path) -> None:
    plain, flipping = resized_crops(listing, flip=False), resized_crops(listing)
    flipped = 0
    for epoch in range(100):
        first, second = plain[epoch, 0][0], flipping[epoch, 0][0]
        assert torch.equal(first, second) or torch.equal(first.flip(2), second)
        flipped += not torch.equal(first, second)
    assert 30 < flipped < 70


def test_test_images_are_resized_and_cut_like_torchvisions(listing: Path) -> None:
    from torchvision.transforms import v2

    images = open_labelled(listing)
    dataset = ClassificationTest(images, mean=MEAN, std=STD, resize=40, crop=32)
    assert dataset.shape == (32, 32, 2)
    theirs = v2.Compose(
        [
            v2.Resize(40),
            v2.CenterCrop(32),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    for index in range(len(images)):
        expected = theirs(Image.fromarray(images[index]))
        torch.testing.assert_close(dataset[index][0], expected)


def test_stores_can_be_cropped_too(folder: Path) -> None:
    task = {"kind": "classification", "mean": MEAN, "std": STD, "flip": False}
    sizes = {"crop": 8, "resize": 10}
    training = train_dataset({**task, **sizes}, folder / "classes.h5", seed=1)
    testing = module.test_dataset({**task, **sizes}, folder / "classes.h5")
    assert training[0, 0][0].shape == testing[0][0].shape == (3, 8, 8)
    assert training.shape == testing.shape == (8, 8, 4)


def test_sizes_that_cannot_be(listing: Path) -> None:
    with pytest.raises(DataError, match="may differ in size; give the task"):
        resized_crops(listing, crop=None)
    with pytest.raises(ConfigError, match="pad is 2; it must be 0"):
        resized_crops(listing, pad=2)
    with pytest.raises(ConfigError, match="resize is 16; it must be at least 32"):
        ClassificationTest(open_labelled(listing), mean=MEAN, std=STD, resize=16, crop=32)


TASKS = {
    "classification": {"mean": [0.5] * 3, "std": [0.2] * 3, "pad": 4, "flip": False},
    "super-resolution": {"scale": 4, "patch_size": 8, "samples_per_epoch": 40},
    "denoising": {"sigma": 70, "patch_size": 16, "samples_per_epoch": 50},
}


@pytest.mark.parametrize(
    ("kind", "train", "test", "classes"),
    [
        ("classification", "classes.h5", "classes.h5", (ClassificationTrain, ClassificationTest)),
        ("super-resolution", "pair.h5", "images", (SuperResolutionTrain, SuperResolutionTest)),
        ("denoising", "gray.h5", "images", (DenoisingTrain, DenoisingTest)),
    ],
)
def test_factories(folder: Path, kind: str, train: str, test: str, classes: Any) -> None:
    task = {"kind": kind, **TASKS[kind]}
    training = train_dataset(task, folder / train, seed=1)
    testing = module.test_dataset(task, folder / test)
    assert isinstance(training, classes[0]) and isinstance(testing, classes[1])
    assert len(training) == task.get("samples_per_epoch", 20)
    assert training[0, 0][0].dtype == testing[0][0].dtype == torch.float32
    required = next(iter(TASKS[kind]))
    del task[required]
    for make in (
        lambda: train_dataset(task, folder / train, seed=1),
        lambda: module.test_dataset(task, folder / test),
    ):
        with pytest.raises(ConfigError, match=f"has no '{required}'"):
            make()


def test_unknown_task(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'denoise' does not exist; did you mean 'denoising'"):
        train_dataset({"kind": "denoise"}, folder, seed=1)
    with pytest.raises(ConfigError, match="has no 'kind'"):
        module.test_dataset({}, folder)


def test_empty_folder_of_test_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        module.test_dataset({"kind": "denoising", "sigma": 70}, tmp_path)
