"""What functions and tensor methods do to channels: one rule a kind, ``FUNCTION_RULES``.

To add an operation, write a rule here and a line in the table: a function of the
:class:`lwdna.graph.calls.Call` that returns the labels of what the operation gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from lwdna.graph.calls import Call
from lwdna.graph.labels import compress, has_tensor, lay, no_channels
from lwdna.graph.operations import (
    CONCATENATING,
    CREATING,
    ELEMENTWISE,
    MIXING,
    REARRANGING,
    REDUCING,
    RESHAPING,
    SHUFFLING,
    SPATIAL,
    TAKING,
)
from lwdna.graph.tracing import value_of

FunctionRule = Callable[[Call], Any]


def elementwise(call: Call) -> Tensor:
    """Arithmetic of tensors of any shapes that broadcast: what meets is tied."""
    ndim = call.value.ndim
    result = no_channels(ndim)
    sources = [s for s in call.node.all_input_nodes if has_tensor(value_of(s))]
    given = [call.labels_of(source) for source in sources]
    for some in given:
        if some.numel() == 1 and call.found.spreads(some, given):
            # One channel for all of the others, such as a map that weighs positions.
            call.freeze(some.flatten())
            continue
        labels = some.view([1] * (ndim - some.ndim) + list(some.shape))
        call.tie(result, labels)
        result, labels = torch.broadcast_tensors(result, labels)  # type: ignore
        result = torch.where(result != 0, result, labels)
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
    _, labels = call.several()
    parts = torch.broadcast_tensors(*labels)  # type: ignore[no-untyped-call]
    for part in parts[1:]:
        call.tie(parts[0], part)
    return compress(torch.stack(list(parts), axis))


def create(_call: Call) -> None:
    """A new tensor belongs to no channel."""


def rearrange(call: Call) -> Tensor:
    """Do to the labels what is done to the data: ``(B, C, H, W)`` -> ``(B, H, W, C)``, say."""
    full = call.labels.expand(value_of(call.node.args[0]).shape)  # type: ignore[arg-type]
    return compress(call.again(full))


def rearrange_by_attribute(call: Call) -> Tensor:
    """A transposition as an attribute, ``(..., H, W)`` -> ``(..., W, H)``; nothing else."""
    if call.node.args[1] not in {"T", "mT", "H", "mH"}:
        raise call.unknown_operation()
    return rearrange(call)


def take(call: Call) -> Any:
    """Parts of a tensor: harmless unless they divide the channels by numbers."""
    source: Any = call.node.args[0]
    labels = call.labels_of(source)
    if isinstance(labels, tuple | list):
        return labels[call.node.args[1]]  # type: ignore[index]
    x = value_of(source)
    if call.operation == "getitem" and any(map(has_tensor, _index_values(call))):
        raise call.unknown("an index that is a tensor")
    moved = call.again(labels.expand(x.shape))
    for axis in _axes_taken(call, x.ndim):
        if labels.shape[axis] == 1 or _alike(call, labels, axis):
            continue
        parts = [part.shape[axis] for part in moved] if isinstance(moved, tuple) else []
        number = call.argument(1, "chunks", "split_size_or_sections", "split_size", "sections")
        follows = isinstance(number, fx.Node) or (
            call.operation in {"chunk", "tensor_split"} and number == len(parts)
        )
        if follows and len(parts) > 1 and len(set(parts)) == 1:
            first, *others = labels.chunk(len(parts), axis)
            for other in others:
                call.tie(first, other)
        else:
            call.hold(labels)
    if isinstance(moved, Tensor):
        return compress(moved)
    return tuple(compress(part) for part in moved)


def _alike(call: Call, labels: Tensor, axis: int) -> bool:
    """Whether the same channels are found all along an axis, so that it never shrinks."""
    elements = torch.from_numpy(call.found.elements())[labels]
    return bool((elements == elements.narrow(axis, 0, 1)).all())


def _axes_taken(call: Call, ndim: int) -> list[int]:
    """Along which axes an operation takes parts."""
    if call.operation != "getitem":
        position = {"narrow": 1, "select": 1, "unbind": 1}.get(call.operation, 2)
        return [int(call.argument(position, "dim", default=0)) % ndim]
    index: Any = call.node.args[1]
    index = index if isinstance(index, tuple | list) else (index,)
    consumed = sum(1 for i in index if i is not None and i is not Ellipsis)
    axes, axis = [], 0
    for i in index:
        if i is None:
            continue
        if i is Ellipsis:
            axis += ndim - consumed
            continue
        if i != slice(None):
            axes.append(axis)
        axis += 1
    return axes


def _index_values(call: Call) -> list[Any]:
    """What a tensor is indexed with."""
    index: Any = call.node.args[1]
    index = index if isinstance(index, tuple | list) else (index,)
    return [value_of(i) if isinstance(i, fx.Node) else i for i in index]


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
        sizes: of the output as they stand in the code; an ``fx.Node``, None or -1 follows the
            input, as do sizes that are left out. None reads them off the call.

    Returns:
        The labels of the output.
    """
    sizes = _sizes(call) if sizes is None else sizes
    labels, value = call.labels, call.value
    x = value_of(call.node.args[0])  # type: ignore[arg-type]
    moved = compress(labels.expand(x.shape).reshape(value.shape))
    follows = [
        d >= len(sizes) or not isinstance(sizes[d], int) or sizes[d] == -1
        for d in range(value.ndim)
    ]
    for before, after in _groups(x.shape, value.shape):
        if all(labels.shape[d] == 1 for d in before):
            continue
        if len(after) == 1:  # axes are put together, or nothing changes
            if not follows[after[0]]:
                call.hold(labels)
        elif len(before) == 1 and sum(follows[d] for d in after) == 1:
            for axis in after:  # an axis is divided: the written parts keep their number
                if not follows[axis]:
                    call.tie(moved.narrow(axis, 0, 1), moved)
        else:
            call.hold(labels)
    return moved


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
    if isinstance(sizes, fx.Node):
        return []
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


