"""Tables as files: CSV, Markdown, HTML and LaTeX of what :mod:`lwdna.results.tables` puts together.

For people, a cell without a number says ``not run`` or ``not counted``, and a column that says
nothing in any row is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Unpack

import pandas as pd

from lwdna.config.methods import METHODS, Method
from lwdna.networks.zoo import find_list
from lwdna.results.cells import as_text, decimals_of, is_missing
from lwdna.results.cells import ratio as share_of
from lwdna.results.layouts import (
    NOT_RUN,
    OURS,
    PAPER,
    PAPER_KEYS,
    RUN,
    VERSUS,
    Layout,
    Measure,
    layout_of,
)
from lwdna.results.markdown import PageFiles, write_page
from lwdna.results.markdown import to_markdown as as_markdown
from lwdna.results.pages import Block, Column, Grid, Heading, Page, Points
from lwdna.results.parts import Part, rows_of
from lwdna.results.runs import BASELINE_TITLES, REFERENCE_TITLES
from lwdna.tasks.kinds import REFERENCES, Reference, Table

NOT_COUNTED = "not counted"

_DISPLAY_NAMES = {
    "imagenet": "ImageNet",
    "tiny-imagenet": "Tiny-ImageNet",
    "cifar100": "CIFAR100",
    "cifar10": "CIFAR10",
    "bsd68": "BSD68",
    "div2k-valid": "DIV2K",
}


def to_page(
    name: Table,
    frame: pd.DataFrame,
    scale: str = "",
    title: str | None = None,
    part: Part = Part.RUNS,
) -> Page:
    """The table for people: title, scale, caption, and a table for each section.

    Args:
        name: what the table is called, see :func:`lwdna.results.layouts.layout_of`.
        frame: from :func:`lwdna.results.tables.make_table`.
        scale: the label printed above the numbers, or empty.
        title: replaces that of the layout.
        part: which of its rows.

    Raises:
        ConfigError: for an unknown table.
    """
    layout = layout_of(name)
    shown = rows_of(frame, layout, part)
    blocks: list[Block] = [layout.caption]
    for section, heading in _headings(layout, frame, scale).items():
        rows = shown[shown["section"] == section]
        if len(rows):
            blocks += [Heading(heading), _grid(layout, rows)]
    if shown.empty:
        blocks.append("Not run: no experiment of this configuration belongs to this table.")
    notes = [*_notes(layout, shown), *_notes_on_printed(layout, shown), *_notes_on_methods(shown)]
    if layout.paper and part is Part.RUNS:
        notes.append("All rows of the paper: the table of this name that ends in -paper.")
    about = title or layout.title
    if part is Part.PAPER:
        about += ": the paper's rows"
    return Page(about, (*blocks, Points(tuple(notes))), scale)


def to_markdown(
    name: Table,
    frame: pd.DataFrame,
    scale: str = "",
    title: str | None = None,
    part: Part = Part.RUNS,
) -> str:
    """:func:`to_page` in Markdown."""
    return as_markdown(to_page(name, frame, scale, title, part))


def write_table(
    name: Table,
    frame: pd.DataFrame,
    scale: str = "",
    *,
    title: str | None = None,
    part: Part = Part.RUNS,
    **files: Unpack[PageFiles],
) -> None:
    """Write a table of :func:`lwdna.results.tables.make_table` as CSV, Markdown, HTML and LaTeX,
    each atomically.

    Equal tables give equal bytes. The CSV has all columns. Arguments as in :func:`to_page`.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    data = rows_of(frame, layout_of(name), part).to_csv(index=False, lineterminator="\n")
    write_page(to_page(name, frame, scale, title, part), data, **files)


def _notes(layout: Layout, shown: pd.DataFrame) -> list[str]:
    """How to read the cells, for the foot of the table."""
    notes = [
        "Ours: mean ± sample standard deviation over n seeds; FLOPs and parameters are means over "
        "the seeds too. One multiply-accumulate is one FLOP, as in the paper."
    ]
    if layout.against:
        notes.append(
            f"Against {layout.prefix}{layout.against}: the mean difference over the seeds that "
            "both were run with, and its 95 % bootstrap interval; a star marks one of three seeds "
            "or more that "
            "excludes zero. Of few seeds such intervals are too narrow: of three it excludes zero "
            "whenever all differences have one sign, which chance alone brings about one time in "
            "four; and of many comparisons, some get a star by chance."
        )
    if layout.ratios:
        notes.append(f"Ratios are relative to the {layout.prefix}Baseline of the same network.")
    if layout.paper and shown["section"].eq(PAPER).any():
        notes.append(
            "A difference is ours minus the paper's. (=) marks a count of ours that has the "
            "paper's printed digits; otherwise the difference of the rounded numbers stands there."
        )
        if layout.ratios:
            notes.append(
                "The paper's ratios are computed from the numbers it prints; in the last digits "
                "they can deviate from the ratios printed there."
            )
    return [*notes, "not run: no run gave this number. not counted: the network is not built here."]


