"""Show networks that were measured at several widths and sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd

from lwdna.results.widths import plot_widths, write_widths
from lwdna.steps._options import figure_of, table_files


@click.command()
@figure_of("measured")
@table_files
def main(*, tables: pd.DataFrame, figure: dict[str, Any], files: dict[str, Path]) -> None:
    """Make a table and a figure of what networks MEASURED at several widths and sizes."""
    write_widths(tables, figure["experiments"], figure["scale"], **files)
    plot_widths(tables, **figure)
