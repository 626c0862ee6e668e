"""Pictures for a network: of any kind that they come as, on its scale, with its channels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lwdna.data.images import read_image, to_gray, upright
from lwdna.errors import ConfigError, DataError
from lwdna.tasks.task import Task

Pixels = NDArray[Any]
"""(H, W) or (H, W, C)."""


def as_pixels(picture: Any) -> tuple[Pixels, str]:
    """A picture as an array, and what to call it.

    Args:
        picture: the path of a file, an array (H, W) or (H, W, C), an image of Pillow, or a tensor
            (C, H, W).

    Returns:
        (H, W) or (H, W, 3), of the type that it had.

    Raises:
        ConfigError: if it is something else.
        DataError: if the file cannot be read, or the array is none of gray or colour.
    """
    if isinstance(picture, str | os.PathLike):
        if not upright(picture):
            raise DataError(
                f"The picture '{picture}' is stored on its side or mirrored, as its EXIF data say; "
                "save it as it is to be seen."
            )
        return read_image(Path(picture)), f"'{picture}'"
    name = "the picture"
    if isinstance(picture, Tensor):
        pixels = np.asarray(picture.detach().cpu())
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    elif isinstance(picture, np.ndarray) or hasattr(picture, "__array_interface__"):
        mode = getattr(picture, "mode", "RGB")
        if mode not in {"L", "RGB"}:  # of a palette, Pillow gives the numbers of colours
            raise DataError(f"The picture has the colour mode {mode}; convert it to L or RGB.")
        pixels = np.asarray(picture)
    else:
        raise ConfigError(
            f"The picture is a {type(picture).__name__}; give the path of a file, an array (H, W) "
            "or (H, W, 3), an image of Pillow, or a tensor (C, H, W)."
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise DataError(
            f"The picture has the shape {pixels.shape}; give gray, (H, W), or colour, (H, W, 3), "
            "without alpha (of a tensor the channels come first)."
        )
    if not (np.issubdtype(pixels.dtype, np.integer) or np.issubdtype(pixels.dtype, np.floating)):
        raise DataError(f"The picture is made of {pixels.dtype}; give numbers on the scale 0-255.")
    return pixels, name


def opening(name: str) -> str:
    """What a picture is called at the beginning of a sentence."""
    return name[:1].upper() + name[1:]


def fitted(pixels: Pixels, name: str, task: Task, *, gray: bool) -> Pixels:
    """A picture on the scale and with the channels of a network of a task.

    Args:
        pixels: (H, W) or (H, W, 3).
        name: what to call it.
        task: what the network was trained for.
        gray: whether colour is converted where the network takes gray.

    Returns:
        (H, W, C), bytes as they were, anything else as float32.

    Raises:
        DataError: if it is on another scale, or is in colour and must not be.
    """
    _check_scale(pixels, name, task)
    channels = task.takes().get("channels", 3)
    if channels == 3:
        return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
    if pixels.ndim == 3:
        pixels = _without_colour(pixels, name, gray)
    return (pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32))[:, :, None]


def _check_scale(pixels: Pixels, name: str, task: Task) -> None:
    """Values must be those of a picture on the scale 0-255, but for what noise adds."""
    lowest, highest = float(pixels.min()), float(pixels.max())
    between = f"{opening(name)} has values from {lowest:g} to {highest:g}"
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise DataError(f"{between}; give numbers on the scale 0-255.")
    beyond = 0.0 if pixels.dtype == np.uint8 else task.beyond
    # As far on the scale 0-1, or -1 to 1, noise may go beyond that.
    if 0 < highest <= 1 + beyond / 255 and lowest >= -1 - beyond / 255:
        raise DataError(
            f"{between}, but the network takes the scale 0-255; multiply by 255, or give another "
            "picture if it is a mask."
        )
    if lowest < -beyond or highest > 255 + beyond:
        raise DataError(
            f"{between}, but the network takes the scale 0-255; bring it to that scale (16 "
            "bits: divide by 257)."
        )


def _without_colour(pixels: Pixels, name: str, gray: bool) -> Pixels:
    """A picture (H, W, 3) as (H, W), if nothing is lost or that is wanted."""
    first: Pixels = pixels[:, :, 0]
    if all(np.array_equal(first, pixels[:, :, channel]) for channel in (1, 2)):
        return first
    if not gray:
        raise DataError(
            f"{opening(name)} is in colour, but the network was trained on gray pictures; convert "
            "it, or ask for that (--gray, gray=True)."
        )
    if pixels.dtype != np.uint8:
        raise DataError(
            f"{opening(name)} is a colour picture of {pixels.dtype}, of which only bytes are "
            "converted to gray; convert it yourself."
        )
    return to_gray(pixels)
