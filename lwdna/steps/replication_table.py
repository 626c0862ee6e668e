"""Put the sizes of networks shrunk again beside the paper's."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.errors import DataError
from lwdna.io.atomic import write_text
from lwdna.results.markdown import to_html
from lwdna.results.replication import summarise, to_markdown
from lwdna.steps._options import FILE, read_tables


@click.command()
@click.argument("number", type=click.IntRange(1, 3))
@click.argument("results", type=FILE, nargs=-1, required=True)
@click.option("--csv", type=FILE, required=True, help="File to write, for programs.")
@click.option("--markdown", type=FILE, required=True, help="File to write, for people.")
@click.option("--html", type=FILE, required=True, help="File to write, for the report.")
def main(*, number: int, results: tuple[Path, ...], csv: Path, markdown: Path, html: Path) -> None:
    """Make the complexity columns of Table NUMBER from the RESULTS of `lwdna replicate`."""
    frame = read_tables(results)
    frame = frame[frame["table"] == number]
    if frame.empty:
        raise DataError(f"None of the results belongs to Table {number}; give those that do.")
    summary = summarise(frame)
    text = to_markdown(number, summary)
    write_text(csv, summary.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    write_text(markdown, text)
    write_text(html, to_html(text))
