"""What functions and tensor methods do to channels: one rule a kind, ``FUNCTION_RULES``.

To add an operation, write a rule here and a line in the table: a function of the
:class:`lwdna.graph.calls.Call` that returns the labels of what the operation gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lwdna.graph.calls import Call
from lwdna.graph.counts import counted, keep
from lwdna.graph.labels import compress, lay, no_channels
from lwdna.graph.making_rules import count_up, create, like, repeat
from lwdna.graph.moving_rules import (
    attribute,
    concatenate,
    halve,
    meet,
    put,
    rearrange,
    reshape,
    stack,
    take,
)
from lwdna.graph.operations import (
    CONCATENATING,
    CONVERTING,
    COUNTING,
    CREATING,
    ELEMENTWISE,
    LIKE,
    MIXING,
    REARRANGING,
    REDUCING,
    REPEATING,
    RESHAPING,
    SHUFFLING,
    SPATIAL,
    TAKING,
)
from lwdna.graph.tracing import holds_tensor, value_of

FunctionRule = Callable[[Call], Any]


def elementwise(call: Call) -> Tensor:
    """Arithmetic of tensors of any shapes that broadcast: what meets is tied.

    A number of channels that takes part in it makes them stay: it is a value then.
    """
    for size in call.sizes:
        keep(call, size)
    sources = [s for s in call.node.all_input_nodes if isinstance(value_of(s), Tensor)]
    return meet(call, [(call.labels_of(s), value_of(s).shape) for s in sources])


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
    sources = [s for s in call.node.all_input_nodes if holds_tensor(value_of(s))]
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
    """Pooling, interpolation, sampling: channels stay where they are.

    What else is given goes along if it has these channels, such as the places of a max-pooling;
    else, as a grid of places, it stays.
    """
    value, x = call.value, call.tensor
    channels = call.along(1)
    for source in call.node.all_input_nodes[1:]:
        other = value_of(source)
        if isinstance(other, Tensor):
            labels = call.labels_of(source)
            if other.shape[:2] == x.shape[:2] and other.ndim == x.ndim:
                call.tie(channels, call.along(1, labels, other))
            else:
                call.hold(labels)
    if isinstance(value, tuple):  # with the indices of a max-pooling
        return tuple(lay(channels, part.ndim, 1) for part in value)
    return call.lay(channels, 1)


def pad(call: Call) -> Tensor:
    """Padding of any shape; zeros put beside channels belong to none."""
    labels, given = call.labels, list(call.argument(1, "pad"))
    mode = call.argument(2, "mode", default="constant")
    ends = {labels.ndim - 1 - i // 2: given[i : i + 2] for i in range(0, len(given), 2)}
    beside = {d: both for d, both in ends.items() if labels.shape[d] > 1 and any(both)}
    if not beside:
        return labels
    if mode != "constant" or any(n < 0 for both in beside.values() for n in both):
        raise call.unknown_operation()
    for axis, both in beside.items():
        zeros = []
        for size in both:
            counting = counted(call, size)
            zeros.append(torch.zeros(size, dtype=torch.int64) if counting is None else counting)
        shapes = [(*labels.shape[:axis], n, *labels.shape[axis + 1 :]) for n in map(len, zeros)]
        sides = [
            lay(side, labels.ndim, axis).expand(shape)
            for side, shape in zip(zeros, shapes, strict=True)
        ]
        labels = torch.cat([sides[0], labels, sides[1]], axis)
    return compress(labels)


def roll(call: Call) -> Tensor:
    """Rolling along axes without channels, of any shape."""
    axes: Any = call.argument(2, "dims", default=())
    axes = (axes,) if isinstance(axes, int) else axes
    labels = call.labels
    if labels.numel() > 1 and (not axes or any(labels.shape[axis] > 1 for axis in axes)):
        raise call.unknown_operation()
    return labels


def places(call: Call) -> Tensor:
    """A grid of places ``(B, H, W, 2)`` from transformations, for images of a shape."""
    call.hold(call.labels)
    return no_channels(call.value.ndim)


def unfold(call: Call) -> Tensor:
    """Patches: ``(B, C, H, W)`` -> ``(B, C k^2, L)`` as a function, another axis as a method."""
    value, x = call.value, call.tensor
    if call.node.op != "call_method":
        channels = call.along(1).repeat_interleave(value.shape[1] // x.shape[1])
        return call.lay(channels, 1)
    axis = int(call.argument(1, "dimension")) % x.ndim
    if call.labels.shape[axis] > 1:
        raise call.unknown_operation()
    return call.labels.unsqueeze(-1)


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
    **dict.fromkeys((*LIKE, *CONVERTING), like),
    **dict.fromkeys(COUNTING, count_up),
    **dict.fromkeys(TAKING, take),
    "assign": put,
    **dict.fromkeys(RESHAPING, reshape),
    **dict.fromkeys(REARRANGING, rearrange),
    **dict.fromkeys(REPEATING, repeat),
    "getattr": attribute,
    "roll": roll,
    "affine_grid": places,
    "unfold": unfold,
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
