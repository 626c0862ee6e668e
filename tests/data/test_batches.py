"""Whole batches are what their samples are, one by one, whoever makes them."""

import functools

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, default_collate

from lwdna.data.batches import INLINE_BYTES, Batched, batch_loader, batch_of, empty
from lwdna.data.classification import ClassificationTest, ClassificationTrain
from lwdna.data.folders import imagefolder_listing
from lwdna.data.listings import open_labelled
from lwdna.data.restoration import DenoisingTrain, SuperResolutionTrain
from lwdna.data.stores import Store
from lwdna.io.hdf5 import create_store
from lwdna.rivals.held_out import Part
from lwdna.training.sampler import EpochBatches

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SEED, SIGMA, SCALE = 2**33 + 5, 70, 2
LABELS = np.arange(20) % 4
DRAW = np.random.default_rng(0)
COLOUR = DRAW.integers(0, 256, (20, 16, 12, 3), dtype=np.uint8)
GRAY = DRAW.integers(0, 256, (5, 20, 18, 1), dtype=np.uint8)
LR = DRAW.integers(0, 256, (5, 10, 9, 3), dtype=np.uint8)
HR = DRAW.integers(0, 256, (5, 20, 18, 3), dtype=np.uint8)


def write(path, tables=None, **images):
    shapes = {name: pixels.shape for name, pixels in images.items()}
    with create_store(path, images=shapes, tables=tables or {}, attributes={}) as writer:
        for name, pixels in images.items():
            for index, item in enumerate(pixels):
                writer.put(name, index, item)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores of the arrays above, and a listing of six images of many sizes."""
    folder = tmp_path_factory.mktemp("batches")
    write(folder / "colour.h5", {"labels": LABELS, "classes": list("abcd")}, images=COLOUR)
    write(folder / "gray.h5", images=GRAY)
    write(folder / "pair.h5", images=HR, lr=LR)
    for index in range(6):
        path = folder / "root" / f"class {index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = DRAW.integers(0, 256, (20 + 7 * index, 40 - 3 * index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    imagefolder_listing(folder / "root", folder / "listing.h5")
    return folder


def classification(folder, **changes):
    options = {"mean": MEAN, "std": STD, "pad": 3, "flip": True, "seed": SEED}
    return ClassificationTrain(Store(folder / "colour.h5"), **{**options, **changes})


def resized(folder):
    images = open_labelled(folder / "listing.h5")
    return ClassificationTrain(images, mean=MEAN, std=STD, crop=8, flip=True, seed=SEED)


def super_resolution(folder, patch_size=4, samples=20):
    how = {"patch_size": patch_size, "samples_per_epoch": samples, "seed": SEED}
    return SuperResolutionTrain(Store(folder / "pair.h5"), scale=SCALE, **how)


def denoising(folder, patch_size=8, samples=20):
    how = {"patch_size": patch_size, "samples_per_epoch": samples, "seed": SEED}
    return DenoisingTrain(Store(folder / "gray.h5"), sigma=SIGMA, **how)


MAKERS = [classification, resized, super_resolution, denoising]


def tensor(image):
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))


def plain_classification(epoch, index, pad, flip):
    """What a sample is, said plainly."""
    rng = np.random.default_rng([SEED, epoch, index])
    image = COLOUR[index]
    if pad:
        y, x = rng.integers(0, 2 * pad + 1, size=2)
        image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))[y : y + 16, x : x + 12]
    if flip and rng.random() < 0.5:
        image = image[:, ::-1]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (tensor(image) / 255 - mean) / std, torch.tensor(LABELS[index])


def plain_patch(epoch, index, size, scale, samples, *arrays):
    """The generator, and patches of arrays of which each is so many times as large."""
    rng = np.random.default_rng([SEED, epoch, index])
    item = (epoch * samples + index) % len(arrays[0])
    y, x = rng.integers(0, np.array(arrays[0].shape[1:3]) - size + 1)
    horizontal, vertical, transposed = rng.random(3) < 0.5
    patches = []
    for factor, array in zip((1, scale), arrays, strict=False):
        patch = array[item, y * factor :, x * factor :][: size * factor, : size * factor]
        patch = patch[:, ::-1] if horizontal else patch
        patch = patch[::-1] if vertical else patch
        patches.append(tensor(patch.transpose(1, 0, 2) if transposed else patch))
    return rng, patches


def plain_super_resolution(epoch, index, size):
    return plain_patch(epoch, index, size, SCALE, 20, LR, HR)[1]


def plain_denoising(epoch, index, size):
    rng, (clean,) = plain_patch(epoch, index, size, 1, 20, GRAY)
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    return clean + noise * SIGMA, clean


CASES = {
    "classification": (classification, functools.partial(plain_classification, pad=3, flip=True)),
    "no border": (
        functools.partial(classification, pad=0),
        functools.partial(plain_classification, pad=0, flip=True),
    ),
    "no flips": (
        functools.partial(classification, flip=False),
        functools.partial(plain_classification, pad=3, flip=False),
    ),
    "a border wider than the image": (
        functools.partial(classification, pad=30),
        functools.partial(plain_classification, pad=30, flip=True),
    ),
    "super-resolution": (super_resolution, functools.partial(plain_super_resolution, size=4)),
    "the whole width": (
        functools.partial(super_resolution, patch_size=9),
        functools.partial(plain_super_resolution, size=9),
    ),
    "denoising": (denoising, functools.partial(plain_denoising, size=8)),
    "noise on the whole width": (
        functools.partial(denoising, patch_size=18),
        functools.partial(plain_denoising, size=18),
    ),
}


@pytest.mark.parametrize("held", [True, False], ids=["held", "file"])
@pytest.mark.parametrize("case", list(CASES))
def test_a_batch_is_what_its_samples_are_said_plainly(folder, case, held, monkeypatch):
    if not held:
        monkeypatch.setattr(Store, "hold", lambda self: False)
    make, plain = CASES[case]
    keys = [(epoch, index) for epoch in (0, 3, 2000) for index in (4, 1, 19, 1, 0, 7)]
    made = make(folder).batch(keys)
    for part, expected in zip(made, zip(*(plain(*key) for key in keys), strict=True), strict=True):
        assert torch.equal(part, torch.stack(expected))


@pytest.mark.parametrize("make", MAKERS)
def test_samples_do_not_depend_on_their_batch(folder, make):
    data = make(folder)
    keys = [(5, index) for index in (3, 0, 5, 4, 1, 2)]
    whole = data.batch(keys)
    parts = [data.batch(keys[:1]), data.batch(keys[1:3]), data.batch(keys[3:])]
    turned = data.batch(keys[::-1])
    for number, part in enumerate(whole):
        assert torch.equal(part, torch.cat([batch[number] for batch in parts]))
        assert torch.equal(part, turned[number].flip(0))
        for place, key in enumerate(keys):
            assert torch.equal(part[place], torch.as_tensor(data[key][number]))


def loaded(data, workers):
    """Two epochs, the second from its third batch on, as a resumed training has it."""
    batches = EpochBatches(len(data), 2, seed=1)
    loader = batch_loader(data, batches, num_workers=workers, persistent_workers=workers > 0)
    first = list(loader)
    batches.seek(1, 2)
    return [tuple(batch) for batch in (*first, *loader)]


def same(first, second):
    """Whether two lists of batches are equal to the bit, and of the same types."""
    return len(first) == len(second) and all(
        len(a) == len(b)
        and all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("held", [True, False], ids=["held", "file"])
@pytest.mark.parametrize("make", MAKERS)
def test_the_number_of_workers_does_not_matter(folder, make, held, monkeypatch):
    if not held:
        monkeypatch.setattr(Store, "hold", lambda self: False)
    data = make(folder)
    alone = loaded(data, 0)
    assert len(alone) == 2 * -(-len(data) // 2) - 2
    assert same(alone, loaded(data, 1))
    assert same(alone, loaded(data, 3))


class Own(Dataset):
    """A data set of a user: samples, of which the second part is a number."""

    def __len__(self):
        return 5

    def __getitem__(self, key):
        return torch.full((2,), float(sum(key))), key[1]


class Several(Own):
    """One that PyTorch asks for all samples at once."""

    def __getitems__(self, keys):
        return [(torch.full((2,), float(sum(key))), key[1]) for key in keys]

    def __getitem__(self, key):
        raise AssertionError("asked one by one")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [Own, Several])
def test_data_sets_of_samples_are_stacked(kind, workers):
    batches = loaded(kind(), workers)
    keys = [(0, 4), (0, 2)]
    images, numbers = batch_of(kind(), keys)
    assert torch.equal(images, torch.tensor([[4.0, 4.0], [2.0, 2.0]]))
    assert torch.equal(numbers, torch.tensor([4, 2]))
    assert same(batches, loaded(Own(), 0))


def test_a_sample_that_a_subclass_changes_is_asked_for(folder):
    class Darker(DenoisingTrain):
        def __getitem__(self, key):
            noisy, clean = super().__getitem__(key)
            return noisy / 2, clean

    data = Darker(Store(folder / "gray.h5"), patch_size=8, sigma=SIGMA, seed=SEED)
    keys = [(0, 1), (0, 3)]
    noisy, clean = batch_of(data, keys)
    expected = data.batch(keys)
    assert torch.equal(noisy, expected[0] / 2) and torch.equal(clean, expected[1])


@pytest.mark.parametrize("held_out", [Own, denoising])
def test_a_part_of_a_data_set_makes_batches_as_the_whole(folder, held_out):
    data = held_out(folder) if held_out is denoising else held_out()
    part = Part(data, [0, 2, 4])
    made, expected = (
        batch_of(part, [(1, 2), (1, 0)]),
        default_collate([data[1, 4], data[1, 0]]),
    )
    assert same([made], [expected])
    assert same([part[1, 2][:1]], [data[1, 4][:1]])


def test_a_sample_has_numbers_where_a_batch_has_vectors(folder):
    image, label = ClassificationTest(Store(folder / "colour.h5"), mean=MEAN, std=STD)[7]
    assert image.shape == (3, 16, 12)
    assert label == 3 and type(label) is int


def test_images_end_where_the_store_does(folder):
    data = ClassificationTest(Store(folder / "colour.h5"), mean=MEAN, std=STD)
    assert len(list(data)) == 20
    with pytest.raises(IndexError):
        data.batch([0, 20])


class Numbers(Batched):
    """Class labels alone, few or many."""

    def __init__(self, size):
        self.size = size

    def batch(self, keys):
        return (torch.arange(self.size).repeat(len(keys), 1),)


@pytest.mark.parametrize("size", [3, INLINE_BYTES])
def test_labels_arrive_whole_however_they_travel(size):
    (batch,) = batch_loader(Numbers(size), [[0, 1]], num_workers=1)
    (numbers,) = batch
    assert numbers.dtype == torch.int64
    assert torch.equal(numbers, torch.arange(size).repeat(2, 1))
    numbers += 1
    assert numbers[1, -1] == size


class Rooms(Batched):
    """Whether the room of a batch, and that of a sample, is in shared memory."""

    def batch(self, keys):
        assert empty(2, 3, 4).shape == (2, 3, 4) and empty(2, 3).dtype == torch.float32
        shared = [empty(len(keys), 3).is_shared(), empty(1, 3).is_shared()]
        return (torch.tensor([shared] * len(keys)),)


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_write_batches_where_they_are_handed_on(workers):
    ((rooms,),) = batch_loader(Rooms(), [[0, 1, 2]], num_workers=workers)
    assert rooms.tolist() == [[workers > 0, False]] * 3
