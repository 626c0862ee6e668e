"""Restoration in tiles: as the whole image, where the memory does not hold the whole image."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError
from lwdna.tasks.restoration import padded

STEP = 16
"""Tiles begin at multiples of it, so that a network that halves its input up to four times sees
the same pixels together as in the whole image, even if it has no attribute ``multiple``."""

FARTHEST = 2048
"""Pixels of a side of the largest image on which it is tried how far a network sees."""


@torch.inference_mode()
def reach(model: nn.Module, channels: int, multiple: int = 1) -> int | None:
    """How many pixels around it of the input a pixel of the output depends on.

    It is tried: what depends on pixels that are not a number is not a number itself, through
    convolutions, pooling and activations alike, whatever the weights.

    Args:
        model: maps (1, C, h, w) to (1, C, s h, s w); a copy of it is run on the CPU.
        channels: C.
        multiple: what the sizes of inputs must be divisible by.

    Returns:
        Pixels of the input, up and down or left and right; None if there is no end to it.
    """
    model = copy.deepcopy(model).cpu().eval()
    step = math.lcm(multiple, STEP)
    length, found = 4 * step, None
    while found is None and length <= max(FARTHEST, 4 * step):
        sides = [_reach_along(model, channels, step, length, axis) for axis in (2, 3)]
        found = None if None in sides else max(side for side in sides if side is not None)
        length *= 2
    return found


def _reach_along(model: nn.Module, channels: int, step: int, length: int, axis: int) -> int | None:
    """As :func:`reach`, along an axis of an image of that length; None if it sees an edge."""
    shape = [1, channels, 2 * step, 2 * step]
    shape[axis] = length
    image = torch.zeros(shape)
    start = length // 2 // step * step
    image.narrow(axis, start, step).fill_(torch.nan)
    output: Tensor = model(image)
    scale = output.shape[axis] // length
    touched = output.isnan().movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0]
    if not scale or not len(touched) or touched[0] == 0 or touched[-1] == len(output[0, 0]) - 1:
        return None
    first, last = int(touched[0]) // scale, int(touched[-1]) // scale
    return max(start - first, last - (start + step - 1), 0)


def smallest_tile(overlap: int, multiple: int = 1) -> int:
    """Pixels of a side of the smallest tile of which anything is left without its overlap."""
    step = math.lcm(multiple, STEP)
    return 2 * (-(-overlap // step) * step) + step


@torch.inference_mode()
def restore_in_tiles(
    model: nn.Module,
    inputs: Tensor,
    *,
    tile: int,
    overlap: int,
    multiple: int = 1,
    after_tile: Callable[[int, int], None] | None = None,
) -> Tensor:
    """What :func:`lwdna.tasks.restoration.restore` makes of an image, a part at a time.

    With an overlap of at least the :func:`reach` of the network it is the same but for rounding:
    of each tile only the pixels are taken that saw no edge of it, unless it is one of the image.

    Args:
        model: maps (B, C, h, w) to (B, C, s h, s w); it is run on its device.
        inputs: (B, C, h, w), on the CPU.
        tile: pixels of the longest side that the network is given.
        overlap: pixels at each edge of a tile that are left out.
        multiple: what the sizes of inputs must be divisible by.
        after_tile: called after each with its number, from 1 on, and how many there are.

    Returns:
        (B, C, s h, s w), on the CPU.

    Raises:
        ConfigError: if tiles of that size have nothing but overlap.
    """
    step, least = math.lcm(multiple, STEP), smallest_tile(overlap, multiple)
    if tile < least:
        raise ConfigError(
            f"Tiles of {tile} pixels are too small for this network, which sees {overlap} pixels "
            f"around each; give at least {least} (--tile)."
        )
    overlap = (least - step) // 2
    core = (tile - 2 * overlap) // step * step
    height, width = inputs.shape[-2:]
    whole = padded(inputs, multiple)
    device = next((p.device for p in model.parameters()), whole.device)
    made = torch.empty(0)
    windows = [
        (rows, columns)
        for rows in _windows(whole.shape[-2], core, overlap)
        for columns in _windows(whole.shape[-1], core, overlap)
    ]
    scale = 0
    for number, (rows, columns) in enumerate(windows, 1):
        output = model(whole[..., rows.seen, columns.seen].to(device)).cpu()
        if not scale:
            scale = output.shape[-2] // (rows.seen.stop - rows.seen.start)
            size = (scale * whole.shape[-2], scale * whole.shape[-1])
            made = output.new_empty(*output.shape[:2], *size)
        taken = output[..., rows.inside(scale), columns.inside(scale)]
        made[..., rows.out(scale), columns.out(scale)] = taken
        if after_tile is not None:
            after_tile(number, len(windows))
    return made[..., : height * scale, : width * scale]


class _Window:
    """A part of a side of an image: what the network is given of it, and what is taken."""

    def __init__(self, start: int, stop: int, overlap: int, length: int) -> None:
        self._start, self._stop = start, stop
        self.seen = slice(max(0, start - overlap), min(length, stop + overlap))

    def inside(self, scale: int) -> slice:
        """What is taken, in what the network made of the window."""
        return slice(
            scale * (self._start - self.seen.start), scale * (self._stop - self.seen.start)
        )

    def out(self, scale: int) -> slice:
        """Where it belongs in the whole output."""
        return slice(scale * self._start, scale * self._stop)


def _windows(length: int, core: int, overlap: int) -> Iterator[_Window]:
    for start in range(0, length, core):
        yield _Window(start, min(start + core, length), overlap, length)
