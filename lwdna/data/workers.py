"""What goes wrong in the processes of a DataLoader, told by the process that they serve."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from lwdna.errors import DataError, LwdnaError


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


@contextmanager
def worker_errors() -> Iterator[None]:
    """Within this block, an error of a worker is the one that a single process would raise.

    Raises:
        DataError: if a worker was killed, which can come to light at any line of the block.
        LwdnaError: of the kind that a worker raised, without its traceback.
    """
    try:
        yield
    except LwdnaError as error:
        kind = f"{type(error).__module__}.{type(error).__qualname__}: "
        before, found, sentence = str(error).rpartition(kind)
        if not found or "DataLoader worker" not in before:
            raise
        raise type(error)(sentence.strip()) from error
    except (ConnectionError, EOFError, RuntimeError) as error:
        # The end of a worker may break off what it was sending, before PyTorch notices.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        # PyTorch's handler would raise the same again whenever a child of this process ends, also
        # in the midst of telling of the error.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise DataError(
            "A process that loads data was killed, by a person or for lack of memory; run the "
            "command again, with fewer 'workers' in the training protocol if it happens again."
        ) from error