def reduce(call: Call) -> Any:
    """A mean or sum: the elements that are put together belong together."""
    value, x, labels = call.value, call.tensor, call.labels
    position = 2 if call.operation == "norm" else 1
    given: Any = call.argument(position, "dim", "axis", default=None)
    axes = range(x.ndim) if given is None else (given,) if isinstance(given, int) else given
    reduced = [axis % x.ndim for axis in axes]
    for axis in reduced:
        first = labels.narrow(axis, 0, 1)
        call.tie(first, labels)
        labels = first
    result = next(iter(value)) if isinstance(value, tuple) else value
    if result.ndim < x.ndim:
        labels = labels.view([s for d, s in enumerate(labels.shape) if d not in reduced])
    return (labels,) * len(value) if isinstance(value, tuple) else labels


def greatest(call: Call) -> Any:
    """``max`` and ``min``: of the elements of one tensor, or of two tensors."""
    sources = [s for s in call.node.all_input_nodes if has_tensor(value_of(s))]
    return elementwise(call) if len(sources) > 1 else reduce(call)


def mix(call: Call, axis: int | None = None) -> Tensor:
    """A softmax of any shape: what is normalised together belongs together."""
    if axis is None:
        raise call.unknown(f"operation '{call.operation}' without a dimension")
    labels = call.labels
    call.tie(labels.narrow(axis, 0, 1), labels)
    return labels


def mix_along(call: Call) -> Tensor:
    """A softmax or the like of any shape, along the dimension that it is given."""
    normalize = call.operation == "normalize"
    axis = call.argument(2 if normalize else 1, "dim", default=1 if normalize else None)
    return mix(call, axis)


def spatial(call: Call) -> Any:
    """Pooling, interpolation, padding: channels stay where they are."""
    value = call.value
    channels = call.along(1)
    if isinstance(value, tuple):  # with the indices of a max-pooling
        return tuple(lay(channels, part.ndim, 1) for part in value)
    return call.lay(channels, 1)


def pad(call: Call) -> Any:
    """Padding, of space only."""
    x, value = call.tensor, call.value
    if x.ndim != value.ndim or x.shape[:2] != value.shape[:2]:
        raise call.unknown_operation()
    return spatial(call)


def shuffle(call: Call, move: Callable[[Tensor], Tensor]) -> Tensor:
    """Pixel shuffles, on the labels of one block: elsewhere it is the same again.

    Args:
        call: the operation.
        move: what does it to a tensor ``(B, C, H, W)``.

    Returns:
        The labels of the output ``(B, C', H', W')``: ``(1, C', 1, 1)``.
    """
    x, value = call.tensor, call.value
    channels = lay(call.along(1), x.ndim, 1)
    block = [max(1, i // o) for i, o in zip(x.shape[2:], value.shape[2:], strict=True)]
    moved = move(channels.expand(1, -1, *block))
    return call.lay(call.along(1, moved, value), 1)


def pixel_shuffle(call: Call) -> Tensor:
    """``(B, r^2 C, H, W)`` -> ``(B, C, r H, r W)``, or the inverse, called as a function."""
    factor = call.argument(1, "upscale_factor", "downscale_factor")
    function = getattr(nn.functional, call.operation)
    return shuffle(call, lambda t: function(t, factor))


def shuffle_groups(call: Call, groups: int | None = None) -> Tensor:
    """``(B, C, ...)``: every group keeps as many channels, at the same positions."""
    groups = int(call.argument(1, "groups")) if groups is None else groups
    x = value_of(call.node.args[0])  # type: ignore[arg-type]
    channels = call.along(1, x=x).view(groups, -1)
    call.tie(channels[:1], channels)
    return lay(channels.t().flatten(), x.ndim, 1)


FUNCTION_RULES: dict[str, FunctionRule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(CONCATENATING, concatenate),
    "stack": stack,
    **dict.fromkeys(CREATING, create),
    **dict.fromkeys(TAKING, take),
    **dict.fromkeys(RESHAPING, reshape),
    **dict.fromkeys(REARRANGING, rearrange),
    "getattr": rearrange_by_attribute,
    **dict.fromkeys(SHUFFLING, pixel_shuffle),
    "channel_shuffle": shuffle_groups,
    "glu": halve,
    **dict.fromkeys(REDUCING, reduce),
    **dict.fromkeys(("max", "min"), greatest),
    **dict.fromkeys(MIXING, mix_along),
    **dict.fromkeys(SPATIAL, spatial),
    "pad": pad,
}
"""By name of a function or method, in-place or not, what it does to channels."""
