"""The images of benchmarks/starts.py."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from lwdna.data.crops import crop_images, gray_store
from lwdna.data.digits import digits_store
from lwdna.data.folders import imagefolder_store
from lwdna.data.images import find_images
from lwdna.data.photographs import export_photographs
from lwdna.io.atomic import atomic_folder

TRAIN_PHOTOGRAPHS = ("chelsea", "china", "flower", "motorcycle_left", "rocket")
TEST_PHOTOGRAPHS = ("astronaut", "coffee")


def prepare(data: str, folder: Path, cifar: Path | None) -> None:
    """Write the stores of training and test images into ``folder/data``."""
    target = folder / "data" / data
    if target.exists():
        return
    with atomic_folder(target) as making:
        if data == "digits":
            stores = making / "train.h5", making / "test.h5"
            digits_store(*stores, train_fraction=0.25, seed=0)
        elif data == "photographs":
            export_photographs(TRAIN_PHOTOGRAPHS, making / "train")
            export_photographs(TEST_PHOTOGRAPHS, making / "test")
            images, colour = find_images(making / "train"), making / "super-resolution.h5"
            crop_images(images, colour, size=120, step=60, threshold=12, scale=4)
            gray_store(colour, making / "denoising.h5")
        else:
            for split in ("train", "test"):
                imagefolder_store(Path(f"{cifar}/{split}"), making / f"{split}.h5")


def pack(source: Path, target: Path, train: int, test: int) -> None:
    """Copy the first images of every class from a zip of CIFAR-10 into a smaller one."""
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as made:
        taken: dict[str, int] = {}
        for name in sorted(n for n in given.namelist() if re.fullmatch(r"\w+/\w+/[^/]+\.\w+", n)):
            group = name.rsplit("/", 1)[0]
            taken[group] = taken.get(group, 0) + 1
            if taken[group] <= (train if name.startswith("train/") else test) // 10:
                made.writestr(name, given.read(name))
