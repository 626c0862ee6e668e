"""Frames of a user's own: a folder of images, or a video, which takes the extra ``video``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwdna.data.images import read_image
from lwdna.data.sequences import frames_in
from lwdna.errors import ConfigError, DataError, first_line


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
    if find_spec("av") is None or find_spec("imageio") is None:
        raise ConfigError(
            f"To read the video '{path}' takes the extra 'video'; run pip install 'lwdna[video]', "
            "or give a folder of its frames."
        )
    return _decoded(path)


def _decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
    import imageio.v3  # noqa: PLC0415, of the extra

    read = 0
    try:
        for frame in imageio.v3.imiter(path, plugin="pyav"):
            yield np.asarray(frame, np.uint8)
            read += 1
    # Of a stream whose codec it does not know PyAV asks for attributes of nothing.
    except (OSError, EOFError, ValueError, LookupError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"The video '{path}' cannot be decoded after {read} frames ({first_line(error)}); give "
            "another, or a folder of its frames."
        ) from error
    if not read:
        raise DataError(f"The video '{path}' holds no frame that can be decoded; give another.")
