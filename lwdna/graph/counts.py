"""Counts: which channels a size is the number of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from lwdna.graph.sizes import Origin, Size, plain
from lwdna.graph.tracing import value_of

if TYPE_CHECKING:
    from lwdna.graph.calls import Call


class UncountableError(Exception):
    """A size depends on channels in a way that no set of channels has."""

    def __init__(self, *labels: Tensor | None) -> None:
        super().__init__()
        self.labels = torch.cat([x for x in labels if x is not None])


def counted(call: Call, size: Any) -> Tensor | None:
    """The labels ``(n,)`` of the channels that a size n counts, in some order.

    None for a number that does not change. Channels that it depends on in another way are held.
    """
    if not isinstance(size, Size):
        return None
    try:
        return _of(call, size)
    except UncountableError as error:
        call.hold(error.labels)
        return None


def keep(call: Call, size: Any, where: str | None = None) -> None:
    """Let a size stay what it is: the channels that it depends on are held.

    ``where`` is the operation that needs it, if that is not ``call``.
    """
    if isinstance(size, Size):
        kind, *operands = size.origin
        if kind == "kept":
            place = f"{call.where}{call.source}" if where is None else where
            call.found.constants.setdefault(operands[0], place)
        elif kind == "along":
            labels = _along(call, *operands)
            if labels is not None:
                call.hold(labels, where)
        else:
            for operand in operands:
                keep(call, operand, where)


def depends(size: Any) -> bool:
    """Whether a size is reckoned from the shape of a tensor."""
    return isinstance(size, Size) and _mentions(size.origin, "along")


def divided(size: Any) -> bool:
    """Whether a size is a part of another."""
    return isinstance(size, Size) and size.origin[0] == "floordiv"


def _mentions(origin: Origin, kind: str) -> bool:
    return origin[0] == kind or any(
        isinstance(part, Size) and _mentions(part.origin, kind) for part in origin[1:]
    )


def _counted(call: Call, origin: Origin) -> Tensor | None:
    operation, *operands = origin
    if operation == "along":
        return _along(call, *operands)
    a, b = (*operands, 0)[:2]
    if operation == "neg":
        raise UncountableError(_of(call, a))
    if operation in {"mul", "floordiv"}:
        return _scaled(call, operation, a, b)
    first, second = _of(call, a), _of(call, b)
    if first is None and second is None:
        return None
    if operation == "add":
        return torch.cat(
            [_fixed(a) if first is None else first, _fixed(b) if second is None else second]
        )
    first = _fixed(a) if first is None else first
    return _without(call, first, _fixed(b) if second is None else second)


def _of(call: Call, size: Any) -> Tensor | None:
    """As :func:`counted`, of a size with its name."""
    if not isinstance(size, Size):
        return None
    if size.origin[0] == "kept":
        return call.found.number(size.origin[1], plain(size))
    return _counted(call, size.origin)


def _fixed(number: int) -> Tensor:
    return torch.zeros(max(0, plain(number)), dtype=torch.int64)


def _along(call: Call, node: fx.Node, axis: int) -> Tensor | None:
    """What lies along an axis of a tensor."""
    x = value_of(node)
    if node.op == "get_attr":
        return call.found.number(f"{node.target}.shape[{axis}]", x.shape[axis])
    labels = call.labels_of(node)
    if labels.shape[axis] == 1:
        return None
    return call.along(axis, labels, x)


def _scaled(call: Call, operation: str, a: int, b: int) -> Tensor | None:
    """A number of channels, times or divided by another number, which stays what it is."""
    if operation == "mul" and _weaker(a, b):
        a, b = b, a
    first = _of(call, a)
    if depends(b) and (second := _of(call, b)) is not None:
        raise UncountableError(first, second)
    if first is None:
        return None
    keep(call, b)
    times = plain(b)
    if operation == "mul":
        return first.repeat(times)
    if times < 1 or len(first) % times:
        raise UncountableError(first)
    labels, numbers = _multiset(call, first)
    if bool((numbers % times == 0).all()):
        return labels.repeat_interleave(numbers // times)
    parts = first.view(times, -1)
    call.tie(parts[:1], parts)
    for part in parts[1:]:
        mixed = (parts[0] == 0) != (part == 0)
        if bool(mixed.any()):
            raise UncountableError(first)
    return parts[0]


def _weaker(a: int, b: int) -> bool:
    """Whether the second of two factors is rather the number of channels."""
    rank = [2 if depends(x) else 1 if isinstance(x, Size) else 0 for x in (a, b)]
    return rank[0] < rank[1]


def _without(call: Call, first: Tensor, second: Tensor) -> Tensor:
    """A number of channels less the number of some of them, which are the first if others."""
    elements = torch.from_numpy(call.found.elements())
    left = elements[first].tolist()
    if not set(elements[second].tolist()) <= set(left) and len(second) < len(first):
        call.tie(first[: len(second)], second)
        if bool(((first[: len(second)] == 0) != (second == 0)).any()):
            raise UncountableError(first, second)
        return first[len(second) :]
    keep = torch.ones(len(first), dtype=torch.bool)
    for element in elements[second].tolist():
        try:
            place = len(left) - 1 - left[::-1].index(element)
        except ValueError:
            raise UncountableError(first, second) from None
        keep[place], left[place] = False, None
    return first[keep]


def _multiset(call: Call, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One label of each element, in the order in which they come, and how often each is there."""
    elements = torch.from_numpy(call.found.elements())[labels]
    _, inverse, numbers = torch.unique(elements, return_inverse=True, return_counts=True)
    first = torch.full((len(numbers),), len(labels)).scatter_reduce(
        0, inverse, torch.arange(len(labels)), "amin"
    )
    order = first.argsort()
    return labels[first[order]], numbers[order]


def match(call: Call, size: Any, labels: Tensor) -> None:
    """Make sure that a size stays the number of some channels ``(n,)`` of an axis.

    Those that one of both counts and the other does not are held.
    """
    own = counted(call, size)
    if own is None:
        call.hold(labels)
    elif not torch.equal(own.sort().values, labels.sort().values):
        elements = torch.from_numpy(call.found.elements())
        if torch.equal(elements[own].sort().values, elements[labels].sort().values):
            return
        if len(own) != len(labels):
            call.hold(torch.cat([own, labels]))
            return
        call.tie(own, labels)
        mixed = (own == 0) != (labels == 0)
        call.hold(torch.cat([own[mixed], labels[mixed]]))
