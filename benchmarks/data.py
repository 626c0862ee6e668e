"""What reading and preparing data costs: our stores beside PNG sub-images, whole batches beside
samples, and waiting in training.

Photographs of scikit-image and scikit-learn, enlarged three times, give 114 sub-images of 480 x 480
at step 240 and threshold 48. Each comparison is made in turns in one process; medians of three.
Files are in the cache of the operating system on both sides. Times are CPU times of one thread, so
that other work of the machine hardly matters; waiting for a disk is not in them. About three
minutes and 300 MB of disk.

Batches of 64 are made in a process without workers, and the same samples one by one and stacked; a
worker also hands them on, which is measured as the CPU time of one.

Waiting is measured without workers, as the share of a training step on the CPU in which the next
batch is made; workers make it while the network computes.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, default_collate

import lwdna
from lwdna.data.batches import batch_loader, batch_of
from lwdna.data.bicubic import imresize
from lwdna.data.classification import ClassificationTrain
from lwdna.data.crops import crop_images, gray_store, tiles
from lwdna.data.images import image_size, read_image, write_image
from lwdna.data.photographs import export_photographs
from lwdna.data.restoration import DenoisingTrain
from lwdna.data.stores import Store
from lwdna.data.workers import workers_ended
from lwdna.io.hdf5 import create_store
from lwdna.tasks.task import task_for
from lwdna.training.sampler import EpochBatches

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
SCALE = 3
RULE = {"size": 480, "step": 240, "threshold": 48}
BATCH, SAMPLES = 64, 1280
PNG_LEVEL = 3
"""Compression of PNG sub-images, as the usual scripts that make them have it."""


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Of training; 0 for no waiting.",
)
@click.option("--patches", type=click.IntRange(min=1), default=300, show_default=True)
def main(repeats: int, steps: int, patches: int) -> None:
    """Measure; one line for each comparison."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = enlarged(folder)
        store, pngs = folder / "colour.h5", folder / "png"
        crop, cut = compare(
            lambda: crop_images(images, store, **RULE, scale=None),
            lambda: cut_into_pngs(images, pngs),
            repeats,
        )
        files = sorted(pngs.iterdir())
        click.echo(f"{len(files)} sub-images of 480 x 480")
        report("cropping, ms a sub-image", crop / len(files), cut / len(files))
        gray_store(store, folder / "gray.h5")
        for size in (192, 64):
            ours, theirs = compare(
                lambda size=size: take(patches, size, len(files), from_store(store)),
                lambda size=size: take(patches, size, len(files), from_pngs(files)),
                repeats,
            )
            report(f"a random {size} x {size} patch, ms", ours / patches, theirs / patches)
        noisy = DenoisingTrain(
            Store(folder / "gray.h5"), patch_size=64, sigma=70, samples_per_epoch=SAMPLES, seed=0
        )
        small = ClassificationTrain(
            small_images(folder / "small.h5"),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            pad=4,
            flip=True,
            seed=0,
        )
        making("32 x 32 images", small, repeats)
        making("noisy 64 x 64 patches", noisy, repeats)
        if not steps:
            return
        waiting("DnCNN, 64 x 64, batch 64", lwdna.build("DnCNN"), noisy, "denoising", steps)
        resnet = lwdna.build("ResNet56", dataset="cifar10")
        waiting("ResNet56, CIFAR, batch 64", resnet, small, "classification", 4 * steps)


