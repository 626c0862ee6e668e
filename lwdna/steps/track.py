"""Follow an object through a video or a folder of frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import tee
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict

import click
import numpy as np
from numpy.typing import NDArray

from lwdna.data.videos import check_writable, count_frames, read_frames, write_frames
from lwdna.errors import ConfigError
from lwdna.io.atomic import require_writable
from lwdna.io.logs import progress
from lwdna.networks.own import maker
from lwdna.steps._options import ANY_PATH, FILE, bundle, check_suffix, own_network, seed, threads
from lwdna.tracking.box_files import write_boxes
from lwdna.tracking.dimp import read_backbone
from lwdna.tracking.drawing import with_box
from lwdna.tracking.online import Tracker, follow, load

logger = logging.getLogger(__name__)


class Box(click.ParamType):  # type: ignore[type-arg]
    """A box on the command line: x,y,w,h."""

    name = "x,y,w,h"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse; what is no box is a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            box = tuple(map(float, str(value).split(",")))
        except ValueError:
            box = ()
        if len(box) != 4:
            self.fail(
                f"{value!r} is not a box; give four numbers such as 120,80,40,60: left edge, upper "
                "edge, width and height in pixels."
            )
        return box


_written = bundle(
    "written",
    click.option(
        "--output", type=ANY_PATH, help="Video to write, or folder of frames; with boxes."
    ),
    click.option("--boxes", type=FILE, help="CSV to write: x,y,w,h in pixels, a line a frame."),
)


class Written(TypedDict):
    """What is written of an object that was followed."""

    output: Path | None
    boxes: Path | None


@click.command()
@click.argument("video", type=ANY_PATH)
@click.option("--init-box", "box", type=Box(), required=True, help="The object, first frame.")
@click.option("--model", type=FILE, required=True, help="Weights of a tracker.")
@_written
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@own_network
@seed
@threads
def main(
    *,
    video: Path,
    box: tuple[float, ...],
    model: Path,
    written: Written,
    device: str,
    network: str | None,
    seed: int,
) -> None:
    """Follow the object in a box of the first frame through VIDEO, which may be a folder.

    The frames of a folder are images whose names end in their number. Videos take the extra
    'video'.
    """
    _check(written, video)
    frames = read_frames(video)
    own = maker(model, network, read_backbone(model))
    tracker = load(model, own, seed=seed, device=device)
    _follow(tracker, frames, box, video, **written)


def _check(written: Written, video: Path) -> None:
    """Refuse what could not be written before anything is computed."""
    if written["output"] is None and written["boxes"] is None:
        raise ConfigError("Nothing would be written; give --boxes, --output, or both.")
    if written["boxes"] is not None:
        check_suffix(written["boxes"], ".csv")
    if written["output"] is not None:
        check_writable(written["output"], video)
    for path in (written["boxes"], written["output"]):
        if path is not None:
            require_writable(path.parent)


def _follow(
    tracker: Tracker,
    frames: Iterator[NDArray[np.uint8]],
    box: Sequence[float],
    video: Path,
    *,
    output: Path | None,
    boxes: Path | None,
) -> None:
    """Follow the object, and write what was asked for once all frames are done."""
    found = []
    seen, shown = tee(frames)
    with ExitStack() as stack:
        write = None if output is None else stack.enter_context(write_frames(output, video))
        bar = progress(total=count_frames(video), description="track", unit="frame")
        stack.enter_context(bar)
        started = perf_counter()
        for at, frame in zip(follow(tracker, seen, box, video.name), shown, strict=False):
            found.append(at)
            if write is not None:
                write(with_box(frame, at.tolist()))
            bar.update()
        seconds = perf_counter() - started
        if boxes is not None:
            write_boxes(boxes, np.stack(found))
    logger.info("%d frames, %.1f frames per second.", len(found), len(found) / seconds)
