"""The parts that a table is shown in: what was run, and the paper's rows."""

from __future__ import annotations

from enum import Enum

import pandas as pd

from lwdna.results.layouts import PAPER, RUN, Layout


class Part(Enum):
    """Which rows of a table."""

    RUNS = "runs"
    """Of the experiments of a configuration; rows of the paper where one of their network ran."""
    PAPER = "paper"
    """All of the paper, ours beside them."""


_GROUP = ["dataset", "network", "rho", "tau"]
"""Columns that tell a network of the paper, with its settings, from the others."""


def rows_of(frame: pd.DataFrame, layout: Layout, part: Part) -> pd.DataFrame:
    """A part of a table, of the columns and in the order of the whole.

    Args:
        frame: from :func:`lwdna.results.tables.make_table`.
        layout: of the table; where it has no rows of the paper, all rows are of what was run.
        part: which.
    """
    printed = frame["section"] == PAPER
    if part is Part.PAPER:
        return frame[printed]
    if layout.paper is None or frame.empty:
        return frame
    ran = (
        (printed & frame["status"].eq(RUN)).groupby([frame[key] for key in _GROUP]).transform("any")
    )
    return frame[~printed | ran]
