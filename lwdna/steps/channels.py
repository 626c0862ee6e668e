"""Draw the percentage of remaining channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.results.figures import plot_remaining_channels
from lwdna.steps._options import FILE, Json, read_tables


@click.command()
@click.argument("channels", type=FILE, nargs=-1)
@click.option("--labels", type=Json(), required=True, help="By file: experiment, seed.")
@click.option("--experiments", type=Json(), required=True, help="Experiments to show.")
@click.option("--scale", default="", help="Label of a run that is not at the paper's scale.")
@click.option("--output", type=FILE, multiple=True, required=True, help="PNG or SVG to write.")
def main(
    *,
    channels: tuple[Path, ...],
    labels: dict[str, Any],
    experiments: dict[str, Any],
    scale: str,
    output: tuple[Path, ...],
) -> None:
    """Draw Fig. 2 from the CHANNELS of shrunk networks."""
    frame = read_tables(channels, labels)
    plot_remaining_channels(frame, output, experiments=experiments, scale=scale)
