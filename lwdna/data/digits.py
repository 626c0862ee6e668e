"""Handwritten digits as a small classification data set that needs no download."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwdna.data.bicubic import imresize
from lwdna.data.images import to_rgb
from lwdna.errors import ConfigError
from lwdna.io.hdf5 import Tables, create_store

PathLike = str | os.PathLike[str]

_UPSCALE = 4
_WHITE = 16
"""The largest value of a pixel in scikit-learn's digits."""


def digits_store(
    output_train: PathLike, output_test: PathLike, *, train_fraction: float, seed: int
) -> tuple[int, int]:
    """Write both splits of the digits, see :func:`pack`.

    Returns:
        The numbers of images for training and testing.

    Raises:
        ConfigError: as :func:`pack`.
    """
    train, test = (
        pack(None, output, split=split, train_fraction=train_fraction, seed=seed)
        for split, output in (("train", output_train), ("test", output_test))
    )
    return train, test


def pack(
    _source: None, output: PathLike, *, split: str, train_fraction: float, seed: int = 0
) -> int:
    """Write a split of scikit-learn's 1797 digits, split by class, as images of 32 x 32 pixels.

    The 8 x 8 images are made larger by bicubic resizing and their range 0-16 becomes 0-255.

    Args:
        output: store with "images" (N, 32, 32, 3), "labels" (N,) and "classes".
        split: "train", or "test" for all the others.
        train_fraction: share of every class that is trained on, between 0 and 1; at least one
            digit of every class goes to either side.
        seed: of the split.

    Returns:
        N, the number of images.

    Raises:
        ConfigError: if the fraction does not lie between 0 and 1, or the seed is negative.
    """
    if not 0 < train_fraction < 1:
        raise ConfigError(
            f"The training share of the digits is {train_fraction}; give a number between 0 and 1."
        )
    if seed < 0:
        raise ConfigError(f"The seed is {seed}; give a whole number of at least 0.")
    # scikit-learn takes seconds to import, and only this function needs it.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    data = load_digits()
    train, test = _split(data.target, train_fraction, seed)
    chosen = {"train": train, "test": test}[split]
    classes = [str(name) for name in data.target_names]
    _write(output, data.images[chosen], data.target[chosen], chosen, classes)
    return len(chosen)


def _split(
    labels: NDArray[np.integer], fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices for training and testing, each in rising order, with the same share per class."""
    train: list[NDArray[np.intp]] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        train.append(np.random.default_rng([seed, int(label)]).permutation(members)[:count])
    chosen = np.sort(np.concatenate(train))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def _write(
    output: PathLike,
    images: NDArray[np.float64],
    labels: NDArray[np.integer],
    indices: NDArray[np.intp],
    classes: Sequence[str],
) -> None:
    side = images.shape[1] * _UPSCALE
    shape = (len(images), side, side, 3)
    tables: Tables = {
        "labels": labels.astype("<i8"),
        "classes": classes,
        "source": [f"digit {index:04d}" for index in indices],
    }
    note = {"made_from": "scikit-learn's digits"}
    with create_store(output, images={"images": shape}, tables=tables, attributes=note) as writer:
        for index, image in enumerate(images):
            large = imresize(image * (255 / _WHITE), _UPSCALE)
            rounded = np.floor(np.clip(large, 0, 255) + 0.5).astype(np.uint8)
            writer.put("images", index, to_rgb(rounded))
