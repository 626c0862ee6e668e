"""The ways of searches for a network: AutoSlim's removals, and MetaPruning's iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lwdna.config.methods import METHODS
from lwdna.results.panels import FAINT, INK, Output, draw_panels
from lwdna.results.tables import Experiments

_TITLE = "On the way of the searches"

_ABOUT = (
    "Errors (losses, where images are restored) are of sub-networks with shared or generated "
    "weights, on training images that were held out. AutoSlim goes from the right to the left, a "
    "removal a step, a line for each seed. MetaPruning: means over the seeds, and their range."
)


def plot_searches(
    records: pd.DataFrame, outputs: Sequence[Output], *, experiments: Experiments, scale: str = ""
) -> None:
    """Error over FLOPs, and over iterations: a panel for each experiment and search.

    Args:
        records: what searches noted, one below the other, with the columns ``experiment``,
            ``method`` and ``seed`` added: ``flops`` and ``error`` of AutoSlim, ``iteration``,
            ``best`` and ``mean`` of MetaPruning.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        experiments: those to show, by name; ``label`` of each is used.
        scale: the banner at the bottom, or empty.

    Raises:
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    shown = [
        (name, method)
        for name in experiments
        for method in DRAWN
        if len(records) and len(_of(records, name, method))
    ]
    legend = [
        Line2D([], [], color=METHODS["autoslim"].colour, label="AutoSlim"),
        Line2D([], [], color=METHODS["metapruning"].colour, label="MetaPruning: best so far"),
        Line2D([], [], color=FAINT, linestyle="--", label="mean of the iteration"),
    ]
    wanted = {method for _, method in shown}
    legend = legend[: 1 if wanted == {"autoslim"} else 3]
    legend = legend[1 if wanted == {"metapruning"} else 0 :] if shown else []
    footer = [_ABOUT if shown else "", scale]

    def draw(grid: list[Axes]) -> None:
        for axes, (name, method) in zip(grid, shown, strict=True):
            label = experiments[name].get("label", name)
            axes.set_title(f"{label}: {METHODS[method].title}")
            DRAWN[method](axes, _of(records, name, method))

    columns = min(len(shown), 2)
    draw_panels(
        outputs, _TITLE, legend, footer, draw, panels=len(shown), columns=columns, height=2.9
    )


def _of(records: pd.DataFrame, experiment: str, method: str) -> pd.DataFrame:
    return records[(records["experiment"] == experiment) & (records["method"] == method)]


def _plot_removals(axes: Axes, rows: pd.DataFrame) -> None:
    """AutoSlim's: the error of what is left, over its FLOPs."""
    for _, part in rows.groupby("seed"):
        axes.plot(
            part["flops"] / 1e6, part["error"], color=METHODS["autoslim"].colour, marker=".",
            linewidth=1.2,
        )  # fmt: skip
    axes.set_xlabel("MFLOPs")
    _measured(axes)


def _plot_iterations(axes: Axes, rows: pd.DataFrame) -> None:
    """MetaPruning's: the best so far, and the mean of each iteration."""
    for column, colour, style in (
        ("mean", FAINT, "--"),
        ("best", METHODS["metapruning"].colour, "-"),
    ):
        curve = rows.groupby("iteration")[column].agg(["mean", "min", "max"])
        axes.plot(curve.index, curve["mean"], style, color=colour, marker="o", markersize=4)
        axes.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.15, lw=0)
    axes.set_xlabel("Iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _measured(axes)


def _measured(axes: Axes) -> None:
    axes.set_ylabel("Error [%], or loss", color=INK)
    axes.margins(x=0.03)


DRAWN: Mapping[str, Callable[[Axes, pd.DataFrame], None]] = {
    "autoslim": _plot_removals,
    "metapruning": _plot_iterations,
}
"""The searches that are drawn, by their methods."""
