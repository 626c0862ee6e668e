"""The paper's tables: what their files say, and of which networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lwdna.io.project import paper_table, read_paper
from lwdna.tasks.kinds import Table


@dataclass(frozen=True)
class PaperTable:
    """How the file of a table of the paper is read."""

    names: tuple[str, ...]
    """Its columns that tell a row from the others."""
    values: Mapping[str, str]
    """By column of a result, the test set it was obtained on; empty for the row's dataset."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What all of its rows are about and it has no columns for."""

    @property
    def columns(self) -> set[str]:
        """What its file must have."""
        return {*self.names, *self.values, "flops_g", "params_m"}


PAPER_TABLES: Mapping[Table, PaperTable] = {
    1: PaperTable(("dataset", "network", "method"), {"top1_error_percent": ""}),
    2: PaperTable(
        ("network", "method"), {"psnr_bsd68_db": "bsd68", "psnr_div2k_db": "div2k-valid"}
    ),
    3: PaperTable(
        ("rho", "tau"),
        {"top1_error_percent": ""},
        {"dataset": "tiny-imagenet", "network": "MobileNetV1", "method": "LW-DNA"},
    ),
}
"""By number, the tables that are in ``paper/``."""

WITH_BASELINES = tuple(table for table, paper in PAPER_TABLES.items() if "method" in paper.names)
"""Those that compare methods, the baseline among them."""


def shows(table: Table, title: str) -> bool:
    """Whether a table has rows for a method, given its title."""
    paper = PAPER_TABLES.get(table)
    return paper is None or paper.about.get("method", title) == title


def rows_of(table: Table) -> list[dict[str, str]]:
    """The rows of a table of the paper as text, what they are all about among it.

    Raises:
        DataError: if the file is missing or no CSV.
    """
    about = PAPER_TABLES[table].about
    return [{**row, **about} for row in read_paper(paper_table(table))]


def networks_of(rows: Iterable[Mapping[str, str]]) -> dict[str, None]:
    """What some rows are about, in their order: ``DATASET / NETWORK``, or the network alone."""
    return dict.fromkeys(network_of(row) for row in rows)


def network_of(row: Mapping[str, object]) -> str:
    """What a row is about: ``DATASET / NETWORK``, or the network alone."""
    return " / ".join(str(row[key]) for key in ("dataset", "network") if row.get(key))
