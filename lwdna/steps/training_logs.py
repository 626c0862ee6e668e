"""Draw the training and testing logs."""

from __future__ import annotations

from typing import Any

import click
import pandas as pd

from lwdna.results.figures import plot_training_logs
from lwdna.steps._options import figure_of


@click.command()
@figure_of("histories")
def main(*, tables: pd.DataFrame, figure: dict[str, Any]) -> None:
    """Draw Fig. 1 from the HISTORIES of runs."""
    plot_training_logs(tables, **figure)
