"""Square crops of an image around an object, resampled to the size that a network takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwdna.errors import DataError
from lwdna.tracking.boxes import centre_of, side_of


@dataclass(frozen=True)
class Crop:
    """The exact square that was cut out of an image, and the size that it was brought to.

    Coordinates are continuous: pixel i spans [i, i + 1), in the image as in the crop. Nothing is
    rounded, so that a box that goes there and back is the same box.
    """

    x: float
    """Of the left side, in pixels of the image."""
    y: float
    """Of the upper side, in pixels of the image."""
    side: float
    """In pixels of the image."""
    size: int
    """In pixels of the crop."""

    @property
    def scale(self) -> float:
        """Pixels of the image for one of the crop."""
        return self.side / self.size

    def to_crop(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) of the image in the coordinates of the crop."""
        return (boxes - boxes.new_tensor([self.x, self.y, 0, 0])) / self.scale

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) of the crop in the coordinates of the image."""
        return boxes * self.scale + boxes.new_tensor([self.x, self.y, 0, 0])


def around(box: Tensor, factor: float, size: int) -> Crop:
    """The crop around a box (4,) whose side is ``factor`` times that of a square of its area."""
    x, y = centre_of(box).tolist()
    side = factor * float(side_of(box))
    return Crop(x - side / 2, y - side / 2, side, size)


def cut(image: NDArray[np.uint8], crop: Crop) -> Tensor:
    """What a crop shows: bilinear, smoothed where it is smaller; borders go on beyond the image.

    Args:
        image: uint8 (H, W), (H, W, 1) or (H, W, 3), values 0-255.
        crop: the square.

    Returns:
        float32 (3, size, size), values 0-1, contiguous.

    Raises:
        DataError: if the image has no pixel or other channels, or the square has no size.
    """
    if not (math.isfinite(crop.x + crop.y) and 0 < crop.side < math.inf and crop.size > 0):
        raise DataError(f"A crop of side {crop.side:g} pixels was asked for; it must be above 0.")
    pixels: NDArray[Any] = image[:, :, None] if image.ndim == 2 else image
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.shape[2] not in {1, 3}:
        raise DataError(
            f"An image has the shape {image.shape}; give one of (H, W) or (H, W, 3), uint8."
        )
    first_row, rows = _weights(crop.y, crop, pixels.shape[0])
    first_column, columns = _weights(crop.x, crop, pixels.shape[1])
    part = pixels[
        first_row : first_row + rows.shape[1], first_column : first_column + columns.shape[1]
    ]
    values = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1))).float()
    shown = (rows @ values @ columns.T / 255).clamp(0, 1)
    return shown.expand(3, -1, -1).contiguous()


def _weights(start: float, crop: Crop, pixels: int) -> tuple[int, Tensor]:
    """Along one axis the first pixel that counts, and by what each counts: (size, pixels)."""
    scale = crop.scale
    reach = max(1.0, scale)
    centres = start + (torch.arange(crop.size, dtype=torch.float64) + 0.5) * scale - 0.5
    taps = torch.arange(2 * math.ceil(reach) + 1) - math.ceil(reach)
    places = centres.floor().long()[:, None] + taps
    weights = (1 - (centres[:, None] - places).abs() / reach).clamp(min=0)
    weights /= weights.sum(1, keepdim=True)
    places = places.clamp(0, pixels - 1)
    first = int(places.min())
    dense = torch.zeros(crop.size, int(places.max()) - first + 1, dtype=torch.float64)
    return first, dense.scatter_add_(1, places - first, weights).float()
