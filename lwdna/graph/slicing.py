"""A network run at a smaller width with the weights that it shares with all other widths.

A *sliced* forward pass takes, of every tensor, the part that a mask keeps along the axes of the
channel graph, and runs the network with these parts. It computes bit for bit what the network that
is cut by the mask computes, in evaluation and in training mode, but the gradients land in the
shared weights. They are 0 where a channel was dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lwdna.graph.channels import ChannelGraph, Elements, Mask, keeps
from lwdna.graph.meta import on_meta
from lwdna.graph.surgery import groups_left, put_tensors, tensors_of

Indices = Sequence[tuple[int, Tensor | int]]
"""Axes of a tensor that lose something, and what is kept along each of them: indices, or how many
where they are the first ones."""

_REMEMBERED = 8
"""Masks whose slices are remembered: the few that come again and again, such as the narrowest."""


@dataclass(frozen=True)
class _Slices:
    """What a mask keeps of every tensor of a network."""

    indices: Mapping[str, Indices]
    shapes: Mapping[str, Tensor]
    """By name a tensor without data, of the shape that is left."""
    groups: Mapping[str, int]
    numbers: Mapping[str, int]


class SlicedNetwork:
    """Runs a network at any mask over its channel graph, without copying its structure.

    One copy of the network without data, the shell, takes the sizes of each mask in turn; what a
    mask keeps is remembered for the masks last used.

    Args:
        graph: the channel graph of ``model``, or of a network of the same structure.
        model: the network whose weights are shared. Its modules' training modes are followed.
    """

    def __init__(self, graph: ChannelGraph, model: nn.Module) -> None:
        self.graph, self.model = graph, model
        self._whole = on_meta(model)
        self._shell = on_meta(model, values=True)
        self._shown: bytes | None = None
        self._remembered: OrderedDict[bytes, _Slices] = OrderedDict()

    def __call__(self, mask: Mask, inputs: Any) -> Any:
        """What the network cut by ``mask`` makes of a batch.

        Buffers are copies that are thrown away: the statistics of batch norm stay as they are.

        Args:
            mask: ``(elements,)``.
            inputs: (B, C, H, W); a tuple or list holds several arguments, a mapping keywords.
        """
        shell = self._fitted(mask)
        tensors = self.tensors(mask)
        theirs = dict(self.model.named_modules())  # which may hold more, such as parametrizations
        for name, ours in shell.named_modules():
            ours.training = theirs[name].training
        if isinstance(inputs, Mapping):
            return functional_call(shell, tensors, (), dict(inputs))
        return functional_call(
            shell, tensors, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        )

    def tensors(self, mask: Mask) -> dict[str, Tensor]:
        """The slices of all parameters, which gradients flow through, and copies of all buffers.

        Args:
            mask: ``(elements,)``.

        Returns:
            By name tensors of the shapes that the network cut by the mask has.
        """
        indices = self._slices(mask).indices
        found = {}
        for name, whole in tensors_of(self.model).items():
            if name not in indices:  # it makes one of these, as a parametrization does
                continue
            part = sliced(whole, indices[name])
            if isinstance(whole, nn.Parameter):
                found[name] = part.contiguous(memory_format=_format_of(whole))
            else:
                found[name] = part.clone(memory_format=_format_of(whole))
        return found

    def _fitted(self, mask: Mask) -> nn.Module:
        """The shell with the sizes of a mask."""
        slices, key = self._slices(mask), mask.tobytes()
        if key != self._shown:
            self._shown = None
            put_tensors(self._whole, self._shell, slices.shapes, slices.groups, slices.numbers)
            self._shown = key
        return self._shell

    def _slices(self, mask: Mask) -> _Slices:
        """What a mask keeps, remembered."""
        key = mask.tobytes()
        if key in self._remembered:
            self._remembered.move_to_end(key)
            return self._remembered[key]
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.popitem(last=False)
        return self._remembered.setdefault(key, self._sliced(mask))

    def _sliced(self, mask: Mask) -> _Slices:
        indices: dict[str, Indices] = {}
        shapes = {}
        # Most tensors share their elements with others: a convolution, its norm, what reads both.
        known: dict[bytes, tuple[int, Tensor | int | None]] = {}
        found: list[tuple[int, Tensor | int]]
        for name, whole in tensors_of(self._whole).items():
            shape, found = list(whole.shape), []
            for axis, elements in enumerate(self.graph.axes.get(name, ())):
                if elements is None:
                    continue
                key = elements.tobytes()
                if key not in known:
                    known[key] = _kept(mask, elements)
                left, index = known[key]
                if index is not None:
                    found.append((axis, index))
                    shape[axis] = left
            indices[name] = found
            shapes[name] = torch.empty(shape, dtype=whole.dtype, device="meta")
        return _Slices(
            indices,
            shapes,
            groups_left(self._whole, self.graph.kept(mask)),
            self.graph.remembered(mask),
        )


def _kept(mask: Mask, elements: Elements) -> tuple[int, Tensor | int | None]:
    """How many of some elements ``(n,)`` stay, and which, if not all of them do: see `Indices`."""
    stays = keeps(mask, elements)
    kept = np.flatnonzero(stays)
    if len(kept) == len(elements):
        return len(kept), None
    return len(kept), len(kept) if stays[: len(kept)].all() else torch.from_numpy(kept)


def sliced(whole: Tensor, indices: Indices) -> Tensor:
    """The part of a tensor that is kept along some of its axes, which gradients flow through.

    Args:
        whole: of any shape, ``(n, c, ...)``.
        indices: what is kept.

    Returns:
        A tensor of as many axes.
    """
    part = whole
    for axis, index in indices:
        if isinstance(index, int):
            part = part.narrow(axis, 0, index)
        else:
            part = part.index_select(axis, index.to(whole.device, non_blocking=True))
    return part


def _format_of(tensor: Tensor) -> torch.memory_format:
    """How the numbers of a tensor lie in memory; of a 1 x 1 kernel both are true."""
    plain = tensor.dim() != 4 or tensor.is_contiguous()
    return torch.contiguous_format if plain else torch.channels_last
