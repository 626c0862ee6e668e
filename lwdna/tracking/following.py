"""A test set: the objects of all its videos followed, and how well."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwdna.data.sequence_sets import OpenSet
from lwdna.data.sequences import Video
from lwdna.errors import DataError, require_known
from lwdna.tracking.box_files import boxes_of, read_seconds, write_boxes, write_seconds
from lwdna.tracking.metrics import Followed, Ope, got10k, ope
from lwdna.tracking.online import Online, Tracker, follow

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


def read_online(values: Mapping[str, Any]) -> Online:
    """How a tracker is used, of the section ``online`` of a task.

    Args:
        values: settings of :class:`lwdna.tracking.online.Online`; those of a part of it, such as
            ``refinement``, are a mapping.

    Raises:
        ConfigError: if one does not exist.
    """
    return _read(Online, values)  # type: ignore[no-any-return]


def _read(cls: Any, values: Mapping[str, Any]) -> Any:
    known = {entry.name: entry for entry in fields(cls)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        require_known(name, known, f"There is no setting '{name}' of a tracker's use;")
        part: Any = known[name].default_factory
        inner = isinstance(value, Mapping) and isinstance(part, type)
        given[name] = _read(part, value) if inner else value
    return cls(**given)


def videos_of(sets: Iterable[OpenSet]) -> list[Video]:
    """The videos of a test set, in order."""
    return [*chain.from_iterable(part.videos for part in sets)]


def follow_all(
    tracker: Tracker, videos: Sequence[Video], folder: Path, after: Callable[[int], object]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Follow the object of each video, and note what was found; what is noted is not done again.

    A video that was interrupted is followed once more from its beginning, to the same boxes.

    Args:
        tracker: that follows.
        videos: of a test set.
        folder: of the notes, for this tracker and test set alone.
        after: told the frames of each video, once it is done.

    Returns:
        By name of a video, its boxes (N, 4) and the seconds of each frame (N,).

    Raises:
        DataError: if frames of a video do not fit, or a note is damaged.
        LwdnaError: if a note cannot be written.
    """
    boxes: dict[str, Array] = {}
    seconds: dict[str, Array] = {}
    for video in videos:
        place, times = folder / f"{video.name}.txt", folder / f"{video.name}_time.txt"
        # The boxes are written last.
        if not place.exists():
            found, took = _followed(tracker, video)
            write_seconds(times, took)
            write_boxes(place, found)
        boxes[video.name] = boxes_of(place, len(video))
        seconds[video.name] = read_seconds(times, len(video))
        after(len(video))
    return boxes, seconds


def _followed(tracker: Tracker, video: Video) -> tuple[Array, Array]:
    found, took = [], []
    frames = (video.frame(index) for index in range(len(video)))
    started = perf_counter()
    for box in follow(tracker, frames, video.boxes[0].tolist(), video.name):
        found.append(box)
        took.append(perf_counter() - started)
        started = perf_counter()
    return np.stack(found), np.array(took)


def staying(videos: Sequence[Video]) -> dict[str, Array]:
    """By name of a video, the box of its first frame, for every frame: (N, 4)."""
    return {video.name: np.repeat(video.boxes[:1], len(video), 0) for video in videos}


def told(sets: Sequence[OpenSet], boxes: Mapping[str, Array]) -> list[Followed]:
    """The videos of a test set whose truth is published, with boxes that were found.

    Raises:
        DataError: if there are none for a video.
    """
    found = []
    for video in videos_of(sets):
        if not np.isfinite(video.boxes[1:]).all(1).any():
            continue
        if video.name not in boxes:
            raise DataError(f"There are no boxes of '{video.name}'; follow the test set again.")
        height, width = video.frame(0).shape[:2]
        predicted = boxes[video.name]
        entry = Followed(video.name, predicted, video.boxes, video.visible, (height, width))
        found.append(entry)
    return found


def curves(sets: Sequence[OpenSet], boxes: Mapping[str, Array], convention: str) -> Ope | None:
    """Success and precision on a test set; None where no truth is published."""
    followed = told(sets, boxes)
    layouts = {part.layout for part in sets}
    return (
        ope(followed, convention, layouts.pop() if len(layouts) == 1 else "") if followed else None
    )


def measured(
    sets: Sequence[OpenSet], boxes: Mapping[str, Array], convention: str
) -> dict[str, float]:
    """The measures of a test set, in percent, and ``n``, its videos; that is 0 without a truth.

    Args:
        sets: of the test set.
        boxes: by name of a video, (N, 4).
        convention: a name of :data:`lwdna.tracking.metrics.CONVENTIONS`.

    Raises:
        ConfigError: if there is no such convention.
        DataError: if boxes are missing or do not fit.
    """
    one_pass = curves(sets, boxes, convention)
    if one_pass is None:
        return {"n": 0}
    pooled = got10k(told(sets, boxes))
    shares = {
        "ao": pooled.ao,
        "sr50": pooled.sr50,
        "sr75": pooled.sr75,
        "success_auc": one_pass.success_auc,
        "precision": one_pass.precision,
        "normalised_precision": one_pass.normalised_precision,
    }
    return {**{name: 100 * share for name, share in shares.items()}, "n": one_pass.sequences}
