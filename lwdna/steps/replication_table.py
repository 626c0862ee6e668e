"""Put the sizes of networks shrunk again beside the paper's."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.errors import DataError
from lwdna.results.markdown import write_page
from lwdna.results.replication import summarise, to_page
from lwdna.steps._options import FILE, read_tables, table_files


@click.command()
@click.argument("number", type=click.IntRange(1, 3))
@click.argument("results", type=FILE, nargs=-1, required=True)
@table_files
def main(*, number: int, results: tuple[Path, ...], files: dict[str, Path]) -> None:
    """Make the complexity columns of Table NUMBER from the RESULTS of `lwdna replicate`."""
    frame = read_tables(results)
    frame = frame[frame["table"] == number]
    if frame.empty:
        raise DataError(f"None of the results belongs to Table {number}; give those that do.")
    summary = summarise(frame)
    data = summary.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_page(to_page(number, summary), data, **files)
