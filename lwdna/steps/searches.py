"""Draw the ways of searches."""

from __future__ import annotations

from typing import Any

import click
import pandas as pd

from lwdna.results.searches import plot_searches
from lwdna.steps._options import figure_of


@click.command()
@figure_of("records")
def main(*, tables: pd.DataFrame, figure: dict[str, Any]) -> None:
    """Draw what AutoSlim and MetaPruning noted in their RECORDS, step by step."""
    plot_searches(tables, **figure)
