"""The first frame, seen in several ways, so that one picture tells more of an object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from lwdna.tracking.crops import Crop, cut


@dataclass(frozen=True)
class Augmentation:
    """The ways in which the first frame is seen (DiMP, Sec. 4.2)."""

    shift: float = 0.6
    """Of four copies, to the corners, in halves of the search region."""
    blurs: tuple[tuple[float, float], ...] = ((3, 1), (1, 3), (2, 2))
    """Standard deviations down and across, in pixels where the search region has 288."""
    angles: tuple[float, ...] = (10, -10, 45, -45)
    """In degrees."""
    mirror: bool = True
    """Whether there is a mirrored copy."""
    random_shift: float = 1 / 6
    """Of mirrored, blurred and turned copies: at most this share of the search region."""
    dropouts: int = 2
    """Copies of the features of the frame as it is, without some channels."""
    dropped: float = 0.2
    """The share of channels that these are without."""


class Seen(NamedTuple):
    """The first frame in n ways, the first of which is as it is."""

    images: Tensor
    """(n, 3, S, S), values 0-1."""
    boxes: Tensor
    """(n, 4) of the object, in pixels of the crops; they are moved, but never turned."""


def views(
    image: NDArray[np.uint8],
    crop: Crop,
    box: Tensor,
    how: Augmentation,
    generator: torch.Generator,
) -> Seen:
    """Cut the first frame out in several ways.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        crop: the search region; shifts show what is around it.
        box: (4,) of the object, in pixels of the image.
        how: it is seen.
        generator: of random shifts.
    """
    size = crop.size
    margin = size // 2
    scale = crop.scale
    wide = Crop(
        crop.x - margin * scale, crop.y - margin * scale, crop.side + 2 * margin * scale,
        size + 2 * margin,
    )  # fmt: skip
    patch = cut(image, wide)
    corner = round(how.shift * size / 2)
    moved = [(0, 0), *((x * corner, y * corner) for x in (-1, 1) for y in (-1, 1))]
    patches = [patch] * 5
    changed = [patch.flip(-1)] if how.mirror else []
    changed += [_blurred(patch, *(s * size / 288 for s in sigmas)) for sigmas in how.blurs]
    changed += [_turned(patch, angle) for angle in how.angles]
    reach = min(how.random_shift * size, margin)
    draws = (2 * torch.rand(len(changed), 2, generator=generator) - 1) * reach
    moved += [(round(x), round(y)) for x, y in draws.tolist()]
    patches += changed
    images = [
        p[:, margin - y : margin - y + size, margin - x : margin - x + size]
        for p, (x, y) in zip(patches, moved, strict=True)
    ]
    here = crop.to_crop(box)
    boxes = [here + here.new_tensor([x, y, 0, 0]) for x, y in moved]
    return Seen(torch.stack(images), torch.stack(boxes))


def dropped(features: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Copies of features (C, H, W) without some channels: (dropouts, C, H, W)."""
    kept = torch.rand(how.dropouts, len(features), generator=generator) >= how.dropped
    factors = kept.to(features) / (1 - how.dropped)
    return features * factors[:, :, None, None]


def _blurred(patch: Tensor, down: float, across: float) -> Tensor:
    for axis, sigma in ((1, down), (2, across)):
        reach = math.ceil(3 * sigma)
        weights = (-((torch.arange(2 * reach + 1) - reach) ** 2) / (2 * sigma**2)).exp()
        shape = [1, 1, 1, 1]
        shape[axis + 1] = -1
        border = (0, 0, reach, reach) if axis == 1 else (reach, reach, 0, 0)
        padded = pad(patch[:, None], border, mode="replicate")
        patch = conv2d(padded, (weights / weights.sum()).reshape(shape))[:, 0]
    return patch


def _turned(patch: Tensor, degrees: float) -> Tensor:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]])
    grid = affine_grid(turn, [1, *patch.shape], align_corners=False)
    return grid_sample(patch[None], grid, padding_mode="border", align_corners=False)[0]
