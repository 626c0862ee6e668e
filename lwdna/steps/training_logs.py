"""Draw the training and testing logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_training_logs
from lwdna.steps._options import FILE, figure, read_tables, runs_of_files


@click.command()
@click.argument("histories", type=FILE, nargs=-1)
@runs_of_files
@figure
def main(*, histories: tuple[Path, ...], runs: dict[str, Any], figure: dict[str, Any]) -> None:
    """Draw Fig. 1 from the HISTORIES of runs."""
    plot_training_logs(read_tables(histories, runs), **figure)
