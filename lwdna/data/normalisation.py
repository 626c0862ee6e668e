"""The mean and standard deviation by which the images of a data set are normalised."""

from __future__ import annotations

import logging
import math
import os

import numpy as np

from lwdna.data.stores import Store

logger = logging.getLogger(__name__)


def normalisation_of(path: str | os.PathLike[str]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, over all pixels of all images of a store.

    This is what ``mean`` and ``std`` of a classification task should be for its training set
    (supplement, Sec. 2.1).

    Args:
        path: a store.

    Returns:
        Two lists of one number for each channel, on the scale 0-1.

    Raises:
        DataError: if the store is missing or damaged.
    """
    store = Store(path)
    count, height, width, channels = store.shapes["images"]
    sums, squares = (np.zeros(channels, np.int64) for _ in range(2))
    for index in range(count):
        pixels = store[index].reshape(-1, channels).astype(np.int64)
        sums += pixels.sum(0)
        squares += (pixels**2).sum(0)
    store.close()
    n = count * height * width
    # In Python's whole numbers, which have no largest: a difference of such floats loses digits.
    mean = [s / n / 255 for s in sums.tolist()]
    both = zip(sums.tolist(), squares.tolist(), strict=True)
    return mean, [math.sqrt(q * n - s * s) / n / 255 for s, q in both]


def log_normalisation(path: str | os.PathLike[str]) -> None:
    """Say in the log by what a training set is to be normalised.

    Raises:
        DataError: if the store is missing or damaged.
    """
    mean, std = (", ".join(f"{v:.4f}" for v in values) for values in normalisation_of(path))
    logger.info("To normalise the images of '%s': mean: [%s], std: [%s]", path, mean, std)
