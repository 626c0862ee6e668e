"""The processes of a DataLoader: ended in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader


@contextmanager
def workers_ended(loader: DataLoader[Any]) -> Iterator[None]:
    """End the processes that load data when the block ends, also by an error.

    What the error holds would keep them until the exit of Python, which sends them a signal that
    they ignore, and then waits for them.
    """
    try:
        yield
    finally:
        iterator: Any = getattr(loader, "_iterator", None)
        if iterator is not None:
            iterator._shutdown_workers()
