"""The table of datasets, ``data/versions.csv``: from where they are had, and what is expected.

Snakemake reads it, too: nothing is imported here that an environment of Snakemake may lack.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lwdna.data.archives import archive_of
from lwdna.errors import DataError, first_line
from lwdna.io.project import VERSIONS

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Version:
    """A dataset as the table has it.

    Attributes:
        name: of the file or folder.
        url: of the file; of the page or archive for what is had by hand.
        bytes: size of the file, if known.
        checksum: ``sha256:...`` or ``md5:...``; empty if none is known.
        licence: what the images may be used for.
        how: "download", or what is to be done by hand.
    """

    name: str
    url: str
    bytes: int | None
    checksum: str
    licence: str
    how: str

    @property
    def downloadable(self) -> bool:
        """Whether :func:`lwdna.data.downloads.download` can get it."""
        return self.how == "download"


def read_versions(path: PathLike | None = None) -> dict[str, Version]:
    """Read the table of datasets, by name.

    Args:
        path: of the table; by default :data:`lwdna.io.project.VERSIONS`.

    Raises:
        DataError: if the table is missing or a row of it is wrong.
    """
    path = Path(path or VERSIONS)
    versions: dict[str, Version] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                size = int(row["bytes"]) if row["bytes"] else None
                version = Version(
                    *(row["name"], row["url"], size, row["checksum"], row["licence"], row["how"])
                )
                if not re.fullmatch(r"(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})?", version.checksum):
                    raise ValueError(f"'{version.checksum}' is no checksum")
                if Path(version.name).name != version.name or version.name in versions:
                    raise ValueError(f"'{version.name}' is no name, or there twice")
                versions[version.name] = version
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"The table of datasets '{path}' cannot be read ({first_line(error)}); restore it."
        ) from error
    return versions


def version_of(path: PathLike, versions: Mapping[str, Version]) -> Version | None:
    """The row of the table that a path of the configuration is about, by name or folder."""
    path = archive_of(path) or Path(path)
    return versions.get(path.name) or versions.get(path.parent.name)


def what_lacks(path: PathLike, versions: Mapping[str, Version]) -> str | None:
    """A sentence on images that are not there: from where they are had, and where they go."""
    file = archive_of(path) or Path(path)
    if file.exists():
        return None
    version, what = version_of(path, versions), "put the images there"
    if version is not None and version.downloadable:
        what = f"download it from {version.url} (licence: {version.licence})"
    elif version is not None:
        what = f"{version.url}: {version.how} (licence: {version.licence})"
    return f"'{file}' does not exist, and is not downloaded by itself; {what}."


def recorded(path: PathLike) -> str | None:
    """The SHA-256 that was noted beside a file when it was downloaded, if any.

    Raises:
        DataError: if the note is damaged.
    """
    note = note_of(Path(path))
    if not note.is_file():
        return None
    words = note.read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
        raise DataError(f"'{note}' holds no checksum; delete it to note a new one.")
    return words[0]


def note_of(path: Path) -> Path:
    """Where the SHA-256 of a download is noted: beside it, as ``sha256sum`` writes it."""
    return path.with_name(f"{path.name}.sha256")
