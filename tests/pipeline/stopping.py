"""Work that is stopped in the middle, as a killed process is, by something that it calls."""

from collections.abc import Callable
from typing import Any


class StopError(Exception):
    """What stops it."""


def stop_at(call: int, otherwise: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
    """A function that stops its caller at the call of that number, from 1.

    Args:
        call: its number.
        otherwise: what all other calls go to.
    """
    made = 0

    def stop(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        if made == call:
            raise StopError
        return otherwise(*arguments)

    return stop
