"""The layouts in which data sets of tracking are published, one function each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lwdna.data.sequences import (
    Layout,
    ListedVideo,
    Video,
    frames_in,
    listed,
    read_boxes,
    read_flags,
    read_lines,
)
from lwdna.errors import ConfigError, DataError

OTB_RANGES: Mapping[str, tuple[int, int]] = {
    "David": (300, 770),
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
    "Diving": (1, 215),
}
"""First and last frame of the sequences of OTB that have a truth for some frames alone."""

OTB_TARGETS: Mapping[str, tuple[int, ...]] = {"Jogging": (1, 2), "Skating2": (1, 2), "Human4": (2,)}
"""Sequences of OTB with several objects, and the numbers of those that are followed."""


def otb100(folder: Path, split: str) -> Iterator[Video]:
    """OTB-100, all of which is for tests: ``NAME/img/0001.jpg``, ``NAME/groundtruth_rect.txt``.

    A sequence with several objects is one for each of them, such as "Jogging-1".
    """
    _only(split, "test", "OTB-100")
    for sequence in _folders(folder):
        first, last = OTB_RANGES.get(sequence.name, (0, None))
        frames = frames_in(sequence / "img", first, last)
        targets = OTB_TARGETS.get(sequence.name)
        named = [(sequence.name, "groundtruth_rect.txt")]
        if targets is not None:
            named = [(f"{sequence.name}-{t}", f"groundtruth_rect.{t}.txt") for t in targets]
        for name, truth in named:
            source = sequence / truth
            yield listed(name, frames, read_boxes(source), source)


def lasot(folder: Path, split: str) -> Iterator[Video]:
    """LaSOT: ``CLASS/CLASS-N/img/00000001.jpg``, ``groundtruth.txt`` and two files of flags.

    ``testing_set.txt`` of the data set names the sequences of its test; all others are trained on.
    """
    _only(split, ("train", "test"), "LaSOT")
    tested = set(read_lines(folder / "testing_set.txt"))
    for group in _folders(folder):
        for sequence in _folders(group):
            if (sequence.name in tested) != (split == "test"):
                continue
            source = sequence / "groundtruth.txt"
            hidden = [
                read_flags(sequence / f"{name}.txt") for name in ("full_occlusion", "out_of_view")
            ]
            boxes = read_boxes(source)
            for flags in hidden:
                _one_each(sequence, flags, boxes)
            visible = (hidden[0] == 0) & (hidden[1] == 0)
            files = frames_in(sequence / "img")
            yield listed(sequence.name, files, boxes, source, visible=visible, absent=True)


def got10k(folder: Path, split: str) -> Iterator[Video]:
    """GOT-10k: ``SPLIT/list.txt``, ``SPLIT/NAME/00000001.jpg``, ``groundtruth.txt`` and labels.

    Of its test only the first box is published.
    """
    _only(split, ("train", "val", "test"), "GOT-10k")
    for name in read_lines(folder / split / "list.txt"):
        sequence = folder / split / name
        source = sequence / "groundtruth.txt"
        boxes, files = read_boxes(source), frames_in(sequence)
        visible = None
        if split != "test":
            absent, cover = (read_flags(sequence / f"{n}.label") for n in ("absence", "cover"))
            for flags in (absent, cover):
                _one_each(sequence, flags, boxes)
            visible = (absent == 0) & (cover > 0)
        yield listed(name, files, boxes, source, visible=visible, first_only=split == "test")


def trackingnet(folder: Path, split: str) -> Iterator[Video]:
    """TrackingNet: ``TRAIN_0`` to ``TRAIN_11`` and ``TEST``, each with ``anno`` and ``frames``.

    The split is "train" for all parts that there are, or the name of one such as "TRAIN_3". Of its
    test only the first box is published.
    """
    parts = {"train": sorted(folder.glob("TRAIN_*")), "test": [folder / "TEST"]}
    for part in parts.get(split, [folder / split]):
        if not (part / "anno").is_dir():
            raise DataError(f"The folder '{part / 'anno'}' is missing; put the data set there.")
        for source in sorted((part / "anno").glob("*.txt")):
            files = frames_in(part / "frames" / source.stem)
            boxes = read_boxes(source)
            yield listed(source.stem, files, boxes, source, first_only=part.name == "TEST")


def uav123(folder: Path, split: str) -> Iterator[Video]:
    """UAV123, all of which is for tests: ``anno/UAV123/NAME.txt``, ``data_seq/UAV123/FOLDER``.

    Several sequences are parts of one folder: ``uav123.json`` says for each name its "folder_name",
    "start_frame" and "end_frame". Without this file every name has a folder of its own.
    """
    _only(split, "test", "UAV123")
    noted = folder / "uav123.json"
    parts = _parts(noted) if noted.is_file() else {}
    for source in sorted((folder / "anno/UAV123").glob("*.txt")):
        within, first, last = parts.get(source.stem, (source.stem, 0, None))
        place = folder / "data_seq/UAV123" / within
        if source.stem not in parts and not place.is_dir():
            raise DataError(
                f"The frames of '{source.stem}' have no folder '{place}' of their own, and "
                f"'{noted}' does not say which ones they are; put it there."
            )
        files = frames_in(place, first, last)
        yield listed(source.stem, files, read_boxes(source), source, absent=True)


def _parts(path: Path) -> dict[str, tuple[str, int, int]]:
    """By sequence the folder of its frames, the first and the last."""
    about = _json(path)
    try:
        return {
            name: (str(p["folder_name"]), int(p["start_frame"]), int(p["end_frame"]))
            for name, p in about.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"'{path}' does not say for each sequence its folder_name, start_frame and end_frame "
            f"({error!r}); replace it."
        ) from error


def nfs(folder: Path, split: str) -> Iterator[Video]:
    """Need for Speed, at 30 frames a second, for tests: ``NAME/30/NAME/00001.jpg``, ``NAME.txt``.

    A line has the number of the object, then left, upper, right and lower border. A truth of 240
    frames a second is that of every eighth of its lines.
    """
    _only(split, "test", "NFS")
    for sequence in _folders(folder):
        name = sequence.name
        source = sequence / "30" / f"{name}.txt"
        corners = read_boxes(source, slice(1, 5))
        files = frames_in(sequence / "30" / name)
        if len(corners) > 4 * len(files):
            corners = corners[::8]
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        yield listed(name, files, boxes, source, absent=True)


class CocoBoxes(Sequence[Video]):
    """The boxes of COCO's instances, each a picture of its own; those of crowds are left out.

    Args:
        folder: with ``annotations/instances_train2014.json`` and ``images/train2014``.
        split: "train" or "val".

    Raises:
        DataError: if a file is missing, or is not what COCO publishes.
    """

    def __init__(self, folder: Path, split: str) -> None:
        _only(split, ("train", "val"), "COCO")
        source = folder / f"annotations/instances_{split}2014.json"
        about = _json(source)
        self._folder = folder / f"images/{split}2014"
        try:
            self._names = {int(i["id"]): str(i["file_name"]) for i in about["images"]}
            alone = [a for a in about["annotations"] if not a.get("iscrowd", 0)]
            boxes = np.array([a["bbox"] for a in alone], np.float64).reshape(-1, 4)
            images = np.array([a["image_id"] for a in alone], np.int64)
            numbers = np.array([a["id"] for a in alone], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"'{source}' is not what COCO publishes ({error!r}); replace it."
            ) from error
        # Many are a line high or wide: nothing that could be followed.
        fits = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 1).all(axis=1)
        self._boxes, self._images, self._numbers = boxes[fits], images[fits], numbers[fits]
        unknown = set(self._images.tolist()) - self._names.keys()
        if unknown:
            raise DataError(
                f"'{source}' has boxes of image {min(unknown)}, which it does not name."
            )

    def __len__(self) -> int:
        return len(self._boxes)

    @overload
    def __getitem__(self, index: int) -> Video: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Video]: ...

    def __getitem__(self, index: int | slice) -> Video | Sequence[Video]:
        """A box as a video of one picture."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        file = self._folder / self._names[int(self._images[index])]
        name = f"coco-{self._numbers[index]}"
        return ListedVideo(name, [file], self._boxes[index][None], np.ones(1, bool), still=True)


LAYOUTS: Mapping[str, Layout] = {
    "coco": CocoBoxes,
    "got10k": got10k,
    "lasot": lasot,
    "nfs": nfs,
    "otb100": otb100,
    "trackingnet": trackingnet,
    "uav123": uav123,
}
"""By the name of the data set."""


def _only(split: str, allowed: str | tuple[str, ...], dataset: str) -> None:
    names = (allowed,) if isinstance(allowed, str) else allowed
    if split not in names:
        raise ConfigError(f"{dataset} has no split '{split}'; allowed: {', '.join(names)}.")


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _one_each(sequence: Path, flags: NDArray[np.float64], boxes: NDArray[np.float64]) -> None:
    if len(flags) != len(boxes):
        raise DataError(
            f"'{sequence}' has {len(boxes)} boxes, but {len(flags)} notes of what is visible; give "
            "one for each frame."
        )


def _json(path: Path) -> Any:
    try:
        return json.loads("\n".join(read_lines(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}' is no JSON ({error}); replace it by an intact one.") from error
