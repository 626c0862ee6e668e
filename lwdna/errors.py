"""Errors a user can act on. Each message says what was given, what is allowed, and what to do."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import os
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any


class LwdnaError(Exception):
    """Base of every error that the command line reports as one sentence."""


class ConfigError(LwdnaError):
    """The configuration, or an argument, names something that does not exist or cannot be."""


class DataError(LwdnaError):
    """An input image, store or folder is missing, damaged or of the wrong kind."""


class GraphError(LwdnaError):
    """The channels of a network cannot be followed through one of its operations."""


class BudgetError(LwdnaError):
    """The FLOPs target lies outside what rho, tau and the width can reach."""


class CheckpointError(LwdnaError):
    """A weights file or checkpoint is damaged or belongs to something else."""


class TrainingError(LwdnaError):
    """Training cannot go on, for example because the loss is not finite."""


def says_memory_is_full(error: Exception) -> bool:
    """Whether an error says that memory is full, of the machine or of a GPU."""
    torch = sys.modules.get("torch")  # without it, it is none of PyTorch's
    return (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The sentence fragment that names the nearest allowed word, or all of them.

    >>> nearest("wdith", ["width", "depth"])
    "did you mean 'width'?"
    """
    options = sorted(allowed)
    close = difflib.get_close_matches(word, options, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "allowed: " + ", ".join(repr(option) for option in options)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def shown(value: object) -> str:
    """A value as a sentence quotes it: short, whatever it is.

    >>> shown("ten")
    "'ten'"
    """
    try:
        return _SHORT.repr(value)
    except (RecursionError, ValueError):  # of a number that Python refuses to write out
        return f"a huge {type(value).__name__}"


def require_known(word: object, allowed: Collection[str], sentence: str) -> None:
    """Refuse a word that is not allowed.

    Args:
        word: that was given; it may be of any type.
        allowed: the words that may be.
        sentence: what is wrong, up to the mark before the help of :func:`nearest`.

    Raises:
        ConfigError: if it is not one of them.
    """
    if str(word) not in allowed:
        raise ConfigError(f"{sentence} {nearest(str(word), allowed)}")


def require(fits: bool, what: str, given: object, give: str) -> None:
    """Refuse an argument that does not fit.

    Args:
        fits: whether it does.
        what: the argument, in words.
        given: its value; text and numbers are quoted, of anything else the type is said.
        give: what it may be.

    Raises:
        ConfigError: if it does not.
    """
    if not fits:
        said = f"a {type(given).__name__}"
        if given is None or isinstance(given, str | int | float | Path):
            words = isinstance(given, str | Path) and len(str(given)) <= _SHORT.maxstring
            said = f"'{given}'" if words else shown(given)
        elif inspect.isclass(given):
            said = f"the class {given.__name__}"
        raise ConfigError(f"{what} is {said}{_takes(given)}; give {give}.")


def require_numbers(settings: Any) -> None:
    """Refuse settings that are no numbers, or not whole ones, where their types ask for them.

    Args:
        settings: a dataclass whose annotations are text.

    Raises:
        ConfigError: naming the first one.
    """
    kinds: dict[object, tuple[Any, str]] = {
        "float": (Real, "a number"),
        "int": (Integral, "a whole number"),
    }
    for field in dataclasses.fields(settings):
        kind, give = kinds.get(field.type, (object, ""))
        value = getattr(settings, field.name)
        if give and not is_number(value, kind):
            raise ConfigError(f"{field.name.rstrip('_')} is {value!r}; give {give}.")


def require_least(settings: Any, **least: int) -> None:
    """Refuse settings, by name, that are below a number.

    Raises:
        ConfigError: naming the first one.
    """
    for name, bound in least.items():
        value = getattr(settings, name)
        if value < bound:
            raise ConfigError(f"{name} is {value}; give {bound} or more.")


def require_above_zero(settings: Any, *names: str) -> None:
    """Refuse settings that are not above 0, or infinite.

    Raises:
        ConfigError: naming the first one.
    """
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}; give a finite number above 0.")


def require_shares(settings: Any, *names: str, ends: bool = True) -> None:
    """Refuse settings that are no shares.

    Args:
        settings: that have them.
        names: of those that must be.
        ends: whether they may be 0 or 1.

    Raises:
        ConfigError: naming the first one.
    """
    for name in names:
        value = getattr(settings, name)
        if not (0 <= value <= 1 if ends else 0 < value < 1):
            raise ConfigError(f"{name} is {value}; give a share between 0 and 1.")


def is_number(value: Any, kind: Any = Real) -> bool:
    """Whether it is a number of a kind of :mod:`numbers`; a truth value and NaN are none."""
    return isinstance(value, kind) and not isinstance(value, bool) and not math.isnan(value)


def require_function(function: object, arguments: int, what: str, give: str) -> None:
    """Refuse what cannot be called with so many arguments; it is not called.

    Args:
        function: of a user; one whose arguments are not known is let through.
        arguments: how many it is given, by position.
        what: the argument of ours that it is, in words.
        give: what it may be.

    Raises:
        ConfigError: if it is no function, or one of other arguments.
    """
    signature = _signature(function)
    # A class that is given something makes an object, which is neither a loss nor scores.
    fits = callable(function) and not (arguments and inspect.isclass(function))
    if signature is not None:
        try:
            signature.bind(*[None] * arguments)
        except TypeError:
            fits = False
    require(fits, what, function, give)


def _signature(function: Any) -> inspect.Signature | None:
    """What a function takes, if that is known; of a network its ``forward``."""
    own = not inspect.isclass(function) and hasattr(function, "forward")
    called: Callable[..., Any] = function.forward if own else function
    try:
        return inspect.signature(called)
    except (TypeError, ValueError):
        return None


def _takes(given: object) -> str:
    """The arguments of a function, as a fragment of a sentence."""
    signature = _signature(given) if callable(given) else None
    return "" if signature is None else f", which takes ({', '.join(signature.parameters)})"


def require_file_name(path: Any, example: str) -> Path:
    """A path that names a file, whether there is one or not.

    Raises:
        ConfigError: if it is no path, empty, or a folder.
    """
    fits = isinstance(path, str | os.PathLike) and bool(Path(path).name) and not Path(path).is_dir()
    require(fits, "The path", path, f"the name of a file, not of a folder, such as '{example}'")
    return Path(path)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
