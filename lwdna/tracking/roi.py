"""Precise RoI pooling in closed form: exact, and differentiable in features and boxes."""

from __future__ import annotations

import torch
from torch import Tensor

NARROWEST = 1e-6
"""Cells: a bin that is not wider is empty, and gives 0."""


def precise_roi_pool(features: Tensor, boxes: Tensor, size: int, stride: float) -> Tensor:
    """The mean of a bilinearly interpolated map over each of ``size`` x ``size`` bins of a box.

    Cell (i, j) of the map is centred at (j, i) times the stride, and the map is 0 outside. The mean
    of a bin is a product of integrals along the two axes, so that a box is pooled by two small
    matrices, one an axis; autograd of these is exact (DiMP, Sec. 3.1; ATOM, Sec. 3.2).

    Args:
        features: (B, C, H, W).
        boxes: (B, N, 4), x, y, width, height in pixels of the crop that the map was made of.
        size: bins along each axis.
        stride: pixels between two cells.

    Returns:
        (B, N, C, size, size).
    """
    height, width = features.shape[-2:]
    across = _shares(boxes[..., 0] / stride, boxes[..., 2] / stride, size, width)
    down = _shares(boxes[..., 1] / stride, boxes[..., 3] / stride, size, height)
    columns = torch.einsum("bchw,bnqw->bnchq", features, across)
    return torch.einsum("bnchq,bnph->bncpq", columns, down)


def _shares(start: Tensor, length: Tensor, bins: int, cells: int) -> Tensor:
    """By what cells weigh in the mean over each bin: (B, N) and (B, N) to (B, N, bins, cells)."""
    steps = torch.arange(bins + 1, device=start.device, dtype=start.dtype) / bins
    width = length.clamp(min=0)[..., None]
    edges = (start[..., None] + width * steps)[..., None]
    places = torch.arange(cells, device=start.device, dtype=start.dtype)
    integral = _integral(edges - places)
    bin_width = (width / bins)[..., None]
    shares = (integral[..., 1:, :] - integral[..., :-1, :]) / bin_width.clamp(min=NARROWEST)
    return torch.where(bin_width > NARROWEST, shares, torch.zeros_like(shares))


def _integral(u: Tensor) -> Tensor:
    """The integral of the hat function max(0, 1 - abs(t)) up to ``u``, of any shape."""
    a = u.clamp(-1, 1)
    return 0.5 + a - a * a.abs() / 2
