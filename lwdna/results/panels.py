"""The frame of every figure: panels, title, legend and small print, in one style.

Equal data give equal bytes, and neither pyplot nor the settings of the caller are touched.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from lwdna.errors import ConfigError
from lwdna.io.atomic import atomic
from lwdna.results.layouts import NOT_RUN

Output: TypeAlias = str | PathLike[str]

INK, FAINT = "#222222", "#888888"
_DPI = 200
WIDTH = 10.0
"""Inches: a figure shown 1000 pixels wide has 100 of them to the inch, 11 points are 15 pixels."""

STYLE: dict[str, Any] = {
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": _DPI,
    "font.size": 11,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": _DPI,
    # Labels are the user's text: a dollar is a dollar.
    "text.parse_math": False,
    "svg.hashsalt": "lwdna",
    "xtick.color": INK,
    "ytick.color": INK,
}

_FORMATS: dict[str, dict[str, None]] = {
    # Neither the date nor the version of matplotlib, so that equal figures are equal files.
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}

_FOOTER_CHARACTERS = 135
"""Of the small print that fit into a line."""


@contextmanager
def panels_of(
    outputs: Sequence[Output],
    title: str,
    legend: Sequence[Line2D],
    footer: Sequence[str],
    *,
    panels: int,
    columns: int,
    height: float,
    gap: float = 0.2,
) -> Iterator[list[Axes]]:
    """The panels of a figure of the full width, written to ``outputs`` when the block ends.

    Title and legend stand above, the lines of the footer below; ``height`` is a panel's, ``gap``
    what is between a panel with its labels and the next, in inches. Without a panel the figure says
    that nothing was run.
    """
    paths = [Path(output) for output in outputs]
    for path in paths:
        if path.suffix not in _FORMATS:
            raise ConfigError(
                f"The figure '{path}' ends in '{path.suffix}'; allowed: {', '.join(_FORMATS)}."
            )
    small = [line for text in footer for line in textwrap.wrap(text, _FOOTER_CHARACTERS)]
    # Inches from the edges; the layout engine arranges the panels in between.
    title_bottom = 0.4 if title else 0.05
    side_by_side = _side_by_side(legend)
    lines = math.ceil(len(legend) / side_by_side)
    top = title_bottom + (0.12 + 0.24 * lines if legend else 0.0)
    bottom = 0.08 + 0.17 * len(small)
    rows = max(math.ceil(panels / max(columns, 1)), 1)
    total = rows * height + top + bottom
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, total))
        rectangle = (0, bottom / total, 1, 1 - (top + bottom) / total)
        figure.set_layout_engine(
            "constrained", rect=rectangle, w_pad=gap / 2, h_pad=0.06, wspace=0, hspace=0
        )
        left = 0.1 / WIDTH
        figure.text(left, 1 - 0.1 / total, title, va="top", weight="bold", fontsize=13)
        figure.text(left, 0.06 / total, "\n".join(small), fontsize=9, color=INK, va="bottom")
        if legend:
            figure.legend(
                handles=list(legend),
                loc="upper left",
                bbox_to_anchor=(left, 1 - title_bottom / total),
                borderaxespad=0,
                ncols=side_by_side,
            )
        axes = list(figure.subplots(rows, max(columns, 1), squeeze=False).flat)
        for unused in axes[max(panels, 1) :]:
            unused.remove()
        if not panels:
            axes[0].set_axis_off()
            axes[0].text(0.5, 0.5, NOT_RUN, transform=axes[0].transAxes, ha="center", va="center")
        yield axes[:panels]
        # One layout for all formats.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        _fit_titles(axes[:panels])
        for path in paths:
            with atomic(path) as temporary:
                metadata = _FORMATS[path.suffix]
                figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)


def _side_by_side(legend: Sequence[Line2D]) -> int:
    """As many entries of a legend as fit into the width of a figure."""
    trial = Figure(figsize=(WIDTH, 1))
    for columns in range(len(legend), 1, -1):
        drawn = trial.legend(handles=list(legend), ncols=columns)
        if drawn.get_window_extent().width <= (WIDTH - 0.2) * trial.dpi:
            return columns
    return 1


def _fit_titles(panels: Sequence[Axes]) -> None:
    """Make titles that are wider than their panels as much smaller as it takes."""
    for axes in panels:
        for text in axes.get_children():
            if isinstance(text, Text) and text.get_text():
                share = axes.get_window_extent().width / text.get_window_extent().width
                text.set_fontsize(float(text.get_fontsize()) * min(1.0, share))
