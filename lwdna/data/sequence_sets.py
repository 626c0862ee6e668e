"""Sets of videos as datasets: published ones where they lie, and motion made over photographs."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lwdna.data.images import read_image
from lwdna.data.motion import Motion, SyntheticVideo
from lwdna.data.photographs import installed
from lwdna.data.sequence_files import SYNTHETIC, read_sets, write_sets
from lwdna.data.sequence_layouts import LAYOUTS
from lwdna.data.sequences import Video, open_sequences, read_lines
from lwdna.errors import ConfigError, DataError


class OpenSet(NamedTuple):
    """Videos of one layout."""

    videos: Sequence[Video]
    weight: float
    """By which one of them is drawn, against those of the other sets."""
    layout: str


def lay_out(source: Sequence[Mapping[str, Any]], output: Path, *, split: str) -> None:
    """Check sets of videos, and list them.

    Args:
        source: of each its ``layout``, and the ``folder`` where it lies, the ``split`` if it is
            another than this one, and ``without``, a file of names to leave out; or, of the
            layout :data:`SYNTHETIC`, the names of ``photographs``, how many ``videos`` are made,
            ``motion``, how, and ``seed``. ``weight`` is the chance of the set in training.
        output: the listing to write.
        split: "train" or "test".

    Raises:
        ConfigError, DataError: if a set lacks something, is not there, or does not fit.
    """
    sets = [_complete(section, split) for section in source]
    opened = [_opened(section) for section in sets]
    digest = hashlib.sha256()
    names: Counter[str] = Counter()
    for section, videos in zip(sets, opened, strict=True):
        share = (section["layout"], float(section["weight"]), len(videos))
        digest.update(repr(share).encode())
        for video in videos:
            names[video.name] += 1
            digest.update(f"{video.name} {len(video)}\n".encode())
            digest.update(video.boxes.tobytes() + video.visible.tobytes())
        if section["layout"] == SYNTHETIC:
            for name, image in sorted(_photographs(section).items()):
                digest.update(name.encode() + image.tobytes())
            digest.update(repr((section["seed"], Motion(**section["motion"]))).encode())
    (name, many) = names.most_common(1)[0]
    if split == "test" and many > 1:
        raise DataError(
            f"{many} videos of a test set are called '{name}'; put them into different datasets."
        )
    write_sets(output, sets, digest.hexdigest()[:16])


def open_sets(path: str | os.PathLike[str]) -> list[OpenSet]:
    """The videos of a listing.

    Raises:
        ConfigError, DataError: if the listing is damaged, or the videos are not there any more.
    """
    return [
        OpenSet(_opened(section), float(section["weight"]), str(section["layout"]))
        for section in read_sets(path)[0]
    ]


def _complete(section: Mapping[str, Any], split: str) -> dict[str, Any]:
    """A set with all that its layout needs, and nothing that it does not take."""
    layout = section.get("layout")
    made = layout == SYNTHETIC
    needs = {"photographs", "videos"} if made else {"folder"}
    takes = {"motion", "seed"} if made else {"split", "without"}
    for key in sorted(needs - set(section)):
        raise ConfigError(f"A set of videos of the layout '{layout}' lacks '{key}'; add it.")
    for key in sorted(set(section) - needs - takes - {"layout", "weight"}):
        raise ConfigError(
            f"A set of videos of the layout '{layout}' takes no '{key}'; leave it out."
        )
    defaults: dict[str, Any] = {"motion": {}, "seed": 0} if made else {"split": split}
    return {"weight": 1.0, **defaults, **section}


def _opened(section: Mapping[str, Any]) -> Sequence[Video]:
    if section["layout"] == SYNTHETIC:
        photographs, motion = _photographs(section), Motion(**section["motion"])
        seed = section["seed"]
        return [
            SyntheticVideo(photographs, seed, number, motion) for number in range(section["videos"])
        ]
    without = read_lines(Path(section["without"])) if "without" in section else ()
    folder = Path(section["folder"])
    return open_sequences(LAYOUTS, section["layout"], folder, section["split"], without=without)


def _photographs(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: read_image(installed(name)) for name in section["photographs"]}
