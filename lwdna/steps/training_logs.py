"""Draw the training and testing logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_training_logs
from lwdna.steps._options import FILE, Json, read_tables


@click.command()
@click.argument("histories", type=FILE, nargs=-1)
@click.option("--labels", type=Json(), required=True, help="By file: experiment, method, seed.")
@click.option("--experiments", type=Json(), required=True, help="Experiments to show.")
@click.option("--scale", default="", help="Label of a run that is not at the paper's scale.")
@click.option("--output", type=FILE, multiple=True, required=True, help="PNG or SVG to write.")
def main(
    *,
    histories: tuple[Path, ...],
    labels: dict[str, Any],
    experiments: dict[str, Any],
    scale: str,
    output: tuple[Path, ...],
) -> None:
    """Draw Fig. 1 from the HISTORIES of runs."""
    frame = read_tables(histories, labels)
    plot_training_logs(frame, output, experiments=experiments, scale=scale)
