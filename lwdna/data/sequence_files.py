"""Listings of videos: files of JSON that say which sets of videos a split of a dataset has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lwdna.errors import DataError
from lwdna.io.atomic import write_text

SUFFIX = ".json"

SYNTHETIC = "synthetic"
"""The layout of motion that is made over photographs."""

SERVERS = ("got10k", "trackingnet")
"""Layouts of whose test the first boxes alone are published; a server measures the others."""

HIDDEN = (None, "test", "TEST")
"""The splits of a test set that this is so for; None is the usual one."""

_FORMAT, _VERSION = "lwdna-sequences", 1


def write_sets(
    path: str | os.PathLike[str], sets: Sequence[Mapping[str, Any]], digest: str
) -> None:
    """Write a listing.

    Args:
        path: of the file.
        sets: what :func:`lwdna.data.sequence_sets.open_sets` opens.
        digest: what tells their videos from any others.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    about = {"format": _FORMAT, "version": _VERSION, "digest": digest, "sets": list(sets)}
    write_text(path, json.dumps(about, indent=1, sort_keys=True) + "\n")


def read_sets(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], str]:
    """The sets of a listing, and its digest.

    Raises:
        DataError: if the file is missing, damaged, or of something else.
    """
    try:
        about = json.loads(Path(path).read_text(encoding="utf-8"))
        if (about["format"], about["version"]) != (_FORMAT, _VERSION):
            raise KeyError(about["format"])
        sets, digest = [dict(section) for section in about["sets"]], str(about["digest"])
    except FileNotFoundError as error:
        raise DataError(f"The listing of videos '{path}' is missing; make it first.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is no listing of videos of this version, or it is damaged; delete it and "
            "make it again."
        ) from error
    return sets, digest


FRAMES: Mapping[tuple[str, str], int] = {
    ("otb100", "test"): 59_000,
    ("nfs", "test"): 48_000,
    ("uav123", "test"): 113_000,
    ("lasot", "test"): 685_000,
    ("got10k", "val"): 21_000,
    ("got10k", "test"): 23_000,
    ("trackingnet", "test"): 226_000,
}
"""By layout and split, about how many frames are followed; general knowledge, for plans."""


def frames_of(section: Mapping[str, Any], split: str) -> int:
    """About how many frames a set of videos has; 0 where that is not known.

    Args:
        section: of the set.
        split: its role.
    """
    if section["layout"] == SYNTHETIC:
        return int(section["videos"]) * int(section.get("motion", {}).get("frames", 50))
    return FRAMES.get((section["layout"], section.get("split", split)), 0)
