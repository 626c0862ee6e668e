"""Draw and animate frames with the boxes of trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.data.sequence_files import SYNTHETIC
from lwdna.data.sequence_sets import open_sets
from lwdna.results.followed import animate_frames, plot_frames
from lwdna.steps._options import FILE, bundle, images, scale, task
from lwdna.tasks.kinds import kind_of
from lwdna.tracking.box_files import read_archive
from lwdna.tracking.following import videos_of

_shown = bundle(
    "shown",
    click.option(
        "--boxes",
        type=(str, FILE),
        multiple=True,
        required=True,
        help="Method, and boxes of one seed; again for each method.",
    ),
    task,
    click.option("--test", type=FILE, required=True, help="Listing of the test set."),
    click.option(
        "--videos", type=click.IntRange(1), default=3, show_default=True, help="Rows, at most."
    ),
    click.option("--animation", type=FILE, help="WebP to write: all frames of the first video."),
)


@click.command()
@_shown
@click.option("--title", default="", help="Of the figure.")
@scale
@images
def main(*, shown: dict[str, Any], title: str, scale: str, outputs: tuple[Path, ...]) -> None:
    """Draw frames of the first videos of a test set, with the truth and what trackers found."""
    sets = open_sets(shown["test"])
    videos = videos_of(sets)[: shown["videos"]]
    about = "The first videos of the test set, at equal distances in time; first seed."
    if any(part.layout == SYNTHETIC for part in sets):
        # Beside the banner, which figures for papers have too.
        scale = " ".join(filter(None, (scale, "Synthetic motion over photographs.")))
    found = {method: read_archive(path) for method, path in shown["boxes"]}
    prefix = kind_of(shown["task"]).prefix
    plot_frames(videos, found, outputs, title=title, prefix=prefix, note=about, scale=scale)
    if shown["animation"] is not None:
        animate_frames(videos[0], found, shown["animation"])
