"""Atomic writes: a product appears under its name whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from lwdna.errors import LwdnaError

_claimed: set[str] = set()
"""What names the temporary files and folders that this process is writing."""


written: dict[Path, None] = {}
"""What this process has written, in order; for those who say so."""


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
    with _own(target) as temporary:
        try:
            temporary.touch(0o600, exist_ok=False)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
            written[target] = None
        except OSError as error:
            if error.filename not in {None, str(target), str(temporary)}:
                raise  # of another file, which the block was reading
            raise cannot_write(target, error) from error


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
    with _own(target) as temporary:
        try:
            temporary.mkdir(0o700)
            yield temporary
            for inside in temporary.rglob("*"):
                if inside.is_file() and not inside.is_symlink():
                    with inside.open("rb+") as file:
                        os.fsync(file.fileno())
            temporary.chmod(0o777 & ~_umask())
            temporary.rename(target)
            for inside in [path for path in written if temporary in path.parents]:
                del written[inside]
            written[target] = None
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise LwdnaError(
                    f"'{target}' is there already; delete it and run the command again."
                ) from error
            raise cannot_write(target, error) from error


@contextmanager
def _own(target: Path) -> Iterator[Path]:
    """Yield a name beside ``target`` that is this process's; remove what has it in the end.

    The owner holds the lock of a file beside the temporary one, which ends with its process: what
    it then leaves behind is removed by the next that writes ``target``. A process id would not
    tell who is alive: it is there until the parent has waited for its process, and is used again.
    The lock is not one of the temporary file, which ends when any library closes that file.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        unique, owned = _claim(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    temporary, lock_file = _names(target, unique)
    with owned:
        try:
            yield temporary
        finally:
            # The lock last: what has none belongs to nobody.
            _remove(temporary)
            _remove(lock_file)
            _claimed.discard(unique)


def _names(target: Path, unique: str) -> tuple[Path, Path]:
    """A temporary file or folder for ``target``, and the file whose lock says who owns it."""
    first, last = f".{target.stem}.{unique}.tmp", target.suffix
    return target.parent / f"{first}{last}", target.parent / f"{first}-lock{last}"


def _claim(target: Path) -> tuple[str, TextIO]:
    """What names a temporary file of ``target``, and its lock, held for as long as it is open."""
    here = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())
    while True:
        unique = f"{here}-{os.getpid()}-{secrets.token_hex(8)}"
        lock_file = _names(target, unique)[1]
        # Before there is such a file: another thread would free the lock by looking at it.
        _claimed.add(unique)
        with ExitStack() as undo:
            undo.callback(_claimed.discard, unique)
            file = undo.enter_context(lock_file.open("x", encoding="utf-8"))
            if _take(file, lock_file):
                undo.pop_all()
                return unique, file


def _take(file: TextIO, path: Path) -> bool:
    """Lock a file just made; not if another process took it first, and removes it as a leftover."""
    try:
        if not try_lock(file):
            return False
    except OSError:
        return True  # a file system without locks, where nobody removes what others left
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ESTALE}:
            raise
        return False


def _remove_leftovers(target: Path) -> None:
    """Remove what processes that have ended left behind when they wrote this file or folder."""
    stem, suffix = re.escape(target.stem), re.escape(target.suffix)
    pattern = re.compile(rf"\.{stem}\.([A-Za-z0-9]*-\d+-\w+)\.tmp(-lock)?{suffix}")
    matches = [pattern.fullmatch(path.name) for path in target.parent.iterdir()]
    for unique in {match[1] for match in matches if match} - _claimed:
        temporary, lock_file = _names(target, unique)
        # On an error it stays: its file system has no locks, or it is another user's.
        with suppress(OSError), ExitStack() as stack:
            # Without a lock, it is of a version that had none, or its owner has just removed it.
            with suppress(FileNotFoundError):
                file = stack.enter_context(lock_file.open("r+", encoding="utf-8"))
                if not try_lock(file):
                    continue
            _remove(temporary)
            _remove(lock_file)


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there and can be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def cannot_write(target: Path, error: OSError) -> LwdnaError:
    """The error for what cannot be written at ``target``."""
    return LwdnaError(
        f"Cannot write '{target}': {error.strerror or error}. Nothing was changed there; "
        "make the folder writable, or free some space, and run the command again."
    )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8 with Unix line ends."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def try_lock(file: TextIO, start: int = 0, end: int | None = None) -> bool:
    """Lock a file, unless another process has locked it: whether it is this process's now.

    Args:
        file: open for writing.
        start, end: the bytes to lock, of which there need be none; by default all.

    Raises:
        OSError: if the file system has no locks.
    """
    length = 0 if end is None else end - start  # 0 is to wherever the file ends
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _umask() -> int:
    """The process's umask, which only a change of it can tell."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Make a folder, and notice before anything is computed if no file can be written in it.

    Raises:
        LwdnaError: if it cannot be made or written.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        unique, owned = _claim(path / "probe")
    except OSError as error:
        raise cannot_write(path, error) from error
    with owned:
        _remove(_names(path / "probe", unique)[1])
        _claimed.discard(unique)
