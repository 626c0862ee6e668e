"""Draw the percentage of remaining channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_remaining_channels
from lwdna.steps._options import FILE, figure, read_tables, runs_of_files


@click.command()
@click.argument("channels", type=FILE, nargs=-1)
@runs_of_files
@figure
def main(*, channels: tuple[Path, ...], runs: dict[str, Any], figure: dict[str, Any]) -> None:
    """Draw Fig. 2 from the CHANNELS of shrunk networks."""
    plot_remaining_channels(read_tables(channels, runs), **figure)