def _notes_on_printed(layout: Layout, frame: pd.DataFrame) -> list[str]:
    """What printed numbers of another convention are by this table's, of the network they are of.

    The network is known by its published numbers of channels.
    """
    notes = []
    rows = frame[frame["section"] == PAPER]
    for method, name in layout.published.items():
        entry = find_list(name)
        ours = rows[(rows["network"] == entry.network) & (rows["dataset"] == entry.dataset)]
        printed = ours[ours["method"] == method].to_dict("records")[:1]
        whole = ours.loc[ours["method"].isin(BASELINE_TITLES), "flops_g"].dropna().to_list()[:1]
        for row, baseline in zip(printed, whole, strict=False):
            share = share_of(entry.flops / 1e9, baseline)
            notes.append(
                f"{method}'s {row['paper_flops_g']} G count convolutions and the classifier alone: "
                f"{entry.layer_macs:,} multiply-accumulates of the network that its authors "
                f"published (`{name}`), with {entry.layer_params / 1e6:.3f} M parameters without "
                f"batch norm. By this table's rule it has {entry.flops:,} FLOPs, {share:.2f} % of "
                f"the Baseline's, not {row['paper_flops_ratio_percent']:.2f} %, and "
                f"{entry.params:,} parameters."
            )
    return notes


def _notes_on_methods(frame: pd.DataFrame) -> list[str]:
    """What the references are, and the methods that are ours alone."""
    there = set(frame["method"])
    known: list[Reference | Method] = [*REFERENCES.values(), *METHODS.values()]
    told = [f"{m.title}: {m.note}" for m in known if m.note and m.title in there]
    return ["; ".join(told) + "."] if told else []


def _headings(layout: Layout, frame: pd.DataFrame, scale: str) -> dict[str, str]:
    own = "runs that reproduce no row of the paper"
    rows = frame[frame["section"] == PAPER]
    # Methods of ours that the paper lacks are no rows of it; two experiments may share a row.
    rows = rows[rows[f"{layout.measures[0].column}_paper"] != ""]
    rows = rows[~rows["method"].isin(REFERENCE_TITLES)]
    run = rows["status"].eq(RUN).groupby([rows[key] for key in PAPER_KEYS]).any()
    return {
        OURS: f"Demo: {own}" if scale else f"Our own {own}",
        PAPER: f"{layout.paper_heading}: {int(run.sum())} of {len(run)} results obtained here",
    }


def _grid(layout: Layout, part: pd.DataFrame) -> Grid:
    """Rows for people, without columns that are empty throughout."""
    suffix = " / ratio [%]" if layout.ratios else ""
    columns = [Column(title, number=False) for title in layout.keys.values()]
    for measure in layout.measures:
        columns.append(Column(measure.title, "ours"))
        if layout.paper:
            columns += [Column(measure.title, "paper"), Column("Difference")]
        if layout.against and measure.compared:
            columns.append(Column(f"Against {layout.prefix}{layout.against} [95 %]"))
    columns += [Column("Paper")] if layout.unsupplied else []
    for quantity in ("FLOPs [G]", "Params [M]"):
        columns.append(Column(f"{quantity}{suffix}", "ours"))
        if layout.paper:
            columns.append(Column(f"{quantity}{suffix}", "paper"))
    left = len(layout.keys)
    rows = []
    previous: list[str] = []
    for row in part.to_dict("records"):
        names = [_name_cell(column, row, layout) for column in layout.keys]
        cells = names + _result_cells(layout, row)
        # A name is printed where it changes; numbers and what follows a change always.
        same = 0
        while same < left - 1 and names[: same + 1] == previous[: same + 1]:
            same += 1
        if layout.repeats:
            same = 0
        rows.append([""] * same + cells[same:])
        previous = names
    return Grid.of(columns, rows).without_empty()


