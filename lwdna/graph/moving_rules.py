"""Rules of functions that put channels elsewhere: parts, shapes, concatenations.

Where one of them is given a number, that is compared with the channels it stands for: a number
that comes from a shape, or that a module keeps, shrinks with them (:mod:`lwdna.graph.counts`);
for one that is written in the code they all stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from lwdna.graph.calls import Call
from lwdna.graph.counts import counted, depends, divided, keep, match
from lwdna.graph.labels import compress, no_channels
from lwdna.graph.sizes import Size
from lwdna.graph.tracing import holds_tensor, value_of


def meet(call: Call, parts: Sequence[tuple[Tensor, Sequence[int]]]) -> Tensor:
    """What several tensors that are broadcast together give: what meets is tied.

    Channels that meet what has none, and as many places, all stay.

    Args:
        call: the operation.
        parts: of each tensor the labels and the shape.

    Returns:
        Labels of as many dimensions as the largest has.
    """
    ndim = max(len(shape) for _, shape in parts)
    given = [labels for labels, _ in parts]
    result, aligned = no_channels(ndim), []
    for own, shape in parts:
        labels = own
        if own.numel() == 1 and call.found.spreads(own, given):
            # One channel for all of the others, such as a map that weighs positions.
            call.freeze(own.flatten())
            labels = no_channels(own.ndim)
        labels = labels.view([1] * (ndim - labels.ndim) + list(labels.shape))
        aligned.append((labels, [1] * (ndim - len(shape)) + list(shape)))
        call.tie(result, labels)
        result, both = torch.broadcast_tensors(result, labels)  # type: ignore[no-untyped-call]
        result = torch.where(result != 0, result, both)
    for labels, shape in aligned:
        long = [d for d in range(ndim) if result.shape[d] > 1 and shape[d] > 1]
        if long and not (labels.shape == result.shape and bool(labels.all())):
            full = labels.expand(
                [result.shape[d] if d in long else labels.shape[d] for d in range(ndim)]
            )
            call.hold(result[(full == 0) & (result != 0)])
    return compress(result)


def concatenate(call: Call) -> Tensor:
    """Concatenation, ``(B, c, ...)`` and ``(B, d, ...)`` -> ``(B, c + d, ...)``."""
    # Labels are expanded only where an input needs it, for it is frequent.
    ndim = call.value.ndim
    axis = int(call.argument(1, "dim", "axis", default=0)) % ndim
    parts = list(zip(*call.several(), strict=True))
    full = {d for d in range(ndim) if d == axis or any(lbl.shape[d] > 1 for _, lbl in parts)}
    return compress(
        torch.cat(
            [
                lbl.expand([x.shape[d] if d in full else 1 for d in range(x.ndim)])
                for x, lbl in parts
            ],
            axis,
        )
    )


def stack(call: Call) -> Tensor:
    """n of ``(B, C)`` -> ``(B, n, C)``, say: what is at one place in all of them is tied."""
    axis = int(call.argument(1, "dim", "axis", default=0)) % call.value.ndim
    tensors, labels = call.several()
    meet(call, [(lbl, x.shape) for x, lbl in zip(tensors, labels, strict=True)])
    parts = torch.broadcast_tensors(*labels)  # type: ignore[no-untyped-call]
    return compress(torch.stack(list(parts), axis))


def rearrange(call: Call) -> Tensor:
    """Do to the labels what is done to the data: ``(B, C, H, W)`` -> ``(B, H, W, C)``, say."""
    source: Any = call.node.args[0]
    for size in call.sizes:
        keep(call, size)
    return compress(call.again(call.labels.expand(value_of(source).shape)))


def attribute(call: Call) -> Any:
    """A transposition, a field of a named tuple, or the tensor itself, as an attribute."""
    source, name = call.node.args
    labels = call.labels_of(source)  # type: ignore[arg-type]
    if isinstance(labels, tuple):
        return labels[type(value_of(source)).__match_args__.index(name)]  # type: ignore
    if name in {"T", "mT", "H", "mH"}:
        return rearrange(call)
    if name in {"data", "real"}:
        return labels
    raise call.unknown_operation()


def take(call: Call) -> Any:
    """Parts of a tensor: harmless unless they divide the channels by numbers."""
    source: Any = call.node.args[0]
    labels, x = call.labels_of(source), value_of(source)
    if isinstance(labels, tuple | list):
        return labels[call.node.args[1]]  # type: ignore[index]
    if not isinstance(x, Tensor):  # of a layer that is not followed
        return None
    moved = call.again(labels.expand(x.shape)) if labels.numel() > 1 else None
    if call.operation == "getitem":
        _take_index(call, labels, call.node.args[1])
    else:
        _take_parts(call, labels, moved)
    if moved is None:
        value = call.value
        one = labels.flatten()
        if isinstance(value, Tensor):
            return one.view([1] * value.ndim)
        return tuple(one.view([1] * part.ndim) for part in value)
    if isinstance(moved, Tensor):
        return compress(moved)
    return tuple(compress(part) for part in moved)


def _take_index(call: Call, labels: Tensor, index: Any) -> None:
    """Compare the numbers of an index ``x[...]`` with the channels that they count."""
    items = index if isinstance(index, tuple | list) else (index,)
    if any(isinstance(i, fx.Node) and holds_tensor(value_of(i)) for i in items):
        raise call.unknown("an index that is a tensor")
    for axis, item in _axes_of(labels.ndim, items):
        if labels.shape[axis] == 1 or item == slice(None) or _alike(call, labels, axis):
            for bound in (item.start, item.stop) if isinstance(item, slice) else ():
                keep(call, bound)
            continue
        if not isinstance(item, slice) or item.step not in {None, 1}:
            call.hold(labels)
            continue
        length = labels.shape[axis]
        for bound in (item.start, item.stop):
            _bound(call, labels, axis, bound, length)


def _axes_of(ndim: int, items: Sequence[Any]) -> list[tuple[int, Any]]:
    """Which axis each part of an index is for."""
    consumed = sum(1 for i in items if i is not None and i is not Ellipsis)
    axes, axis = [], 0
    for i in items:
        if i is Ellipsis:
            axis += ndim - consumed
        elif i is not None:
            axes.append((axis, i))
            axis += 1
    return axes


def _bound(call: Call, labels: Tensor, axis: int, bound: Any, length: int) -> None:
    """One end of a slice: as many channels must be before it as it says."""
    if bound is None or bound == 0:
        return
    channels = call.along(axis, labels, labels)
    if bound < 0 and isinstance(bound, Size) and bound.origin[0] == "neg":
        match(call, bound.origin[1], channels[bound:])
    elif isinstance(bound, Size):
        if depends(bound) or 0 < bound <= length:
            match(call, bound, channels[:bound])
    elif bound < length:
        call.hold(labels)


def _take_parts(call: Call, labels: Tensor, moved: Any) -> None:
    """Compare the numbers of a chunk, split or the like with the channels that they count."""
    position = {"narrow": 1, "select": 1, "unbind": 1}.get(call.operation, 2)
    axis = int(call.argument(position, "dim", "axis", default=0)) % labels.ndim
    if labels.shape[axis] == 1 or _alike(call, labels, axis):
        for size in call.sizes:
            keep(call, size)
        return
    number = call.argument(
        1,
        "chunks",
        "split_size_or_sections",
        "split_size",
        "split_sizes",
        "sections",
        "indices_or_sections",
    )
    channels = call.along(axis, labels, labels)
    if call.operation == "narrow":
        start, length = call.argument(2, "start"), call.argument(3, "length")
        _bound(call, labels, axis, start, labels.shape[axis])
        match(call, length, channels[start : start + length])
        return
    if not isinstance(moved, tuple) or call.operation == "unbind":
        call.hold(labels)
        return
    lengths = [part.shape[axis] for part in moved]
    parts = torch.split(channels, lengths)  # type: ignore[no-untyped-call]
    if isinstance(number, tuple | list):
        if call.operation == "tensor_split":
            call.hold(labels)
            return
        for size, part in zip(number, parts, strict=True):
            match(call, size, part)
        return
    counts = call.operation in {"chunk", "tensor_split"}
    if len(set(lengths)) > 1 or (counts and number != len(parts)):
        call.hold(labels)
    elif counts or isinstance(number, Size):
        for other in parts[1:]:
            meet(call, [(parts[0], parts[0].shape), (other, other.shape)])
        if not counts:
            match(call, number, parts[0])
    elif len(parts) > 1:
        call.hold(labels)


def _alike(call: Call, labels: Tensor, axis: int) -> bool:
    """Whether the same channels are found all along an axis, so that it never shrinks."""
    elements = torch.from_numpy(call.found.elements())[labels]
    return bool((elements == elements.narrow(axis, 0, 1)).all())


def put(call: Call) -> Tensor:
    """Assignment to a part of a tensor of any shape: what is put there meets what was there."""
    arguments: Any = call.node.args
    source, index, given = arguments
    x = value_of(source)
    labels: Tensor = call.labels_of(source)
    if isinstance(given, Size):
        keep(call, given)
    _take_index(call, labels, index)
    if isinstance(given, fx.Node) and isinstance(value_of(given), Tensor):
        there: Tensor = labels.expand(x.shape)[fx.node.map_arg(index, value_of)]
        other = call.labels_of(given)
        shape = value_of(given).shape
        if len(shape) > there.ndim:  # axes of length 1 in front
            other = other.view(other.shape[len(shape) - there.ndim :])
            shape = shape[len(shape) - there.ndim :]
        meet(call, [(compress(there), there.shape), (other, shape)])
    return labels


def halve(call: Call, axis: int | None = None) -> Tensor:
    """A gated linear unit, ``(B, 2 C, ...)`` -> ``(B, C, ...)``: one half gates the other."""
    axis = int(call.argument(1, "dim", default=-1)) if axis is None else axis
    labels = call.labels
    if labels.shape[axis] == 1:
        return labels
    first, second = labels.chunk(2, axis)
    call.tie(first, second)
    return first


def reshape(call: Call, sizes: Sequence[Any] | None = None) -> Tensor:
    """A new shape, ``(B, C, H, W)`` -> ``(B, C H W)``, say, one group of axes after the other.

    Args:
        call: the operation.
        sizes: of the output as they stand in the code; None or -1 follows the input, as do sizes
            that are left out. None reads them off the call.

    Returns:
        The labels of the output.
    """
    sizes = _sizes(call) if sizes is None else sizes
    labels, value = call.labels, call.value
    if sum(n > 1 for n in labels.shape) > 1:
        labels = _one_for_each(call, labels)
    x = value_of(call.node.args[0])  # type: ignore[arg-type]
    moved = compress(labels.expand(x.shape).reshape(value.shape))
    follows = [d >= len(sizes) or sizes[d] in {None, -1} for d in range(value.ndim)]
    for before, after in _groups(x.shape, value.shape):
        if all(labels.shape[d] == 1 for d in before):
            for axis in after:  # of what stays, so that the numbers must too
                size = sizes[axis] if axis < len(sizes) else None
                if not _is_all_of(call, size, labels):
                    keep(call, size)
            continue
        if len(after) == 1:  # axes are put together, or nothing changes
            if not follows[after[0]]:
                match(call, sizes[after[0]], call.along(after[0], moved, value))
            continue
        growing = _growing(sizes, follows, after) if len(before) == 1 else None
        if growing is None:
            call.hold(labels)
            continue
        for axis in after:  # an axis is divided: the other parts keep their number
            if axis != growing:
                first = moved.narrow(axis, 0, 1)
                call.tie(first, moved)
                call.hold(moved[(first == 0) != (moved == 0)])
                keep(call, sizes[axis] if axis < len(sizes) else None)
        if not follows[growing]:
            part = moved
            for axis in after:
                part = part if axis == growing else part.narrow(axis, 0, 1)
            match(call, sizes[growing], call.along(growing, part, value))
    return moved


def _is_all_of(call: Call, size: Any, labels: Tensor) -> bool:
    """Whether a size counts channels of a single element, as all are that labels of a tensor name.

    They go together or not at all, and a widened network may have more of them.
    """
    own = counted(call, size) if labels.numel() == 1 and bool(labels != 0) else None
    if own is None:
        return False
    elements = torch.from_numpy(call.found.elements())
    return bool((elements[own] == elements[labels.flatten()]).all())


def _one_for_each(call: Call, labels: Tensor) -> Tensor:
    """The same labels, where what is tied has one, so that axes along which it is alike are seen.

    Args:
        call: the operation.
        labels: of any shape.
    """
    _, first, element = np.unique(call.found.elements(), return_index=True, return_inverse=True)
    return compress(torch.from_numpy(first[element])[labels])


def _growing(sizes: Sequence[Any], follows: Sequence[bool], axes: Sequence[int]) -> int | None:
    """Of the parts into which an axis is divided, the one that shrinks with the channels.

    That is the size reckoned from a shape, else the one left open, else the one that a module
    keeps; None if that is not clear.
    """
    known = [d for d in axes if d < len(sizes)]
    for choice in (
        [d for d in known if depends(sizes[d]) and not follows[d]],
        [d for d in axes if follows[d]],
        [d for d in known if divided(sizes[d])],
        [d for d in known if isinstance(sizes[d], Size)],
    ):
        if choice:
            return choice[0] if len(choice) == 1 else None
    return None


def _sizes(call: Call) -> Sequence[Any]:
    """The sizes that a reshape writes down, by axis of the output."""
    name, n = call.operation, call.node
    if name in {"view_as", "reshape_as", "flatten", "ravel"}:
        return []
    if name == "unflatten":
        axis = int(call.argument(1, "dim")) % value_of(n.args[0]).ndim  # type: ignore[arg-type]
        sizes: Any = call.argument(2, "sizes", "unflattened_size")
        return [None] * axis + list(sizes)
    sizes = n.args[1:] or (n.kwargs.get("shape", n.kwargs.get("size")),)
    if len(sizes) == 1:
        sizes = sizes[0]
    return [sizes] if isinstance(sizes, int) else list(sizes)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of axes, on either side, with equal numbers of elements.

    Axes of length 1 belong to none: they change nothing.
    """
    left = [d for d, size in enumerate(before) if size > 1]
    right = [d for d, size in enumerate(after) if size > 1]
    groups = []
    while left and right:
        a, b = [left.pop(0)], [right.pop(0)]
        m, n = before[a[0]], after[b[0]]
        while m != n:
            if m < n:
                a.append(left.pop(0))
                m *= before[a[-1]]
            else:
                b.append(right.pop(0))
                n *= after[b[-1]]
        groups.append((a, b))
    return groups
