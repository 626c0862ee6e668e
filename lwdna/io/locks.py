"""Locks between processes, which vanish with the process that holds them."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import TextIO

from lwdna.errors import LwdnaError
from lwdna.io.atomic import cannot_write, try_lock

logger = logging.getLogger(__name__)


def lock(path: str | os.PathLike[str], *, wait: bool) -> TextIO:
    """Lock a file for as long as what is returned stays open.

    The lock is a POSIX one: it belongs to the process, not to those it forks, works over NFS, and
    vanishes with the process, so that the file may lie there forever. It holds the name of the
    process.

    Args:
        path: the file, made if it is missing.
        wait: whether to wait, with a warning, while another process holds it.

    Raises:
        LwdnaError: if the file cannot be written; or, without ``wait``, if another process holds
            the lock.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = Path(path).open("a+", encoding="utf-8")  # noqa: SIM115 - closing it unlocks
    except OSError as error:
        raise cannot_write(Path(path), error) from error
    try:
        free = try_lock(file)
    except OSError as error:
        free = True
        logger.warning(
            "The file system of '%s' has no locks (%s); let no other process work there.",
            path,
            error.strerror,
        )
    if not free:
        file.seek(0)
        owner = file.read().strip() or "another process"
        where = Path(path).parent
        if not wait:
            file.close()
            raise LwdnaError(
                f"Another run ({owner}) is at work in '{where.resolve()}'; wait until it ends, or "
                "end it."
            )
        logger.warning("'%s' is in use by %s; waiting until it ends.", where, owner)
        fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    except OSError as error:
        raise cannot_write(Path(path), error) from error
    return file


def hold(path: str | os.PathLike[str]) -> bool:
    """Lock a file until this process ends, however it ends.

    Returns:
        Whether it is locked: not every file system has locks.

    Raises:
        LwdnaError: as :func:`lock` without waiting.
    """
    file = lock(path, wait=False)
    atexit.register(file.close)
    try:
        return try_lock(file)  # again: who has it may take it
    except OSError:
        return False
