"""The frame of every figure: panels, title, legend and small print, in one style.

Equal data give equal bytes, and neither pyplot nor the settings of the caller are touched.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_FONT = 11.0
"""Points, on a screen."""


@dataclass(frozen=True)
class Medium:
    """What a figure is drawn for."""

    width: float
    """Inches."""
    font: float
    """Points of axes, legend and titles of panels."""
    captioned: bool
    """Whether it bears its title and small print; in a paper the caption has these."""


SCREEN = Medium(10.0, _FONT, captioned=True)
"""Shown 1000 pixels wide, it has 100 of them to the inch, and 11 points are 15 pixels."""
PAGE, COLUMN = Medium(6.875, 8.0, captioned=False), Medium(3.25, 7.5, captioned=False)
"""Both columns of a page of CVPR, and one of them."""

STYLE: dict[str, Any] = {
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": _FONT,
    "axes.titleweight": "bold",
    "figure.dpi": _DPI,
    "font.size": _FONT,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    # Publishers want fonts as outlines that can be searched; Type 3 they refuse.
    "pdf.fonttype": 42,
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
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

_PAPER = ".pdf"
"""What is drawn to be put into a paper."""

_SMALL_PRINT = 9 / _FONT
"""Of the size of the font."""


def draw_panels(
    outputs: Sequence[Output],
    title: str,
    legend: Sequence[Line2D],
    footer: Sequence[str],
    draw: Callable[[list[Axes]], None],
    *,
    panels: int,
    columns: int,
    height: float,
    gap: float = 0.2,
) -> None:
    """Draw the panels of a figure, for the screen as PNG and SVG, for a paper as PDF.

    Title and legend stand above, the lines of the footer below; ``height`` is a panel's, ``gap``
    what is between a panel with its labels and the next, in inches of a figure for the screen.
    Without a panel the figure says that nothing was run. In a paper, a figure whose panels stand
    one below the other is as wide as a column, any other as the page; of title and footer it bears
    only the footer's last line, the banner, which no caption may lose.

    Args:
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        title: of the figure.
        legend: what stands in it.
        footer: small print; the banner is the last.
        draw: what fills the panels it is given; called once for each medium.
        panels: how many there are.
        columns: how many stand side by side.
        height: of a panel.
        gap: between panels.

    Raises:
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    paths = [Path(output) for output in outputs]
    for path in paths:
        if path.suffix not in _FORMATS:
            raise ConfigError(
                f"The figure '{path}' ends in '{path.suffix}'; allowed: {', '.join(_FORMATS)}."
            )
    paper = COLUMN if columns <= 1 else PAGE
    for medium in (SCREEN, paper):
        wanted = [path for path in paths if (path.suffix == _PAPER) == (medium is paper)]
        if not wanted:
            continue
        with style_of(medium):
            frame = _Frame(medium, title if medium.captioned else "", legend)
            frame.arrange(
                list(footer) if medium.captioned else list(footer[-1:]),
                panels=panels,
                columns=columns,
                height=height,
                gap=gap,
            )
            draw(frame.panels)
            frame.write(wanted)


def style_of(medium: Medium) -> Any:
    """The style of figures, as a context: sizes are those of a medium."""
    share = medium.font / _FONT
    sizes = {
        "axes.titlesize": medium.font,
        "font.size": medium.font,
        "lines.linewidth": STYLE["lines.linewidth"] * share,
        "xtick.major.size": 3.5 * share,
        "ytick.major.size": 3.5 * share,
    }
    return matplotlib.style.context(["default", {**STYLE, **sizes}])


class _Frame:
    """A figure for a medium, whose style is that of the context: what is around its panels."""

    def __init__(self, medium: Medium, title: str, legend: Sequence[Line2D]) -> None:
        self.medium = medium
        # Inches from the edges; the layout engine arranges the panels in between.
        self.unit = medium.font / _FONT
        self.figure = Figure(figsize=(medium.width, 1))
        self.title = title
        self.handles = list(legend)
        self.panels: list[Axes] = []

    def arrange(
        self, footer: Sequence[str], *, panels: int, columns: int, height: float, gap: float
    ) -> None:
        """Put title, legend and small print into place, and make the panels."""
        width, unit = self.medium.width, self.unit
        small = [
            line for text in footer for line in textwrap.wrap(text, round(14.3 * width / unit))
        ]
        columns = max(columns, 1)
        rows = max(math.ceil(panels / columns), 1)
        legend_columns, legend_rows = self._legend_shape()
        title_bottom = (0.4 if self.title else 0.05) * unit
        top = title_bottom + (0.12 + 0.24 * legend_rows if self.handles else 0.0) * unit
        bottom = (0.08 + 0.17 * len(small)) * unit
        share = width / SCREEN.width if columns > 1 else unit
        total = rows * height * share + top + bottom
        self.figure.set_size_inches(width, total)
        rectangle = (0, bottom / total, 1, 1 - (top + bottom) / total)
        pads = {"w_pad": gap * unit / 2, "h_pad": 0.06 * unit, "wspace": 0, "hspace": 0}
        self.figure.set_layout_engine("constrained", rect=rectangle, **pads)
        left, font = 0.1 * unit / width, self.medium.font
        self.figure.text(
            left, 1 - 0.1 * unit / total, self.title, va="top", weight="bold", fontsize=13 * unit
        )
        self.figure.text(
            left, 0.06 * unit / total, "\n".join(small),
            fontsize=_SMALL_PRINT * font, color=INK, va="bottom",
        )  # fmt: skip
        if self.handles:
            self.figure.legend(
                handles=self.handles,
                loc="upper left",
                bbox_to_anchor=(left, 1 - title_bottom / total),
                borderaxespad=0,
                ncols=legend_columns,
            )
        axes = list(self.figure.subplots(rows, columns, squeeze=False).flat)
        for unused in axes[max(panels, 1) :]:
            unused.remove()
        if not panels:
            axes[0].set_axis_off()
            axes[0].text(0.5, 0.5, NOT_RUN, transform=axes[0].transAxes, ha="center", va="center")
        self.panels = axes[:panels]

    def write(self, paths: Sequence[Path]) -> None:
        """Write the figure; one layout for all formats."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        _fit_titles(self.panels)
        for path in paths:
            with atomic(path) as temporary:
                metadata = _FORMATS[path.suffix]
                self.figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)

    def _legend_shape(self) -> tuple[int, int]:
        """As many columns as fit side by side, and how many rows that makes."""
        for columns in range(len(self.handles), 1, -1):
            legend = self.figure.legend(handles=self.handles, ncols=columns)
            wide = legend.get_window_extent().width / self.figure.dpi
            legend.remove()
            if wide <= self.medium.width - 0.1 * self.unit:
                return columns, math.ceil(len(self.handles) / columns)
        return 1, len(self.handles)


def _fit_titles(panels: Sequence[Axes]) -> None:
    """Make titles that are wider than their panels as much smaller as it takes."""
    for axes in panels:
        for text in axes.get_children():
            if isinstance(text, Text) and text.get_text():
                share = axes.get_window_extent().width / text.get_window_extent().width
                text.set_fontsize(float(text.get_fontsize()) * min(1.0, share))
