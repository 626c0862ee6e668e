"""Files of boxes: as this package keeps them, and as the servers that evaluate trackers take them.

Nothing is cut to whole numbers.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwdna.data.sequences import read_boxes
from lwdna.errors import DataError
from lwdna.io.atomic import atomic, write_text

Array = NDArray[np.float64]


def write_boxes(path: str | PathLike[str], boxes: Array, decimals: int = 4) -> None:
    """Write boxes (N, 4), a line each: x, y, width, height in pixels, between commas.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    write_text(path, _lines(boxes, decimals))


def boxes_of(path: str | PathLike[str], frames: int) -> Array:
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


def write_got10k(
    path: str | PathLike[str],
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
        files[f"{name}/{name}_time.txt"] = "".join(f"{t:.6f}\n" for t in times)
    _zip(path, files)


def write_trackingnet(path: str | PathLike[str], boxes: Mapping[str, Array]) -> None:
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


def _zip(path: str | PathLike[str], files: Mapping[str, str]) -> None:
    """An archive whose bytes depend on what is in it alone."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in files.items():
            about = zipfile.ZipInfo(name)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            archive.writestr(about, content)
