"""Make a table of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pandas as pd

from lwdna.config.sections import Experiment
from lwdna.results.layouts import layout_of
from lwdna.results.parts import Part
from lwdna.results.printed import read_paper
from lwdna.results.rendering import write_table
from lwdna.results.tables import make_table
from lwdna.steps._json import Json
from lwdna.steps._options import FILE, experiments, read_tables, scale, table_files
from lwdna.tasks.kinds import REFERENCES, tables

_references = click.option(
    "--references",
    type=Json("references"),
    default="{}",
    help="By experiment and test set: what to beat.",
)


_part = click.option(
    "--part",
    type=click.Choice([part.value for part in Part]),
    default=Part.RUNS.value,
    show_default=True,
    help="Rows to show: what was run, or all of the paper's.",
)


@click.command()
@click.argument("name", type=click.Choice([str(table) for table in tables()]))
@click.argument("metrics", type=FILE, nargs=-1)
@experiments
@_references
@click.option("--paper", type=FILE, help="The paper's numbers.")
@_part
@click.option("--complexity", type=FILE, required=True, help="Our counts of the baselines.")
@scale
@table_files
def main(
    *,
    name: str,
    metrics: tuple[Path, ...],
    experiments: dict[str, Any],
    references: dict[str, Any],
    paper: Path | None,
    part: str,
    complexity: Path,
    scale: str,
    files: dict[str, Any],
) -> None:
    """Make the table NAME from the METRICS of runs, ours beside the paper's.

    NAME is the number of a table of the paper, or a kind of task that has a table of its own.
    """
    table = next(table for table in tables() if str(table) == name)
    about = layout_of(table).paper
    measured = [read_tables(metrics), *_read_references(references, experiments)]
    frame = make_table(
        table,
        paper=None if paper is None else read_paper(paper, about.columns if about else ()),
        metrics=pd.concat(measured, ignore_index=True),
        complexity=read_tables([complexity]),
        experiments=experiments,
        scale=scale,
    )
    write_table(table, frame, scale, part=Part(part), **files)


def _read_references(
    references: Mapping[str, Mapping[str, str]], experiments: Mapping[str, Experiment]
) -> Iterator[pd.DataFrame]:
    """The results without a network, as rows of each experiment that is compared with them."""
    for name, files in references.items():
        reference = REFERENCES[experiments[name]["task"]["kind"]]
        run: dict[str, str | int] = {
            "experiment": name,
            "method": reference.name,
            "seed": 0,
        }
        for path in files.values():
            yield read_tables([Path(path)], {path: run})
