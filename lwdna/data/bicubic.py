"""MATLAB's antialiased bicubic resizing, by which the super-resolution benchmarks are made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwdna.errors import ConfigError, DataError

_SUPPORT = 4
"""Width in pixels of the cubic kernel before it is widened."""


def imresize(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """Resize an image as MATLAB's ``imresize(image, scale)`` does: bicubic, antialiased.

    The kernel is Keys' cubic with a = -0.5, widened by 1/scale when shrinking; the border is
    mirrored; rows are resized before columns. The sums run in a fixed order without BLAS, so
    the bits do not depend on the machine or the number of threads.

    Args:
        image: (H, W) or (H, W, C), uint8 or floating.
        scale: output size over input size, e.g. 1/4 for the low-resolution images at scale 4.

    Returns:
        (ceil(scale H), ceil(scale W)[, C]) of the same type. Like MATLAB, uint8 images are
        rounded (half away from zero) and clipped to 0-255 after each of the two directions;
        floating images are neither rounded nor clipped.

    Raises:
        ConfigError: if the scale is not a finite positive number.
        DataError: if the image has another type or number of axes, or no pixels.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ConfigError(f"The scale of a resize is {scale}; give a finite number above 0.")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise DataError(f"An image to resize has type {image.dtype}; give uint8 or floating.")
    if image.ndim not in (2, 3) or image.size == 0:
        raise DataError(
            f"An image to resize has shape {image.shape}; give (H, W) or (H, W, C) with pixels."
        )
    for axis in (0, 1):
        image = _resize_axis(image, scale, axis)
    return image


def _resize_axis(image: NDArray[Any], scale: float, axis: int) -> NDArray[Any]:
    indices, weights = _contributions(image.shape[axis], scale)
    shape = [1] * image.ndim
    shape[axis] = len(indices)
    total: NDArray[np.float64] = np.zeros(1)
    for tap in range(indices.shape[1]):
        pixels = np.take(image, indices[:, tap], axis=axis)
        total = total + weights[:, tap].reshape(shape) * pixels
    if image.dtype == np.uint8:
        return np.floor(np.clip(total, 0, 255) + 0.5).astype(np.uint8)
    return total.astype(image.dtype)


def _contributions(length: int, scale: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For every output pixel of a line, the input pixels it is made of and their weights.

    Returns:
        indices (outputs, taps) into the line and weights (outputs, taps), whose rows sum to 1.
    """
    # Rounding keeps a product like 7 * (3 / 7) = 3.0000000000000004 from making a fourth pixel.
    outputs = math.ceil(round(scale * length, 9))
    widened = min(scale, 1.0)
    support = _SUPPORT / widened
    # Pixels are counted from 1 here, as in MATLAB, so that the centres have the same bits.
    position = np.arange(1, outputs + 1, dtype=np.float64)
    centre = position / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - support / 2)
    taps = left[:, None] + np.arange(math.ceil(support) + 2)
    weights = widened * _cubic(widened * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    # Mirrored border: the line, then the line backwards, over and over.
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirror[np.mod(taps.astype(np.intp) - 1, 2 * length)]
    return indices[:, used], weights[:, used]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
