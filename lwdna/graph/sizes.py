"""Sizes: integers that know where they come from, so that numbers of channels can be told apart.

While a network is traced, the shape of a tensor is made of sizes, and so are the integers that
its modules keep as attributes. They are integers to all Python code, which may reckon with them,
give them to NumPy or to functions that make tensors; what is reckoned from them is a size again.
Where one is used, :mod:`lwdna.graph.counts` asks it for its origin.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from lwdna.graph.operations import BATCH_NORMS, CONVOLUTIONS, INSTANCE_NORMS

Origin = tuple[Any, ...]
"""``("along", node, axis)``, ``("kept", name)``, or an operation and what it is applied to."""


@dataclass
class Escapes:
    """Sizes that turned into numbers that a network may compute with, which is not seen."""

    place: Callable[[], tuple[str, int] | None]
    """Says which line of the network is being executed."""
    watched: bool = False
    found: list[tuple[Size, tuple[str, int] | None]] = field(default_factory=list)

    def note(self, size: Size) -> None:
        """Note a size, unless PyTorch itself is reckoning with it."""
        if self.watched:
            self.found.append((size, self.place()))


class Size(int):
    """An integer with an origin."""

    origin: Origin
    escapes: Escapes

    def __new__(cls, value: int, origin: Origin, escapes: Escapes) -> Size:
        """A size is made with all that it knows."""
        size = super().__new__(cls, value)
        size.origin, size.escapes = origin, escapes
        return size

    def __reduce__(self) -> Any:
        return int, (plain(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> int:
        return plain(self)


def plain(size: int) -> int:
    """The number that a size is."""
    return int.__add__(size, 0)


def _reckoned(name: str, *, swapped: bool = False) -> Callable[[Size, Any], Any]:
    """An operation of integers that gives a size."""
    compute = getattr(operator, name)

    def method(self: Size, other: Any) -> Any:
        if type(other) is bool or not isinstance(other, int):
            return _left(name, swapped)(self, other)
        pair = (other, self) if swapped else (self, other)
        return Size(compute(*map(plain, pair)), (name, *pair), self.escapes)

    return method


def _left(name: str, swapped: bool = False) -> Callable[..., Any]:
    """An operation whose result is a plain number."""
    method = getattr(int, f"__{'r' if swapped else ''}{name}__")

    def escape(self: Size, *others: Any) -> Any:
        result = method(plain(self), *others)
        if result is NotImplemented and others and isinstance(others[0], float):
            pair = (others[0], plain(self)) if swapped else (plain(self), others[0])
            result = getattr(operator, name)(*pair)
        if result is not NotImplemented and name in _CONTINUOUS:
            self.escapes.note(self)
        return result

    return escape


_CONTINUOUS = frozenset({"truediv", "pow", "float"})
"""Operations for the sake of a value, such as a scale, rather than of a size."""

for _name in ("add", "sub", "mul", "floordiv"):
    setattr(Size, f"__{_name}__", _reckoned(_name))
    setattr(Size, f"__r{_name}__", _reckoned(_name, swapped=True))
for _name in ("truediv", "pow", "mod", "divmod"):
    setattr(Size, f"__{_name}__", _left(_name))
    setattr(Size, f"__r{_name}__", _left(_name, True))
for _name in ("int", "float", "round", "trunc", "floor", "ceil"):
    setattr(Size, f"__{_name}__", _left(_name))


def _negative(self: Size) -> Size:
    return Size(-plain(self), ("neg", self), self.escapes)


Size.__neg__ = _negative  # type: ignore[method-assign, assignment]

RESIZED = frozenset(
    "in_channels out_channels in_features out_features num_features num_channels groups "
    "num_groups".split()
)
"""Attributes of PyTorch's layers that surgery sets."""

RESIZED_LAYERS = (*CONVOLUTIONS, nn.Linear, *BATCH_NORMS, *INSTANCE_NORMS, nn.GroupNorm)

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def remember(model: nn.Module, taught: Callable[[nn.Module], bool], escapes: Escapes) -> None:
    """Let the integers that the modules of a network keep know where they are kept, in place.

    Args:
        model: a network without data.
        taught: whether a module has a rule of a user, which says what is to become of its numbers.
        escapes: where to note which of them turned into plain numbers.
    """
    skipped: set[nn.Module] = set()
    for path, module in model.named_modules():
        if module in skipped:
            continue
        if taught(module):
            skipped.update(module.modules())
            continue
        foreign = type(module).__module__.startswith("torch.")
        for attribute, value in list(vars(module).items()):
            of_layer = attribute in RESIZED and isinstance(module, RESIZED_LAYERS)
            if attribute in _OF_EVERY_MODULE or (foreign and not of_layer):
                continue
            name = f"{path}.{attribute}" if path else attribute
            vars(module)[attribute] = _kept(value, name, escapes)


def _kept(value: Any, name: str, escapes: Escapes) -> Any:
    """What a module keeps, its integers being sizes; 0 and 1 never count channels that shrink."""
    if type(value) is int and value > 1:
        return Size(value, ("kept", name), escapes)
    if type(value) in {list, tuple}:
        items = [_kept(item, f"{name}[{i}]", escapes) for i, item in enumerate(value)]
        return (
            value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
        )
    return value