def enlarged(folder: Path) -> list[Path]:
    """The photographs, three times as large."""
    paths = export_photographs(PHOTOGRAPHS, folder / "photographs")
    for path in paths:
        write_image(path, imresize(read_image(path), SCALE))
    return paths


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median times in seconds of two functions that are called in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, noted in zip((ours, theirs), times, strict=True):
            start = time.process_time()
            function()
            noted.append(time.process_time() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def report(what: str, ours: float, theirs: float) -> None:
    """Print both in milliseconds, and their ratio."""
    click.echo(
        f"{what}: store {1000 * ours:.3f}, PNG {1000 * theirs:.3f}, ratio {theirs / ours:.1f}"
    )


def cut_into_pngs(images: Sequence[Path], output: Path) -> None:
    """What the store replaces: every sub-image in a file of its own."""
    output.mkdir(exist_ok=True)
    size = RULE["size"]
    for path in images:
        rule = {"crop": size, "step": RULE["step"], "threshold": RULE["threshold"]}
        offsets = tiles(*image_size(path), **rule)
        pixels = read_image(path)
        for number, (y, x) in enumerate(offsets):
            window = Image.fromarray(np.ascontiguousarray(pixels[y : y + size, x : x + size]))
            window.save(output / f"{path.stem}_s{number:03d}.png", compress_level=PNG_LEVEL)


Reader = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Sub-image, y, x and size to a patch (size, size, 3)."""


def from_store(path: Path) -> Reader:
    """Read windows from the file, not from a copy of it in memory."""
    store = Store(path)
    return lambda index, y, x, size: store.read("images", index, (y, x, size, size))


def from_pngs(files: Sequence[Path]) -> Reader:
    """Decode a file, then cut."""

    def read(index: int, y: int, x: int, size: int) -> NDArray[np.uint8]:
        with Image.open(files[index]) as image:
            return np.array(image)[y : y + size, x : x + size]

    return read


def take(patches: int, size: int, images: int, read: Reader) -> int:
    """Read random patches of so many sub-images; both readers are asked for the same."""
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(patches):
        index = int(rng.integers(images))
        y, x = (int(start) for start in rng.integers(0, RULE["size"] - size + 1, 2))
        count += read(index, y, x, size).size
    return count


def small_images(path: Path) -> Store:
    """Noise in the size of CIFAR."""
    shape = (SAMPLES, 32, 32, 3)
    rng = np.random.default_rng(0)
    tables = {"labels": np.arange(shape[0]) % 10, "classes": [str(c) for c in range(10)]}
    with create_store(path, images={"images": shape}, tables=tables, attributes={}) as writer:
        for index in range(shape[0]):
            writer.put("images", index, rng.integers(0, 256, shape[1:], dtype=np.uint8))
    return Store(path)


def making(what: str, data: Dataset[object], repeats: int) -> None:
    """Print how many samples a second a process makes in batches, one by one, and as a worker."""
    batches = list(EpochBatches(SAMPLES, BATCH, seed=0))

    def together() -> None:
        for keys in batches:
            batch_of(data, keys)

    def one_by_one() -> None:
        for keys in batches:
            default_collate([data[key] for key in keys])

    ours, theirs = compare(together, one_by_one, repeats)
    worker = statistics.median(handing_on(data, batches, 8) for _ in range(repeats))
    click.echo(
        f"{what} a second: in batches {SAMPLES / ours:,.0f}, one by one {SAMPLES / theirs:,.0f}, "
        f"ratio {theirs / ours:.1f}; a worker {SAMPLES / worker:,.0f}"
    )


def handing_on(data: Dataset[object], batches: list[list[tuple[int, int]]], epochs: int) -> float:
    """Seconds of CPU time that a worker takes an epoch to make batches and to hand them on.

    The system counts them in hundredths, so that several epochs are measured together.
    """
    loader = batch_loader(data, batches, num_workers=1, persistent_workers=True)
    list(loader)  # the first epoch warms up
    with workers_ended(loader):
        (worker,) = (psutil.Process(child.pid) for child in multiprocessing.active_children())
        before = worker.cpu_times()
        for _ in range(epochs):
            list(loader)
        after = worker.cpu_times()
    return (after.user + after.system - before.user - before.system) / epochs


def waiting(what: str, model: nn.Module, data: Dataset[object], kind: str, steps: int) -> None:
    """Print the share of training steps in which the next batch is waited for."""
    task = task_for(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    batches = EpochBatches(SAMPLES, BATCH, seed=0)
    loader = batch_loader(data, batches)

    def endless() -> Iterator[list[torch.Tensor]]:
        while True:
            yield from loader
            batches.seek(batches.epoch + 1)

    source = endless()
    loading = computing = 0.0
    for step in range(steps + 1):
        start = time.process_time()
        inputs, targets = next(source)
        loaded = time.process_time()
        optimizer.zero_grad()
        task.loss(model(inputs), targets).backward()
        optimizer.step()
        if step:  # the first one warms up
            loading += loaded - start
            computing += time.process_time() - loaded
    click.echo(
        f"{what}: {1000 * loading / steps:.1f} ms waiting of "
        f"{1000 * (loading + computing) / steps:.0f} ms a step, "
        f"{100 * loading / (loading + computing):.2f} %; one process makes "
        f"{BATCH * steps / loading:,.0f} samples a second"
    )


if __name__ == "__main__":
    main()
