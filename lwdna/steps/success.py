"""Draw success and precision of trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.config.methods import METHODS
from lwdna.data.sequence_files import SYNTHETIC
from lwdna.data.sequence_sets import open_sets
from lwdna.results.followed import Curves, plot_success
from lwdna.steps._json import Json
from lwdna.steps._options import FILE, bundle, images, scale, task
from lwdna.tasks.task import task_for
from lwdna.tracking.box_files import read_archive
from lwdna.tracking.following import curves, staying, videos_of

_found = bundle(
    "found",
    click.option(
        "--boxes",
        type=(str, str, FILE),
        multiple=True,
        required=True,
        help="Method, name of a test set, and boxes of one seed; again for each.",
    ),
    click.option(
        "--test",
        "sets",
        type=(str, FILE),
        multiple=True,
        required=True,
        help="Name and listing of a test set; may be given several times.",
    ),
    click.option(
        "--conventions", type=Json("conventions"), default="{}", help="By test set, how it counts."
    ),
    task,
)


@click.command()
@_found
@click.option("--title", default="", help="Of the figure.")
@scale
@images
def main(*, found: dict[str, Any], title: str, scale: str, outputs: tuple[Path, ...]) -> None:
    """Draw the shares of frames above each overlap, and within each error of the centre."""
    kind = task_for(found["task"]).kind
    tests, ways = {}, []
    for name, path in found["sets"]:
        sets = open_sets(path)
        way = found["conventions"].get(name, kind.conventions[0])
        stayed = curves(sets, staying(videos_of(sets)), way)
        if stayed is None:
            continue
        several = [] if kind.reference is None else [Curves("", kind.reference.title, [stayed])]
        for method in dict.fromkeys(m for m, test, _ in found["boxes"] if test == name):
            boxes = [read_archive(p) for m, t, p in found["boxes"] if (m, t) == (method, name)]
            runs = [run for run in (curves(sets, one, way) for one in boxes) if run is not None]
            several.append(Curves(method, kind.prefix + METHODS[method].title, runs))
        made = any(part.layout == SYNTHETIC for part in sets)
        tests[f"{name} (synthetic)" if made else name] = several
        ways.append(f"{name} as {way}")
    note = f"Means over the seeds. Counted: {', '.join(ways)}." if ways else ""
    plot_success(tests, outputs, title=title, note=note, scale=scale)
