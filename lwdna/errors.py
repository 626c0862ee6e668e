"""Errors a user can act on. Each message says what was given, what is allowed, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


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


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
