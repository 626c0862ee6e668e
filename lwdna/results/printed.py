"""The paper's rows as they are printed, and which of them an experiment reproduces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd

from lwdna.config.paper import PAPER_TABLES
from lwdna.errors import ConfigError, DataError, nearest
from lwdna.io import project
from lwdna.results.cells import as_text, require_columns, same
from lwdna.results.layouts import layout_of
from lwdna.tasks.kinds import Table


@dataclass(frozen=True)
class Printed:
    """A row of the paper on one test set; numbers are the text printed there, or empty."""

    dataset: str
    network: str
    method: str
    rho: str
    tau: str
    test_set: str
    value: str
    flops_g: str
    params_m: str

    @property
    def group(self) -> tuple[str, ...]:
        """What it has in common with rows of other methods and test sets."""
        return self.dataset, self.network, self.rho, self.tau


def read_paper(path: str | PathLike[str], columns: Collection[str] = ()) -> pd.DataFrame:
    """As :func:`lwdna.io.project.read_paper`, as a data frame, which must have some columns."""
    frame = pd.DataFrame(project.read_paper(path))
    require_columns(frame, set(columns), f"table '{path}'")
    return frame


def read_published(table: Table, path: str | PathLike[str]) -> pd.DataFrame:
    """As :func:`read_paper`, with columns for what all rows of a table are about."""
    paper = PAPER_TABLES.get(table)
    return read_paper(path).assign(**paper.about if paper else {})


def printed_rows(table: Table, paper: pd.DataFrame | None) -> list[Printed]:
    """The rows of the paper's table, one for each test set.

    Args:
        table: see :func:`lwdna.results.layouts.layout_of`.
        paper: from :func:`read_paper`; None where the paper has no such table.

    Raises:
        DataError: if the table or one of its columns is missing.
    """
    about = layout_of(table).paper
    if about is None:
        return []
    if paper is None:
        raise DataError(f"Table {table} needs the numbers of paper/table{table}.csv; give them.")
    require_columns(paper, about.columns, f"paper's table {table}")
    rows = []
    for record in paper.to_dict("records"):
        text = {str(name): as_text(value) for name, value in record.items()}
        text |= about.about
        names = {name: text.get(name, "") for name in ("dataset", "network", "method")}
        settings = {name: text.get(name, "") for name in ("rho", "tau")}
        counts = {name: text[name] for name in ("flops_g", "params_m")}
        rows += [
            Printed(
                **names,
                **settings,
                **counts,
                test_set=test_set or names["dataset"],
                value=text[column],
            )
            for column, test_set in about.values.items()
        ]
    return rows


def claimed(
    table: Table, printed: Sequence[Printed], name: str, experiment: Mapping[str, Any]
) -> set[tuple[str, ...]]:
    """The groups of a table's rows that an experiment reproduces.

    Args:
        table: see :func:`lwdna.results.layouts.layout_of`.
        printed: its rows.
        name: of the experiment.
        experiment: its section of the configuration.

    Raises:
        ConfigError: if the table has nothing about the network it names.
    """
    claim, layout = experiment.get("paper"), layout_of(table)
    if claim is None or layout.paper is None:
        return set()
    network, dataset = claim.get("network"), claim.get("dataset")
    rows = [
        row
        for row in printed
        if row.network == network and (not row.dataset or row.dataset == dataset)
    ]
    if not rows:
        given = " / ".join(str(part) for part in (dataset, network) if part)
        allowed = {" / ".join(filter(None, (row.dataset, row.network))) for row in printed}
        raise ConfigError(
            f"The experiment '{name}' says that it reproduces {given} of Table {table}, "
            f"which has no such row; {nearest(given, allowed)}"
        )
    settings = layout.settings_of(experiment)
    return {
        row.group
        for row in rows
        if all(same(ours, getattr(row, setting)) for setting, ours in settings.items())
    }
