"""Draw the percentage of remaining channels."""

from __future__ import annotations

from typing import Any

import click
import pandas as pd

from lwdna.results.figures import plot_remaining_channels
from lwdna.steps._options import figure_of


@click.command()
@figure_of("channels")
def main(*, tables: pd.DataFrame, figure: dict[str, Any]) -> None:
    """Draw Fig. 2 from the CHANNELS of shrunk networks."""
    plot_remaining_channels(tables, **figure)
