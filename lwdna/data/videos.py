"""Frames of a user's own: a folder of images, or a video, which takes the extra ``video``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwdna.data.images import read_image, write_image
from lwdna.data.sequences import frames_in
from lwdna.errors import ConfigError, DataError, first_line
from lwdna.io.atomic import atomic, atomic_folder

WRITTEN = (".mp4", ".mkv", ".mov")
"""Endings of videos that are written, as H.264."""

_BROKEN = (OSError, EOFError, ValueError, LookupError, RuntimeError, AttributeError)
"""Of a damaged video; of a stream whose codec it does not know PyAV asks for parts of nothing."""


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a folder, in the order of the numbers in their names, or of a video, in turn.

    Args:
        path: the folder or video.

    Returns:
        uint8, (H, W) for gray images or (H, W, 3), one after the other.

    Raises:
        ConfigError: if a video is given and the extra ``video`` is not installed.
        DataError: if there is no such folder or video, it holds no frame, or one cannot be decoded.
    """
    if path.is_dir():
        frames = frames_in(path)
        if not frames:
            raise DataError(f"The folder '{path}' holds no image; give one of frames.")
        return map(read_image, frames)
    if not path.is_file():
        raise DataError(f"There is no video or folder of frames '{path}'; check the path.")
    _require_extra(f"To read the video '{path}'", "give a folder of its frames")
    return _decoded(path)


def _decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
    import imageio.v3  # noqa: PLC0415, of the extra

    read = 0
    try:
        for frame in imageio.v3.imiter(path, plugin="pyav"):
            yield np.asarray(frame, np.uint8)
            read += 1
    except _BROKEN as error:
        raise _undecodable(path, read, error) from error
    if not read:
        raise DataError(f"The video '{path}' holds no frame that can be decoded; give another.")


def _undecodable(path: Path, read: int, error: Exception) -> DataError:
    return DataError(
        f"The video '{path}' cannot be decoded after {read} frames ({first_line(error)}); give "
        "another, or a folder of its frames."
    )


def count_frames(path: Path) -> int | None:
    """How many frames a folder has; None for a video, which is not known before it is read."""
    return len(frames_in(path)) if path.is_dir() else None


def check_writable(path: Path, source: Path) -> None:
    """Refuse what :func:`write_frames` could not write, before anything is computed.

    Args:
        path: to be written: a video, or a folder if the name has no ending.
        source: video or folder that the frames come from, which stays as it is.

    Raises:
        ConfigError: if it is no video that can be written, or the extra ``video`` is not installed.
        DataError: if it is the source, or a folder that is there already.
    """
    if path.resolve() == source.resolve():
        raise DataError(f"'{path}' is what the frames are read from; give another output.")
    if not path.suffix:
        if path.exists() and (path.is_file() or any(path.iterdir())):
            raise DataError(f"'{path}' is there already; delete it, or give another output.")
        return
    if path.is_dir() or path.suffix.lower() not in WRITTEN:
        raise ConfigError(
            f"'{path}' is no video that can be written; let its name end in one of "
            f"{', '.join(WRITTEN)}, or give a name without an ending for a folder of frames."
        )
    _require_extra(
        f"To write the video '{path}'", "give a name without an ending for a folder of frames"
    )


@contextmanager
def write_frames(path: Path, source: Path) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Write frames to a video or to a folder of PNG files, whole or not at all.

    A video has as many frames a second as its source, 25 if that is a folder; where a side is odd,
    its last row or column is there twice, since H.264 has even ones.

    Args:
        path: to be written: a video, or a folder if the name has no ending.
        source: video or folder that the frames come from.

    Yields:
        What writes the next frame, uint8 (H, W, 3).

    Raises:
        ConfigError, DataError: as :func:`check_writable`.
        LwdnaError: if it cannot be written.
    """
    check_writable(path, source)
    if not path.suffix:
        with atomic_folder(path) as folder:
            numbers = count(1)
            yield lambda image: write_image(folder / f"{next(numbers):08d}.png", image)
        return
    import imageio.v3  # noqa: PLC0415, of the extra

    rate = _rate_of(source)
    with (
        atomic(path) as temporary,
        imageio.v3.imopen(temporary, "w", plugin="pyav") as film,
    ):
        film.init_video_stream("libx264", fps=rate)

        def write(image: NDArray[np.uint8]) -> None:
            height, width = image.shape[:2]
            even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            film.write_frame(even)

        yield write


def _rate_of(source: Path) -> float:
    """Frames per second of a video, as it says."""
    import imageio.v3  # noqa: PLC0415, of the extra

    if source.is_dir():
        return 25.0
    try:
        return float(imageio.v3.immeta(source, plugin="pyav").get("fps") or 25)
    except _BROKEN as error:
        raise _undecodable(source, 0, error) from error


def _require_extra(what: str, instead: str) -> None:
    if find_spec("av") is None or find_spec("imageio") is None:
        raise ConfigError(
            f"{what} takes the extra 'video'; run pip install 'lwdna[video]', or {instead}."
        )
