"""Boxes: x and y of the corner, width and height, in pixels; pixel i spans [i, i + 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lwdna.errors import DataError

SPREADS = (0.01, 0.05, 0.1, 0.2, 0.3)
"""Standard deviations of proposals, as shares of the size of the box."""

TRIES = 100
"""Draws of a proposal before the last one is taken as it is."""


def checked(box: Sequence[float], size: tuple[int, int], what: str = "The box") -> Tensor:
    """A box that a user gave, of shape (4,), float64, if it shows anything of the image.

    Args:
        box: x, y, width, height in pixels.
        size: height and width of the image.
        what: the box, in words.

    Raises:
        DataError: if it is no box, of no size, or outside of the image.
    """
    numbers = [float(number) for number in box]
    said = ", ".join(f"{number:g}" for number in numbers)
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise DataError(f"{what} is ({said}); give four numbers: x, y, width, height in pixels.")
    x, y, w, h = numbers
    if w < 1 or h < 1:
        raise DataError(
            f"{what} is ({said}), of no size; width and height must be at least 1 pixel."
        )
    height, width = size
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise DataError(
            f"{what} is ({said}), outside of the image of {width} x {height} pixels; give one that "
            "lies in it."
        )
    return torch.tensor(numbers, dtype=torch.float64)


def centre_of(boxes: Tensor) -> Tensor:
    """The centres of boxes: (..., 4) to (..., 2), x and y."""
    return boxes[..., :2] + boxes[..., 2:] / 2


def box_around(centres: Tensor, sizes: Tensor) -> Tensor:
    """Boxes by their centres and sizes: (..., 2) and (..., 2) to (..., 4)."""
    return torch.cat([centres - sizes / 2, sizes], -1)


def side_of(boxes: Tensor) -> Tensor:
    """The side of a square of the same area: (..., 4) to (...)."""
    return (boxes[..., 2] * boxes[..., 3]).clamp(min=0).sqrt()


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union: (..., 4) and (..., 4) to (...); 0 where there is neither."""
    corner = torch.maximum(a[..., :2], b[..., :2])
    end = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = (end - corner).clamp(min=0).prod(-1)
    union = a[..., 2:].clamp(min=0).prod(-1) + b[..., 2:].clamp(min=0).prod(-1) - common
    return torch.where(union > 0, common / union.clamp(min=1e-12), torch.zeros_like(union))


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """What of boxes (..., 4) lies in an image of this height and width; outside, of no size."""
    limit = torch.tensor([size[1], size[0]], dtype=boxes.dtype, device=boxes.device)
    start = torch.minimum(boxes[..., :2].clamp(min=0), limit)
    end = torch.minimum((boxes[..., :2] + boxes[..., 2:]).clamp(min=0), limit)
    return torch.cat([start, (end - start).clamp(min=0)], -1)


def kept_inside(centre: Tensor, size: Tensor, image: tuple[int, int], share: float) -> Tensor:
    """A centre (2,) moved as little as it takes that a share of each side (2,) is in the image."""
    limit = torch.tensor([image[1], image[0]], dtype=centre.dtype)
    margin = size * (0.5 - share)
    return torch.maximum(torch.minimum(centre, limit + margin), -margin)


def jittered(box: Tensor, scale: float, shift: float, generator: torch.Generator) -> Tensor:
    """A box (4,) of another place and size, as a tracker that erred would look for it.

    Args:
        box: the true one.
        scale: standard deviation of the logarithm of each side.
        shift: of the centre, uniform between minus and plus half of it, in sides of a square of
            the jittered box's area.
        generator: of the draws.
    """
    draws = torch.randn(2, generator=generator, dtype=box.dtype)
    size = box[2:] * (draws * scale).exp()
    moved = (torch.rand(2, generator=generator, dtype=box.dtype) - 0.5) * shift
    return box_around(centre_of(box) + moved * size.prod().sqrt(), size)


def proposals(
    box: Tensor, count: int, generator: torch.Generator, *, least: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Boxes near a true one, from which the IoU branch learns (ATOM, Sec. 3.2).

    Each has a spread of its own, one of :data:`SPREADS`; one that overlaps too little is drawn
    again with less noise.

    Args:
        box: the true one (4,).
        count: how many.
        generator: of the draws.
        least: the IoU with the true one that a proposal has at least, where that can be had.

    Returns:
        Proposals (count, 4), and their IoU (count,).
    """
    spread = box.new_tensor(SPREADS)[torch.randint(len(SPREADS), (count,), generator=generator)]
    true, side = box.expand(count, 4), side_of(box)
    boxes, overlap = true, torch.zeros_like(spread)
    for _ in range(TRIES):
        far = (overlap <= least)[:, None]
        if not far.any():
            break
        noise = torch.randn(count, 4, generator=generator, dtype=box.dtype)
        draws = noise * spread[:, None] * side
        size = box[2:] + draws[:, 2:]
        share = torch.rand(count, 2, generator=generator, dtype=box.dtype)
        size = torch.where(size <= 1, box[2:] * (0.15 + 0.35 * share), size)
        boxes = torch.where(far, box_around(centre_of(box) + draws[:, :2], size), boxes)
        overlap = iou(boxes, true)
        spread = torch.where(far[:, 0], 0.9 * spread, spread)
    return boxes, overlap
