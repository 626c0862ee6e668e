"""The branch that predicts how well a box fits, and by whose gradient boxes are refined.

What the object looks like in one frame modulates the features of others (ATOM, Sec. 3.2; DiMP,
Sec. 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lwdna.tracking.roi import precise_roi_pool

USUAL_SIZE = 288
"""Pixels along a side of the search region in the paper."""

Pair = tuple[Tensor, Tensor]
"""Of the fine and of the coarse map."""


class IouNet(nn.Module):
    """The IoU of boxes with an object that is known from another frame.

    Args:
        fine, coarse: channels of the two maps of the backbone.
        strides: of the two maps, in pixels.
        width: channels inside; 256 in the papers.
    """

    def __init__(
        self, fine: int, coarse: int, strides: tuple[int, int], *, width: int = 256
    ) -> None:
        super().__init__()
        half = width // 2
        self.strides = strides
        self.reference_fine = _block(fine, half)
        self.reference_fine_pooled = _block(half, width, padding=0)
        self.reference_coarse = _block(coarse, width)
        self.modulate_fine = _block(2 * width, width, kernel=1, padding=0)
        self.modulate_coarse = _block(2 * width, width, kernel=1, padding=0)
        self.test_fine = nn.Sequential(_block(fine, width), _block(width, width))
        self.test_coarse = nn.Sequential(_block(coarse, width), _block(width, width))
        self.linear_fine = _linear(width * 25, width)
        self.linear_coarse = _linear(width * 9, width)
        self.predict = nn.Linear(2 * width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(module.weight)

    def modulation(self, fine: Tensor, coarse: Tensor, boxes: Tensor) -> Pair:
        """What the object looks like.

        Args:
            fine, coarse: (B, C, H, W) of a frame in which it is known.
            boxes: (B, 4), where it is there, in pixels of the crop.

        Returns:
            Two of (B, width).
        """
        fine_stride, coarse_stride = self.strides
        near = precise_roi_pool(self.reference_fine(fine), boxes[:, None], 3, fine_stride)
        far = precise_roi_pool(self.reference_coarse(coarse), boxes[:, None], 1, coarse_stride)
        seen = torch.cat([self.reference_fine_pooled(near[:, 0]), far[:, 0]], 1)
        return self.modulate_fine(seen).flatten(1), self.modulate_coarse(seen).flatten(1)

    def maps(self, fine: Tensor, coarse: Tensor) -> Pair:
        """Features of frames to look in, of which boxes are judged; (B, C, H, W) all of them."""
        return self.test_fine(fine), self.test_coarse(coarse)

    def forward(self, modulation: Pair, maps: Pair, boxes: Tensor) -> Tensor:
        """Predict the IoU of boxes.

        Args:
            modulation: two of (B, width), of :meth:`modulation`.
            maps: two of (B, width, H, W), of :meth:`maps`.
            boxes: (B, N, 4) in pixels of the crop.

        Returns:
            (B, N), between -1 and 1: what is learned is twice the IoU, less 1.
        """
        # As in the paper the maps are modulated; a factor a channel may as well come after pooling.
        pooled = [
            precise_roi_pool(m, boxes, size, stride) * by[:, None, :, None, None]
            for m, by, size, stride in zip(maps, modulation, (5, 3), self.strides, strict=True)
        ]
        inner = torch.cat(
            [
                layer(part.flatten(2).flatten(0, 1))
                for layer, part in zip((self.linear_fine, self.linear_coarse), pooled, strict=True)
            ],
            1,
        )
        return self.predict(inner).reshape(boxes.shape[:2])  # type: ignore[no-any-return]


def _block(in_channels: int, channels: int, *, kernel: int = 3, padding: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, kernel, padding=padding)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


@dataclass(frozen=True)
class Refinement:
    """How boxes are refined by the predicted IoU (DiMP, Sec. 4.2)."""

    proposals: int = 9
    """Boxes beside the one that is given."""
    shift: float = 0.1
    """By which their centres differ, uniform within this in sides of a square of the area."""
    scale: float = 0.5
    """By which their sides differ, likewise."""
    steps: int = 5
    """Steps of gradient ascent."""
    length: float = 1.0
    """Of a step, in pixels for a gradient of 1 in the size of the box, where the side of the search
    region has :data:`USUAL_SIZE` pixels; in proportion where it has others."""
    best: int = 3
    """Boxes of the highest IoU, whose mean is taken."""
    aspect: float = 6.0
    """A side is at most so many times the other; other boxes are dropped."""


def around_box(box: Tensor, how: Refinement, generator: torch.Generator) -> Tensor:
    """A box (4,) and others near it, from which refinement starts: (1 + proposals, 4)."""
    side = (box[2] * box[3]).sqrt()
    draws = torch.rand(how.proposals, 4, generator=generator, dtype=box.dtype) - 0.5
    sizes = box[2:] + draws[:, 2:] * how.scale * side
    sizes = torch.maximum(sizes, (box[2:].min() / 3).expand_as(sizes))
    centres = box[:2] + box[2:] / 2 + draws[:, :2] * how.shift * side
    return torch.cat([box[None], torch.cat([centres - sizes / 2, sizes], -1)])


def ascend(
    predict: Callable[[Tensor], Tensor], boxes: Tensor, how: Refinement, size: int = USUAL_SIZE
) -> tuple[Tensor, Tensor]:
    """Move boxes along the gradient of their predicted IoU, in units of their own size.

    Args:
        predict: IoU (N,) of boxes (N, 4), differentiable.
        boxes: (N, 4) to begin with.
        how: number and length of the steps.
        size: pixels along a side of the search region.

    Returns:
        The boxes (N, 4), and the IoU (N,) that was predicted before the last step.
    """
    predicted = boxes.new_zeros(len(boxes))
    for _ in range(how.steps):
        with torch.enable_grad():
            given = boxes.detach().requires_grad_()
            predicted = predict(given)
            (gradient,) = torch.autograd.grad(predicted.sum(), given)
        scale = boxes[:, 2:].repeat(1, 2)
        boxes = boxes + how.length * size / USUAL_SIZE * gradient * scale
        # A side that would vanish: no box can grow again from nothing.
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:].clamp(min=1)], 1)
    return boxes.detach(), predicted.detach()


def refined(
    predict: Callable[[Tensor], Tensor],
    box: Tensor,
    how: Refinement,
    generator: torch.Generator,
    *,
    size: int = USUAL_SIZE,
) -> Tensor:
    """The box (4,) that fits better, or the same one if nothing usable was found.

    Args:
        predict: IoU (N,) of boxes (N, 4), differentiable.
        box: to begin with, (4,).
        how: it is done.
        generator: of the boxes that are tried beside it.
        size: pixels along a side of the search region.
    """
    boxes, predicted = ascend(predict, around_box(box, how, generator), how, size)
    aspects = boxes[:, 2] / boxes[:, 3]
    usable = (aspects <= how.aspect) & (aspects >= 1 / how.aspect)
    usable &= boxes.isfinite().all(1) & predicted.isfinite()
    if not usable.any():
        return box
    boxes, predicted = boxes[usable], predicted[usable]
    best = predicted.topk(min(how.best, len(predicted))).indices
    return boxes[best].mean(0)
