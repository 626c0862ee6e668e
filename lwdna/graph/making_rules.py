"""Rules of functions that make channels of none: new tensors of sizes, repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lwdna.graph.calls import Call
from lwdna.graph.counts import counted, keep, match
from lwdna.graph.labels import compress, lay, no_channels
from lwdna.graph.moving_rules import meet
from lwdna.graph.tracing import value_of


def repeat(call: Call) -> Tensor:
    """``(B, 1, H, W)`` -> ``(B, C, H, W)``, or copies of channels side by side."""
    source: Any = call.node.args[0]
    x, labels, value = value_of(source), call.labels, call.value
    full = labels.expand(x.shape).view([1] * (value.ndim - x.ndim) + list(x.shape))
    labels = labels.view([1] * (value.ndim - x.ndim) + list(labels.shape))
    sizes = _repeats(call)
    known, result = {}, labels
    for d in range(value.ndim):
        size = sizes[d - len(sizes)] if len(sizes) >= value.ndim - d else None
        if full.shape[d] == 1 < value.shape[d]:
            along = size if isinstance(size, Tensor) else counted(call, size)
            if along is not None:
                known[d] = along
        elif labels.shape[d] > 1 and value.shape[d] > full.shape[d]:
            keep(call, size)
            result = result.repeat(
                [value.shape[d] // full.shape[d] if a == d else 1 for a in range(value.ndim)]
            )
        elif isinstance(size, Tensor):
            meet(call, [(lay(size, value.ndim, d), value.shape), (labels, value.shape)])
        elif labels.shape[d] == 1:
            keep(call, size)
        elif size is not None and call.operation not in {"repeat", "tile"}:
            match(call, size, call.along(d, labels, value))
    for d, along in known.items():
        # The copies go with the channels that are counted; what is copied stays.
        call.freeze(torch.unique(labels))
        if labels.numel() == 1:
            call.found.spreads(labels, [along])
        return lay(along, value.ndim, d) if len(known) == 1 else _hold_all(call, known)
    return compress(result)


def _repeats(call: Call) -> Sequence[Any]:
    """The sizes of an expansion or the numbers of copies; labels ``(n,)`` for those of a tensor."""
    if call.operation == "expand_as":
        other: Any = call.argument(1, "other")
        labels = call.labels_of(other)
        return [
            call.along(d, labels, value_of(other)) if labels.shape[d] > 1 else None
            for d in range(labels.ndim)
        ]
    first = call.node.args[1:] or tuple(call.node.kwargs.values())
    sizes: Any = first[0] if len(first) == 1 and isinstance(first[0], tuple | list) else first
    if call.operation in {"repeat", "tile"}:
        return [None if size == 1 else size for size in sizes]
    return [None if size == -1 else size for size in sizes]


def _hold_all(call: Call, known: dict[int, Tensor]) -> Tensor:
    """A tensor with several axes of channels: they all stay."""
    for labels in known.values():
        call.hold(labels)
    return no_channels(call.value.ndim)


def create(call: Call) -> Tensor:
    """A new tensor of any shape: along an axis whose length counts channels it belongs to these."""
    value = call.value
    given = call.node.args[1 if call.operation.startswith("new_") else 0 :]
    sizes: Any = given or (call.node.kwargs.get("size"),)
    if call.operation in {"randint", "full", "new_full"}:
        sizes = next(
            (a for a in (*given, *call.node.kwargs.values()) if isinstance(a, tuple | list)), ()
        )
    elif isinstance(sizes[0], tuple | list):
        sizes = sizes[0]
    known = {}
    for d, size in enumerate(sizes):
        labels = counted(call, size)
        if labels is not None and bool(labels.any()):
            known[d] = labels
    if not known:
        return no_channels(value.ndim)
    if len(known) > 1:
        return _hold_all(call, known)
    ((axis, labels),) = known.items()
    return lay(labels, value.ndim, axis)


def like(call: Call) -> Tensor:
    """A new tensor of the shape of another one, or a copy of another type, has its channels."""
    return call.labels


def count_up(call: Call) -> Tensor:
    """Numbers in order, ``(n,)``, and the like: none of the places that are counted can go."""
    for size in call.sizes:
        keep(call, size)
    return no_channels(call.value.ndim)
