"""Figures of trackers: success and precision, frames with boxes, and these as an animation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb as rgb_of
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from lwdna.config.methods import METHODS
from lwdna.data.sequences import Video
from lwdna.errors import ConfigError, require_known
from lwdna.io.atomic import atomic
from lwdna.results.panels import FAINT, INK, Output, draw_panels
from lwdna.tracking.drawing import GREEN, with_box
from lwdna.tracking.metrics import OVERLAPS, PIXELS, Ope

ANIMATED = ".webp"
_RATE = 12
"""Frames a second of an animation."""

_WIDTH = 480
"""Pixels that frames of an animation are about as wide as, at least."""

Array = NDArray[np.float64]


class Curves(NamedTuple):
    """What a method was like on a test set."""

    method: str
    """A name of :data:`lwdna.config.methods.METHODS`, or of a reference."""
    title: str
    runs: Sequence[Ope]
    """Of its seeds."""

    @property
    def colour(self) -> str:
        """In figures."""
        return METHODS[self.method].colour if self.method in METHODS else FAINT


def plot_success(
    tests: Mapping[str, Sequence[Curves]],
    outputs: Sequence[Output],
    *,
    title: str,
    note: str,
    scale: str = "",
) -> None:
    """Success and precision plots: a row for each test set; lines are means over the seeds.

    Args:
        tests: by name of a test set, what each method was like.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        title: of the figure.
        note: how it was measured, for the small print.
        scale: the banner at the bottom, or empty.

    Raises:
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    shown = {one.method: one for several in tests.values() for one in several}
    legend = [Line2D([], [], color=one.colour, label=one.title) for one in shown.values()]

    def draw(grid: list[Axes]) -> None:
        for row, (name, several) in enumerate(tests.items()):
            success, precision = grid[2 * row : 2 * row + 2]
            _label(success, f"{name}: success", "Overlap threshold", "Frames above [%]")
            _label(precision, f"{name}: precision", "Error of the centre [pixels]", "Within [%]")
            for one in several:
                above = 100 * np.mean([run.success for run in one.runs], 0)
                within = 100 * np.mean([run.precisions for run in one.runs], 0)
                success.plot(OVERLAPS, above, color=one.colour)
                precision.plot(PIXELS, within, color=one.colour)

    count = 2 * len(tests)
    draw_panels(outputs, title, legend, [note, scale], draw, panels=count, columns=2, height=3.0)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(-2, 102)


def plot_frames(
    videos: Sequence[Video],
    found: Mapping[str, Mapping[str, Array]],
    outputs: Sequence[Output],
    *,
    title: str,
    prefix: str = "",
    note: str = "",
    scale: str = "",
    columns: int = 5,
) -> None:
    """Frames of some videos with the truth and what trackers found, a row for each video.

    Args:
        videos: to show, of ``columns`` frames each, at equal distances.
        found: by name of a method, its boxes (N, 4) by name of a video.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        title: of the figure.
        prefix: what stands before the methods' names.
        note: which videos and frames these are, for the small print.
        scale: the banner at the bottom, or empty.
        columns: frames of a video.

    Raises:
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    legend = [Line2D([], [], color="#{:02x}{:02x}{:02x}".format(*GREEN), label="truth")]
    legend += [
        Line2D([], [], color=METHODS[name].colour, label=prefix + METHODS[name].title)
        for name in found
    ]
    height, width = videos[0].frame(0).shape[:2]
    footer = [note, scale]
    tall = 10.0 / columns * height / width + 0.15

    def draw(grid: list[Axes]) -> None:
        for position, axes in enumerate(grid):
            video = videos[position // columns]
            last = len(video) - 1
            index = round(last * (position % columns) / (columns - 1))
            axes.imshow(_drawn(video, index, found), interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(f"frame {index + 1}", color=INK, fontsize="small", fontweight="normal")

    draw_panels(
        outputs,
        title,
        legend,
        footer,
        draw,
        panels=columns * len(videos),
        columns=columns,
        height=tall,
        gap=0.1,
    )


def animate_frames(
    video: Video, found: Mapping[str, Mapping[str, Array]], output: str | PathLike[str]
) -> None:
    """All frames of a video with the truth and what trackers found, as an animation.

    Args:
        video: to show.
        found: as in :func:`plot_frames`.
        output: path that ends in :data:`ANIMATED`.

    Raises:
        ConfigError: if it does not.
        LwdnaError: if the file cannot be written.
    """
    path = Path(output)
    require_known(path.suffix, (ANIMATED,), f"'{path}' is no animation;")
    frames = [Image.fromarray(_drawn(video, index, found, _WIDTH)) for index in range(len(video))]
    if not frames:
        raise ConfigError(f"'{video.name}' has no frame; show another video.")
    with atomic(path) as temporary:
        frames[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=frames[1:],
            duration=round(1000 / _RATE),
            loop=0,
            quality=80,
        )


def _drawn(
    video: Video, index: int, found: Mapping[str, Mapping[str, Array]], width: int = 0
) -> NDArray[np.uint8]:
    """A frame with the truth, where there is one, and a box of each method.

    A frame that is narrower than ``width`` is shown several times as large.
    """
    image = video.frame(index)
    zoom = max(1, round(width / image.shape[1]))
    image = image.repeat(zoom, 0).repeat(zoom, 1)
    boxes = [(video.boxes[index], GREEN)]
    for name, by_video in found.items():
        red, green, blue = (round(255 * part) for part in rgb_of(METHODS[name].colour))
        boxes.append((by_video[video.name][index], (red, green, blue)))
    for box, colour in boxes:
        if np.isfinite(box).all():
            image = with_box(image, (zoom * box).tolist(), colour)
    return image
