"""Folders and zip archives of files, read alike; a hostile archive does no harm.

Nothing is unpacked by the names that an archive gives: its files are read into memory.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from lwdna.errors import DataError, first_line

PathLike = str | os.PathLike[str]

_FREE_BYTES = 2**30
_GROWTH = 20
"""The files of an archive may take a GiB and this many times the archive: images hardly compress,
so that whatever grows more is made to fill memory or disk."""


@dataclass(frozen=True)
class Member:
    """A file in an open zip archive: as much of a ``Path`` as reading images needs."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The name without folders."""
        return PurePosixPath(self.info.filename).name

    def open(self, _mode: Literal["rb"] = "rb") -> BinaryIO:
        """Read the file into memory; its checksum is compared.

        Raises:
            DataError: if the archive is damaged, encrypted or packed in an unknown way.
        """
        try:
            with self.archive.open(self.info) as file:
                # No more than the size that the archive states, which was checked, is ever read.
                return io.BytesIO(file.read())
        except Exception as error:
            # zlib.error, BadZipFile, NotImplementedError, RuntimeError, EOFError, ...
            raise DataError(
                f"'{self}' cannot be read ({first_line(error)}); replace the archive by an intact "
                "one without a password."
            ) from error

    def __str__(self) -> str:
        return f"{self.archive.filename}/{self.info.filename}"


File = Path | Member
"""A file of a folder or of a zip archive."""


@dataclass(frozen=True)
class Tree:
    """What a folder or a zip archive holds. Hidden files and folders are left out.

    Attributes:
        path: the folder or archive, for messages.
        names: of the files, relative to it and with slashes, sorted by their parts.
        folders: at its top, sorted; also empty ones.
        file: gives the file of a name.
    """

    path: Path
    names: list[str]
    folders: list[str]
    file: Callable[[str], File]


def archive_of(path: PathLike) -> Path | None:
    """The zip archive that a path names, ``a.zip``, or lies in, ``a.zip/train``; None for others.

    The archive need not exist; a folder whose name ends in .zip is a folder.
    """
    path = Path(path)
    for candidate in (path, *path.parents):
        if candidate.suffix.lower() == ".zip" and not candidate.is_dir():
            return candidate
    return None


@contextmanager
def open_tree(path: PathLike) -> Iterator[Tree]:
    """List a folder, a zip archive, or a folder inside a zip archive (``a.zip/train``).

    The files of an archive can be read until the block ends.

    Raises:
        DataError: if there is no such folder or archive, or the archive is damaged or tries to do
            harm: names that lead out of it, links, a file twice, or more data than images can be.
    """
    path = Path(path)
    archive = archive_of(path)
    if archive is None:
        yield _folder(path)
        return
    try:
        file = zipfile.ZipFile(archive)
    except FileNotFoundError as error:
        raise DataError(f"The archive '{archive}' does not exist; put it there.") from error
    except Exception as error:
        raise DataError(
            f"'{archive}' is not a whole zip archive ({first_line(error)}); replace it by an "
            "intact one."
        ) from error
    with file:
        yield _within(file, archive, path)


def require_utf8(name: PathLike) -> None:
    """Refuse a file whose name no store can note.

    Raises:
        DataError: if it is not UTF-8.
    """
    try:
        str(name).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"The name of the image {str(name)!r} is not UTF-8; rename it.") from error


def _folder(path: Path) -> Tree:
    if not path.is_dir():
        raise DataError(f"The folder '{path}' does not exist; make it and put the images there.")
    names: list[str] = []
    folders: list[str] = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            names.append(entry.name)
            continue
        folders.append(entry.name)
        # Links among the folders at the top are followed, deeper ones are not: they may go round.
        for where, inner, files in os.walk(entry):
            inner[:] = [name for name in inner if not name.startswith(".")]
            base = PurePosixPath(Path(where).relative_to(path).as_posix())
            names += [f"{base}/{name}" for name in files if not name.startswith(".")]
    for name in names:
        require_utf8(name)
    names.sort(key=_parts)
    return Tree(path, names, folders, lambda name: path / name)


def _within(file: zipfile.ZipFile, archive: Path, path: Path) -> Tree:
    """The part of an archive that a path names."""
    prefix = "" if path == archive else f"{path.relative_to(archive).as_posix()}/"
    members: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    size = 0
    for info in file.infolist():
        _refuse_unsafe(info, archive)
        size += info.file_size
        hidden = any(part.startswith((".", "__MACOSX")) for part in info.filename.split("/"))
        if hidden or not info.filename.startswith(prefix):
            continue
        name = info.filename.removeprefix(prefix)
        if "/" in name:
            folders.add(name.split("/")[0])
        if info.is_dir():
            continue
        if name in members:
            raise DataError(f"The archive '{archive}' holds '{name}' twice; pack it anew.")
        members[name] = info
    allowed = _FREE_BYTES + _GROWTH * archive.stat().st_size
    if size > allowed:
        raise DataError(
            f"The files in the archive '{archive}' take {size:,} bytes, more than images in an "
            f"archive of its size can ({allowed:,}); if it is meant so, unpack it and name the "
            "folder."
        )
    if prefix and not members:
        raise DataError(f"The archive '{archive}' has no files in '{prefix}'; name another folder.")
    return Tree(
        path,
        sorted(members, key=_parts),
        sorted(folders),
        lambda name: Member(file, members[name]),
    )


def _refuse_unsafe(info: zipfile.ZipInfo, archive: Path) -> None:
    name = info.filename
    outside = name.startswith("/") or ".." in name.split("/") or "\\" in name
    if outside or stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(
            f"The archive '{archive}' holds {name!r}, a link or a name that leads out of it; do "
            "not trust it, or pack its images anew."
        )


def _parts(name: str) -> list[str]:
    return name.split("/")
