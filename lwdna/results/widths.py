"""One network at many widths: MutualNet's at several sizes of the image, that of AutoSlim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Unpack

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lwdna.config.methods import METHODS
from lwdna.results.layouts import Measure, measure_of
from lwdna.results.markdown import PageFiles, write_page
from lwdna.results.pages import Block, Column, Grid, Heading, Page, Points
from lwdna.results.panels import FAINT, Output, draw_panels
from lwdna.results.tables import Experiments
from lwdna.tasks.kinds import BEFORE

_TITLE = "One network at many widths"

_MARKERS = "osD^vXP*"

_ABOUT = (
    "Of the first seed. All are parts of one trained network, the first channels of each set, "
    "with batch norm recalibrated by training images for this width and size. Before that it has "
    "the statistics of the whole network at its own size. AutoSlim's is the network that it slims."
)


def rows_of(measured: pd.DataFrame, experiments: Experiments) -> Iterator[tuple[str, pd.DataFrame]]:
    """What is shown of each network, by its title, in the order of experiments and methods.

    Args:
        measured: ``experiment``, ``method``, ``width``, ``size``, ``flops``, and a measure after
            and before recalibration.
        experiments: by name; ``label`` of each is used.
    """
    for name, section in experiments.items():
        for method, of_method in METHODS.items():
            ours = (measured["experiment"] == name) & (measured["method"] == method)
            part = measured[ours] if len(measured) else measured
            if len(part):
                yield f"{section.get('label', name)}: {of_method.title}", part


def write_widths(
    measured: pd.DataFrame, experiments: Experiments, scale: str = "", **files: Unpack[PageFiles]
) -> None:
    """Write the table as CSV, Markdown, HTML and LaTeX, atomically; arguments as :func:`rows_of`.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    blocks: list[Block] = []
    for title, part in rows_of(measured, experiments):
        measure = _measure(part)
        titles = ["Width", "Size", "MFLOPs", "Params [k]", measure.title, "before recalibration"]
        lines = [
            [
                f"{row['width']:g}",
                "" if pd.isna(row["size"]) else f"{row['size']:.0f}",
                f"{row['flops'] / 1e6:.4g}",
                f"{row['params'] / 1e3:.4g}",
                *(f"{row[c]:.{measure.decimals}f}" for c in _columns(measure.column)),
            ]
            for row in part.to_dict("records")
        ]
        blocks += [Heading(title), Grid.of(map(Column, titles), lines).without_empty()]
    page = Page(_TITLE, (*blocks, Points((_ABOUT,))), scale)
    write_page(page, measured.to_csv(index=False, lineterminator="\n"), **files)


def plot_widths(
    measured: pd.DataFrame, outputs: Sequence[Output], *, experiments: Experiments, scale: str = ""
) -> None:
    """The measure over FLOPs: a panel for each network, a line for each size.

    Args:
        measured: as of :func:`rows_of`.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        experiments: those to show, by name; ``label`` of each is used.
        scale: the banner at the bottom, or empty.

    Raises:
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    shown = list(rows_of(measured, experiments))
    legend = [
        Line2D([], [], color=_COLOURS[0], marker="o", label="recalibrated"),
        Line2D([], [], color=FAINT, linestyle=":", marker="o", label="before"),
    ]
    if not any(part["size"].isna().all() for _, part in shown):
        legend = []
    footer = [_ABOUT, scale]

    def draw(grid: list[Axes]) -> None:
        for axes, (title, part) in zip(grid, shown, strict=True):
            axes.set_title(title)
            _plot(axes, part)

    columns = min(len(shown), 2)
    draw_panels(
        outputs, _TITLE, legend, footer, draw, panels=len(shown), columns=columns, height=3.2
    )


_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#882255")
"""One a size, of the palette of the methods."""


def _plot(axes: Axes, part: pd.DataFrame) -> None:
    """One panel: what was measured after recalibration, and before where there is one size only."""
    measure = _measure(part)
    after, before = _columns(measure.column)
    sizes = sorted(part["size"].dropna().unique(), reverse=True)
    if not sizes:
        line = part.sort_values("flops")
        axes.plot(line["flops"] / 1e6, line[before], ":", color=FAINT, marker="o", markersize=4)
        axes.plot(line["flops"] / 1e6, line[after], color=_COLOURS[0], marker="o", markersize=4)
        for row in line.to_dict("records"):
            axes.annotate(
                f"{row['width']:g}", (row["flops"] / 1e6, row[after]), xytext=(0, 6),
                textcoords="offset points", ha="center", fontsize="small",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.7},
            )  # fmt: skip
    for number, size in enumerate(sizes):
        line = part[part["size"] == size].sort_values("flops")
        axes.plot(
            line["flops"] / 1e6,
            line[after],
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            label=f"{size:.0f} px",
        )
    if sizes:
        axes.legend(fontsize="small", loc="best")
    axes.margins(x=0.05, y=0.12)
    axes.set_xlabel("MFLOPs")
    axes.set_ylabel(measure.title)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))


def _measure(part: pd.DataFrame) -> Measure:
    """The measure that a network has, as tables know it."""
    found = [str(c) for c in part if f"{c}{BEFORE}" in part and part[c].notna().any()]
    return measure_of(found[0])


def _columns(column: str) -> tuple[str, str]:
    """After and before recalibration."""
    return column, column + BEFORE
