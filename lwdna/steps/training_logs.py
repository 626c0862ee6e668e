"""Draw the training and testing logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_training_logs
from lwdna.steps._options import FILE, figure, labels, read_tables


@click.command()
@click.argument("histories", type=FILE, nargs=-1)
@labels
@figure
def main(*, histories: tuple[Path, ...], labels: dict[str, Any], figure: dict[str, Any]) -> None:
    """Draw Fig. 1 from the HISTORIES of runs."""
    plot_training_logs(read_tables(histories, labels), **figure)
