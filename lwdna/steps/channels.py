"""Draw the percentage of remaining channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_remaining_channels
from lwdna.steps._options import FILE, figure, labels, read_tables


@click.command()
@click.argument("channels", type=FILE, nargs=-1)
@labels
@figure
def main(*, channels: tuple[Path, ...], labels: dict[str, Any], figure: dict[str, Any]) -> None:
    """Draw Fig. 2 from the CHANNELS of shrunk networks."""
    plot_remaining_channels(read_tables(channels, labels), **figure)
