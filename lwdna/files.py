"""Atomic writes: a product appears under its name whole, or not at all."""

from __future__ import annotations

import atexit
import errno
import fcntl
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lwdna.errors import LwdnaError

logger = logging.getLogger(__name__)


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The temporary file lies in the same folder (so the rename is atomic), keeps the suffix of
    ``path``, is flushed to disk before the rename, and is removed if the block fails.
    Missing parent folders are made.

    Raises:
        LwdnaError: if the file cannot be written (folder not writable, disk full, ...).
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(**_beside(target))
    except OSError as error:
        raise _cannot_write(target, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        if error.filename not in {None, str(target), name}:
            raise  # of another file, which the block was reading
        raise _cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` if the block succeeds.

    As :func:`atomic`, all files in it flushed to disk; a process of a killed run that still makes
    the same folder has one of its own. An empty folder at ``path`` is replaced, any other is left
    alone.

    Raises:
        LwdnaError: if the folder cannot be written, or there is one that is not empty.
    """
    target = Path(path)
    try:
        temporary = Path(tempfile.mkdtemp(**_beside(target)))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield temporary
        for inside in temporary.rglob("*"):
            if inside.is_file() and not inside.is_symlink():
                with inside.open("rb+") as file:
                    os.fsync(file.fileno())
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise LwdnaError(
                f"'{target}' is there already; delete it and run the command again."
            ) from error
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(target: Path) -> dict[str, Any]:
    """Where a temporary file or folder for ``target`` lies: arguments of ``tempfile``.

    Makes missing parent folders, and removes what killed processes have left.
    """
    here = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target, here)
    prefix = f".{target.stem}.{here}-{os.getpid()}-"
    return {"dir": target.parent, "prefix": prefix, "suffix": f".tmp{target.suffix}"}


def _remove_leftovers(target: Path, here: str) -> None:
    """Remove what killed processes of this machine left behind when they wrote this file."""
    stem, suffix = re.escape(target.stem), re.escape(target.suffix)
    pattern = re.compile(rf"\.{stem}\.{here}-(\d+)-[^.]*\.tmp{suffix}")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not _runs(int(match.group(1))):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it exists, but is another user's
    return True


def _cannot_write(target: Path, error: OSError) -> LwdnaError:
    return LwdnaError(
        f"Cannot write '{target}': {error.strerror or error}. Nothing was changed there; "
        "make the folder writable, or free some space, and run the command again."
    )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8 with Unix line ends."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


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
        raise _cannot_write(Path(path), error) from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        owner = file.read().strip() or "another process"
        where = Path(path).parent
        if not wait:
            file.close()
            raise LwdnaError(
                f"Another run ({owner}) is at work in '{where.resolve()}'; wait until it ends, or "
                "end it."
            ) from error
        logger.warning("'%s' is in use by %s; waiting until it ends.", where, owner)
        fcntl.lockf(file, fcntl.LOCK_EX)
    except OSError as error:
        logger.warning(
            "The file system of '%s' has no locks (%s); let no other process work there.",
            path,
            error.strerror,
        )
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    except OSError as error:
        raise _cannot_write(Path(path), error) from error
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
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # again: who has it may take it
    except OSError:
        return False
    return True


def _umask() -> int:
    """The process's umask, which only a change of it can tell."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
