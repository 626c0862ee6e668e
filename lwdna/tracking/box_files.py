"""Files of boxes: as this package keeps them, and as the servers that evaluate trackers take them.

Nothing is cut to whole numbers.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwdna.data.sequences import read_boxes, read_flags
from lwdna.errors import DataError
from lwdna.io.atomic import atomic, write_text

Array = NDArray[np.float64]


def write_boxes(path: str | os.PathLike[str], boxes: Array, decimals: int = 4) -> None:
    """Write boxes (N, 4), a line each: x, y, width, height in pixels, between commas.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    write_text(path, _lines(boxes, decimals))


def boxes_of(path: str | os.PathLike[str], frames: int) -> Array:
    """Read what :func:`write_boxes` wrote: (N, 4).

    Args:
        path: the file.
        frames: N, that there must be.

    Raises:
        DataError: if it is missing, holds something else, or not a box for each frame.
    """
    boxes = read_boxes(Path(path))
    if len(boxes) != frames:
        raise DataError(
            f"'{path}' has {len(boxes)} boxes for {frames} frames; delete it and follow the "
            "sequence again."
        )
    return boxes


def write_seconds(path: str | os.PathLike[str], seconds: Array) -> None:
    """Write the seconds of each frame (N,), a line each.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    write_text(path, _times(seconds))


def read_seconds(path: str | os.PathLike[str], frames: int) -> Array:
    """Read what :func:`write_seconds` wrote: (N,).

    Raises:
        DataError: if it is missing, or has not a number for each frame.
    """
    seconds = read_flags(Path(path))
    if len(seconds) != frames:
        raise DataError(f"'{path}' has {len(seconds)} times for {frames} frames; delete it.")
    return seconds


def write_archive(path: str | os.PathLike[str], boxes: Mapping[str, Array]) -> None:
    """Write boxes of sequences: a zip with ``NAME.txt`` as of :func:`write_boxes` for each.

    Args:
        path: of the zip.
        boxes: (N, 4) of every sequence.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    _zip(path, {f"{name}.txt": _lines(values, 4) for name, values in sorted(boxes.items())})


def write_times(path: str | os.PathLike[str], seconds: Mapping[str, Array]) -> None:
    """Write the seconds of the frames of sequences: a zip with ``NAME.txt`` for each.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    _zip(path, {f"{name}.txt": _times(values) for name, values in sorted(seconds.items())})


def read_archive(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read what :func:`write_archive` or :func:`write_times` wrote: (N, 4) or (N, 1) by sequence.

    Raises:
        DataError: if the file is missing or damaged.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                lines = archive.read(entry).decode().splitlines()
                rows = [[float(word) for word in line.split(",")] for line in lines]
                found[entry.removesuffix(".txt")] = np.array(rows, np.float64)
    except FileNotFoundError as error:
        raise DataError(f"The boxes '{path}' are missing; follow the test set first.") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"The boxes '{path}' are damaged ({error}); delete the file and follow the test set "
            "again."
        ) from error
    return found


def write_got10k(
    path: str | os.PathLike[str],
    runs: Sequence[Mapping[str, Array]],
    seconds: Mapping[str, Array],
) -> None:
    """Write the archive that the server of GOT-10k takes.

    It has ``NAME/NAME_001.txt`` for each run, and ``NAME/NAME_time.txt`` with the seconds of each
    frame.

    Args:
        path: of the zip.
        runs: of each the boxes (N, 4) of every sequence.
        seconds: (N,) of every sequence.

    Raises:
        DataError: if runs have other sequences, or other numbers of frames.
        LwdnaError: if the file cannot be written.
    """
    files = {}
    for name, times in sorted(seconds.items()):
        for number, run in enumerate(runs, 1):
            if run.keys() != seconds.keys() or len(run[name]) != len(times):
                raise DataError(
                    f"Run {number} does not have the sequences and frames of the others, such as "
                    f"'{name}'; follow all of them again."
                )
            files[f"{name}/{name}_{number:03d}.txt"] = _lines(run[name], 4)
        files[f"{name}/{name}_time.txt"] = _times(times)
    _zip(path, files)


def write_trackingnet(path: str | os.PathLike[str], boxes: Mapping[str, Array]) -> None:
    """Write the archive that the server of TrackingNet takes: ``NAME.txt`` with two decimals.

    Args:
        path: of the zip.
        boxes: (N, 4) of every sequence.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    _zip(path, {f"{name}.txt": _lines(values, 2) for name, values in sorted(boxes.items())})


def _lines(boxes: Array, decimals: int) -> str:
    if not all(math.isfinite(number) for number in boxes.flat):
        raise DataError("A box has a number that is none; nothing was written.")
    return "".join(",".join(f"{n:.{decimals}f}" for n in box) + "\n" for box in boxes.tolist())


def _times(seconds: Array) -> str:
    return "".join(f"{t:.6f}\n" for t in seconds.ravel())


def _zip(path: str | os.PathLike[str], files: Mapping[str, str]) -> None:
    """An archive whose bytes depend on what is in it alone."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in files.items():
            about = zipfile.ZipInfo(name)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            archive.writestr(about, content)