def _name_cell(column: str, row: Mapping[Any, Any], layout: Layout) -> str:
    text = as_text(row[column])
    if column == "method" and text not in REFERENCE_TITLES:
        return layout.prefix + text
    if column == "network" and not is_missing(row["label"]):
        return str(row["label"]) if row["section"] == OURS else f"{text} ({row['label']})"
    shown = _DISPLAY_NAMES.get(text, text)
    if column == "test_set" and row.get("synthetic"):
        return f"{shown} (synthetic)"
    tested = as_text(row["test_set"])
    if column == "dataset" and tested not in ("", text):
        tested = _DISPLAY_NAMES.get(tested, tested)
        return f"{shown}, tested on {tested}" if shown else tested
    return shown


def _result_cells(layout: Layout, row: Mapping[Any, Any]) -> list[str]:
    cells = []
    for measure in layout.measures:
        column = measure.column
        cells.append(_mean_cell(row, measure))
        if layout.paper:
            difference = row[f"{column}_difference"]
            cells.append(as_text(row[f"{column}_paper"]) or "-")
            cells.append("-" if is_missing(difference) else f"{difference:+z.{measure.decimals}f}")
        if layout.against and measure.compared:
            cells.append(_versus_cell(row, measure))
    if layout.unsupplied:
        printed = as_text(row[f"{layout.measures[0].column}_paper"])
        cells.append(printed if row["section"] == PAPER else "-")
    for quantity, decimals in (
        ("flops_g", layout.flops_decimals),
        ("params_m", layout.params_decimals),
    ):
        cells.append(_count_cell(row, quantity, decimals, ratios=layout.ratios))
        if layout.paper:
            ratio = row[f"paper_{quantity.partition('_')[0]}_ratio_percent"]
            printed = as_text(row[f"paper_{quantity}"])
            cells.append((_with_ratio(printed, ratio) if layout.ratios else printed) or "-")
    return cells


def _mean_cell(row: Mapping[Any, Any], measure: Measure) -> str:
    mean, std = row[f"{measure.column}_mean"], row[f"{measure.column}_std"]
    if is_missing(mean):
        alone = row["status"] == RUN and row["method"] in REFERENCE_TITLES
        return "-" if alone else NOT_RUN
    text = f"{mean:.{measure.decimals}f}"
    if not is_missing(std):
        text += f" ± {std:.{measure.decimals}f}"
    return text if row["method"] in REFERENCE_TITLES else f"{text} (n={row['n']})"


def _versus_cell(row: Mapping[Any, Any], measure: Measure) -> str:
    """``-0.42 [-0.80, -0.10] *``; the star says that the interval excludes zero."""
    mean, low, high, pairs, marked = (row[f"{measure.column}_{part}"] for part in VERSUS)
    if not pairs:
        return "-"
    text = f"{mean:+z.{measure.decimals}f}"
    if is_missing(low):
        return text
    # A bound keeps the sign of what is rounded to zero: the star hangs on it.
    bounds = ", ".join(f"{bound:+.{measure.decimals}f}" for bound in (low, high))
    return f"{text} [{bounds}]{' *' if marked else ''}"


def _count_cell(row: Mapping[Any, Any], quantity: str, decimals: int, *, ratios: bool) -> str:
    kind = quantity.partition("_")[0]
    ours, printed = row[quantity], as_text(row[f"paper_{quantity}"])
    if row["method"] in REFERENCE_TITLES:
        return "-"
    if is_missing(ours):
        untrained = row["section"] == PAPER and row["method"] in BASELINE_TITLES
        return NOT_COUNTED if untrained else NOT_RUN
    versus = as_text(row[f"{kind}_vs_paper"])
    if versus:
        decimals = decimals_of(printed)
    elif ours > 0:
        # Small demo networks get at least three significant digits.
        decimals = max(decimals, 2 - math.floor(math.log10(ours)))
    text = f"{ours:.{decimals}f}"
    if ratios:
        text = _with_ratio(text, row[f"{kind}_ratio_percent"], unknown=" / -")
    return f"{text} ({versus})" if versus else text


def _with_ratio(text: str, ratio: Any, unknown: str = "") -> str:
    """``0.0460 / 96.23``, as in the paper, which prints 100 with one decimal."""
    if not text:
        return ""
    if is_missing(ratio):
        return text + unknown
    return f"{text} / 100.0" if ratio == 100 else f"{text} / {ratio:.2f}"
