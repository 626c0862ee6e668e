"""The options of the networks of the registry, as their sources have them; without PyTorch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from lwdna.errors import ConfigError, is_number, require, require_known, shown
from lwdna.networks.registry import Maker, find_network

LIMITS: Mapping[str, tuple[float, float]] = {
    "blocks": (0, 10_000),
    "channels": (1, 100_000),
    "depth": (1, 16),  # of U-Net, where each level halves the image
    "dropout": (0, 1),
    "growth": (1, 100_000),
    "num_classes": (1, 10**8),
    "scale": (2, 8),
    "stem_stride": (1, 16),
    "strides": (1, 16),
}
"""By name of an option, the least and the largest number that it may be, or have in its list. What
else a network asks of it, the network itself says when it is built."""

_NONE = (-inf, inf)


@dataclass(frozen=True)
class Option:
    """An option of a network."""

    name: str
    kind: str
    """Its type, as the source has it."""
    length: int | None = None
    """Numbers in the list that it is, where that is fixed."""

    def fits(self, value: Any) -> bool:
        """Whether it may have a value."""
        listed = isinstance(value, list | tuple)
        if self.length is not None and listed and len(value) != self.length:
            return False
        return _fits(self.kind, value, *LIMITS.get(self.name, _NONE))

    @property
    def give(self) -> str:
        """What it may be, in words."""
        inner = self.kind.split("[")[-1].rstrip("]")
        number = {"int": "whole number", "float": "number"}.get(inner)
        if number is None:
            return {"bool": "true or false", "str": "text"}.get(inner, f"a {self.kind}")
        low, high = LIMITS.get(self.name, _NONE)
        bounds = "" if low == -inf else f" from {low:g} to {high:,.0f}"
        lists = self.kind.count("[")
        if lists == 0:
            return f"a {number}{bounds}"
        # Lists of lists have numbers of several meanings.
        return f"a list of lists of {number}s" if lists == 2 else self._list(f"{number}s{bounds}")

    def _list(self, numbers: str) -> str:
        return (
            f"a list of {numbers}" if self.length is None else f"a list of {self.length} {numbers}"
        )


def _fits(kind: str, value: Any, low: float, high: float) -> bool:
    if kind.startswith("Sequence["):
        inner = kind.removeprefix("Sequence[").removesuffix("]")
        limits = _NONE if inner.startswith("Sequence") else (low, high)
        return isinstance(value, list | tuple) and all(_fits(inner, x, *limits) for x in value)
    if kind in {"int", "float"}:
        return is_number(value, Integral if kind == "int" else Real) and low <= value <= high
    return isinstance(value, {"bool": bool, "str": str}.get(kind, object))


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a network of the registry does not have, or values that they do not take.

    Args:
        name: of the network.
        options: beside its dataset and width.

    Raises:
        ConfigError: naming the first one.
    """
    known = options_of(name)
    if known is None:
        return
    if "channels" in options and "channels" not in known:
        give = "the name of a published list, or numbers by the names of layers"
        require(False, f"'channels' of {name}", options["channels"], give)
    for key, value in options.items():
        require_known(key, known, f"{name} has no option '{key}':")
        if not known[key].fits(value):
            raise ConfigError(
                f"The option '{key}' of {name} is {shown(value)}; give {known[key].give}."
            )


def options_of(name: str) -> dict[str, Option] | None:
    """The options of a network of the registry; None where only an import could tell.

    Raises:
        ConfigError: for an unknown name.
    """
    entry = find_network(name)
    found = _arguments(entry.maker)
    if found is None:
        return None
    return {key: o for key, o in found.items() if key not in {"width", *entry.options}}


@cache
def _arguments(maker: Maker) -> dict[str, Option] | None:
    """The arguments of a maker, read from its source."""
    module, _, name = maker.replace(":", ".").rpartition(".")
    try:
        tree = ast.parse((Path(__file__).parent / f"{module.replace('.', '/')}.py").read_bytes())
    except (OSError, SyntaxError):
        return None
    for node in tree.body:
        if getattr(node, "name", None) != name:
            continue
        body = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in body:
            if isinstance(function, ast.FunctionDef) and function.name in {"__init__", name}:
                return _of_function(function, skip=isinstance(node, ast.ClassDef))
    return None


def _of_function(function: ast.FunctionDef, *, skip: bool) -> dict[str, Option] | None:
    """The arguments of a function, without ``self``; None if it takes any."""
    given = function.args
    if given.kwarg is not None or function.decorator_list:
        return None
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    pairs = [*zip(positional, defaults, strict=True)][skip:]
    pairs += [*zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    found = {}
    for argument, default in pairs:
        kind = "" if argument.annotation is None else ast.unparse(argument.annotation)
        length = len(default.elts) if isinstance(default, ast.Tuple) else None
        found[argument.arg] = Option(argument.arg, kind, length)
    return found
