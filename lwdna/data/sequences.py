"""Videos of one object each, from the layouts in which data sets of tracking are published.

They are listed and checked where they lie, and never repacked; frames are read when they are asked
for. Boxes are x, y, width, height in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lwdna.data.images import image_size, is_image, read_image
from lwdna.errors import DataError, require, require_known

Array = NDArray[np.float64]


class Video(Protocol):
    """A video of one object, whose frames are read when they are asked for."""

    @property
    def name(self) -> str:
        """What the video is called in results."""

    @property
    def still(self) -> bool:
        """Whether it is a single picture, to be shown several times."""

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(N, 4): x, y, width, height in pixels; NaN where nothing is known."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(N,): whether the object can be seen, as far as the data set says."""

    def __len__(self) -> int:
        """N, the number of frames."""

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, uint8 (H, W) or (H, W, 3)."""


@dataclass(frozen=True)
class ListedVideo:
    """A video whose frames are image files."""

    name: str
    files: Sequence[Path]
    boxes: Array
    """(N, 4); NaN where nothing is known."""
    visible: NDArray[np.bool_]
    """(N,)."""
    still: bool = False

    def __len__(self) -> int:
        return len(self.files)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, uint8 (H, W) or (H, W, 3)."""
        return read_image(self.files[index], cmyk=True)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first frame, in pixels."""
        return image_size(self.files[0], cmyk=True)


def listed(
    name: str,
    files: Sequence[Path],
    boxes: Array,
    source: Path,
    *,
    visible: NDArray[np.bool_] | None = None,
    absent: bool = False,
    first_only: bool = False,
) -> ListedVideo:
    """A video whose truth and frames fit each other.

    Args:
        name: of the video.
        files: its frames, in order.
        boxes: (N, 4) of its truth.
        source: the file of these, for messages.
        visible: (N,), where the data set says; else wherever there is a box of some size.
        absent: whether a truth may be NaN, where the object is not in the picture.
        first_only: whether only the box of the first frame is published.

    Raises:
        DataError: if they do not.
    """
    if len(files) < 2:
        raise DataError(
            f"The sequence '{name}' has {len(files)} frames; to follow an object takes two or more."
        )
    if first_only and len(boxes) == 1:
        boxes = np.concatenate([boxes, np.full((len(files) - 1, 4), np.nan)])
        absent = True
    for what, values in (("boxes", boxes), ("notes of what is visible", visible)):
        if values is not None and len(values) != len(files):
            raise DataError(
                f"The sequence '{name}' has {len(files)} frames, but {len(values)} {what} "
                f"('{source}'); give one for each frame."
            )
    known: NDArray[np.bool_] = np.isfinite(boxes).min(1)
    if not (known[0] and (boxes[0, 2:] > 0).min()):
        raise DataError(
            f"The first box of the sequence '{name}' is {_said(boxes[0])} ('{source}'); an object "
            "is shown by a box of some size."
        )
    if not absent and not known.min():
        frame = int(known.argmin())
        raise DataError(
            f"Box {frame + 1} of the sequence '{name}' is {_said(boxes[frame])} ('{source}'); give "
            "four numbers."
        )
    # Where the object is out of sight some data sets have a box of no size.
    seen = known & (boxes[:, 2:] > 0).all(1)
    return ListedVideo(name, files, boxes, seen if visible is None else seen & visible)


def _said(box: Array) -> str:
    return "(" + ", ".join(f"{number:g}" for number in box) + ")"


def read_boxes(path: Path, columns: slice = slice(0, 4)) -> Array:
    """Boxes of a text file, one a line, between commas, tabs, semicolons or blanks: (N, 4).

    Args:
        path: the file.
        columns: in which the four numbers are.

    Raises:
        DataError: if it is missing, or a line is something else.
    """
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        words = re.split(r"[,;\s]+", line.strip(" ,;\t"))[columns]
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != 4:
            raise DataError(
                f"Line {number} of '{path}' is '{line[:60]}', which is no box; give four numbers."
            )
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, 4)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        DataError: if it is missing or no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"'{path}' is missing; put the data set there as it was published."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read ({error}); replace it by an intact one."
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_flags(path: Path) -> NDArray[np.float64]:
    """Numbers of a text file, one for each frame, on one line or on many: (N,).

    Raises:
        DataError: if it is missing, or holds something else.
    """
    words = [w for line in read_lines(path) for w in re.split(r"[,;\s]+", line) if w]
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise DataError(f"'{path}' holds something that is no number ({error}).") from error


def frames_in(folder: Path, first: int = 0, last: int | None = None) -> list[Path]:
    """The images in a folder whose numbers lie in a range, in the order of these numbers.

    Raises:
        DataError: if the folder is missing, or a frame's name has no number, or two have the same.
    """
    if not folder.is_dir():
        raise DataError(f"The folder of frames '{folder}' is missing; put the data set there.")
    numbered: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not is_image(path.name):
            continue
        numbers = re.findall(r"\d+", path.stem)
        if not numbers or int(numbers[-1]) in numbered:
            raise DataError(
                f"The frame '{path}' has no number of its own; let names end in the number of the "
                "frame."
            )
        numbered[int(numbers[-1])] = path
    inside = (n for n in sorted(numbered) if n >= first and (last is None or n <= last))
    return [numbered[n] for n in inside]


def folder_of_frames(folder: Path, box: Sequence[float] | None = None) -> ListedVideo:
    """A folder of frames of the user's own, in the order of their numbers.

    Args:
        folder: of images.
        box: (4,) of the object in the first frame, where it is known.

    Raises:
        ConfigError: if the box is none.
        DataError: if there are fewer than two, or their names do not tell their order.
    """
    files = frames_in(folder)
    if len(files) < 2:
        raise DataError(f"The folder '{folder}' has {len(files)} frames; it takes two or more.")
    boxes = np.full((len(files), 4), np.nan)
    if box is not None:
        sized = len(box) == 4 and bool(np.isfinite(box).all()) and min(box[2:]) > 0
        require(
            sized, "The first box", str(list(box)), "x, y, width and height, the last two above 0"
        )
        boxes[0] = box
    return ListedVideo(folder.name, files, boxes, np.isfinite(boxes).min(1))


Layout = Callable[[Path, str], Iterable[Video] | Sequence[Video]]
"""Makes the videos of a split of a data set in a folder."""


def open_sequences(
    layouts: Mapping[str, Layout],
    kind: str,
    folder: Path,
    split: str,
    *,
    without: Iterable[str] = (),
) -> Sequence[Video]:
    """The videos of a data set, checked.

    Args:
        layouts: those that there are (:data:`lwdna.data.sequence_layouts.LAYOUTS`).
        kind: the name of one.
        folder: of the data set.
        split: "train", "val" or "test", as far as the data set has it.
        without: names of videos that are left out.

    Raises:
        ConfigError: if there is no such layout or split.
        DataError: if something is missing or does not fit, or there is no video.
    """
    require_known(kind, layouts, f"There is no layout '{kind}':")
    if not folder.is_dir():
        raise DataError(f"The folder '{folder}' is missing; put the data set there.")
    left_out = set(without)
    found = layouts[kind](folder, split)
    if left_out or not isinstance(found, Sequence):
        found = [video for video in found if video.name not in left_out]
    if not found:
        raise DataError(
            f"'{folder}' holds no sequence for '{split}'; put the data set there as it was "
            "published."
        )
    return found
