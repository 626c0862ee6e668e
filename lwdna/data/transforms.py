"""What is done to images: crops, turns, and their way into the tensor of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lwdna.errors import ConfigError


class Normalisation:
    """Of batches (B, 3, H, W), values 0-255: (x / 255 - mean) / std."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        for name, values, lowest in (("mean", mean, 0.0), ("std", std, 1e-6)):
            if len(values) != 3 or not all(lowest <= value <= 1 for value in values):
                raise ConfigError(
                    f"The {name} of the images is {list(values)}; give three numbers on the scale "
                    "0-1 (divide those of 0-255 by 255), and no standard deviation of 0."
                )
        self._mean = torch.tensor(list(mean), dtype=torch.float32).view(3, 1, 1)
        self._std = torch.tensor(list(std), dtype=torch.float32).view(3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise float32 (B, 3, H, W) in place."""
        return images.div_(255).sub_(self._mean).div_(self._std)


class RandomResizedCrop:
    """Torchvision's transform on uint8 (H, W, 3), driven by a generator of ours."""

    def __init__(self, size: int) -> None:
        # Imported here because it takes seconds, and only ImageNet and the like need it.
        from torchvision.transforms import v2  # noqa: PLC0415

        require_number(size >= 1, "crop", size, "at least 1")
        self._transform = v2.RandomResizedCrop(size)

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """A part of an image, which ``rng`` draws."""
        # Torchvision draws from torch's global generator, which is given back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            return np.asarray(self._transform(Image.fromarray(image)))


class CentreCrop:
    """Resize the shorter side of uint8 (H, W, 3), then cut out the middle."""

    def __init__(self, resize: int, crop: int) -> None:
        from torchvision.transforms import v2  # noqa: PLC0415

        require_number(crop >= 1, "crop", crop, "at least 1")
        self._transform = v2.Compose([v2.Resize(resize), v2.CenterCrop(crop)])

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The middle of an image."""
        return np.asarray(self._transform(Image.fromarray(image)))


class Turn:
    """One of the eight orientations, drawn at random and applied to (H, W, C) images."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._horizontal, self._vertical, self._transposed = rng.random(3) < 0.5

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image in this orientation."""
        if self._horizontal:
            image = image[:, ::-1]
        if self._vertical:
            image = image[::-1]
        return image.transpose(1, 0, 2) if self._transposed else image


def put(image: NDArray[np.uint8], slot: NDArray[np.float32]) -> None:
    """Write uint8 (H, W, C) into its place in a batch, float32 (C, H, W), values 0-255."""
    slot[...] = image.transpose(2, 0, 1)


def put_shifted(image: NDArray[np.uint8], y: int, x: int, slot: NDArray[np.float32]) -> None:
    """As :func:`put`, from (y, x) of the image on; black where there is no image.

    Args:
        image: (H, W, C).
        y, x: may be negative.
        slot: (C, H, W).
    """
    if not (y or x):
        put(image, slot)
        return
    height, width, _ = image.shape
    slot[...] = 0
    put(
        image[max(0, y) : max(0, height + y), max(0, x) : max(0, width + x)],
        slot[:, max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)],
    )


def to_tensor(image: NDArray[Any]) -> Tensor:
    """uint8, or floating, (H, W, C) to float32 (C, H, W), values 0-255."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


def require_number(holds: bool, name: str, value: float | None, allowed: str) -> None:
    """Raise ConfigError, naming a number and what is allowed, unless it holds."""
    if not holds:
        raise ConfigError(f"{name} is {value}; it must be {allowed}.")
