"""Write the report of a run."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.results.report import Shown, Tabled, read_page, write_report
from lwdna.steps._options import FILE, FOLDER, output, scale
from lwdna.tasks.kinds import tables as names_of_tables


@click.command()
@click.option(
    "--table",
    "tables",
    type=(click.Choice([str(table) for table in names_of_tables()]), FILE, FILE),
    metavar="NAME CSV MARKDOWN",
    multiple=True,
    help="A table of `lwdna table`; again for each.",
)
@click.option("--page", "pages", type=FILE, multiple=True, help="Markdown to show folded; again.")
@click.option(
    "--figure", "figures", type=(str, FILE), metavar="TITLE FILE", multiple=True,
    help="PNG, GIF or WebP; again for each.",
)  # fmt: skip
@click.option("--benchmarks", type=FOLDER, help="Where time and memory of jobs are noted.")
@scale
@output
def main(
    *,
    tables: tuple[tuple[str, Path, Path], ...],
    pages: tuple[Path, ...],
    figures: tuple[tuple[str, Path], ...],
    benchmarks: Path | None,
    scale: str,
    output: Path,
) -> None:
    """Write one page that stands alone: what a run gave, its figures, tables, and jobs by stage."""
    known = {str(table): table for table in names_of_tables()}
    write_report(
        output,
        tables=[Tabled.read(known[name], csv, page) for name, csv, page in tables],
        pages=[read_page(page) for page in pages],
        figures=[Shown(title, path) for title, path in figures],
        benchmarks=benchmarks,
        scale=scale,
    )
