"""Draw the training and testing logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_training_logs
from lwdna.steps._histories import experiments_of, found
from lwdna.steps._json import Json
from lwdna.steps._options import ANY_PATH, bundle, images, read_tables, scale

_histories = bundle(
    "histories",
    click.argument("histories", type=ANY_PATH, nargs=-1),
    click.option(
        "--labels",
        "runs",
        type=Json("runs"),
        help="By file: experiment, method, seed.  [default: as the paths say]",
    ),
)


@click.command()
@_histories
@click.option(
    "--experiments", type=Json("experiments"), help="Experiments to show.  [default: all]"
)
@scale
@images
def main(
    *,
    histories: dict[str, Any],
    experiments: dict[str, Any] | None,
    scale: str,
    outputs: Sequence[Path],
) -> None:
    """Draw Fig. 1 from the HISTORIES of runs, which may be at work.

    A folder stands for all trainings of the run in it, and nothing for this folder.
    """
    runs, files = histories["runs"], histories["histories"]
    if runs is None:
        runs = found(files)
        files = [Path(path) for path in runs]
    tables = read_tables(files, runs)
    shown = experiments_of(runs.values()) if experiments is None else experiments
    plot_training_logs(tables, outputs, experiments=shown, scale=scale)
