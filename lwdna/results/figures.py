"""Figures 1 and 2 of the supplement, and what all figures share, as PNG, SVG and PDF.

Every figure carries the label of the scale it was made at. Equal data give equal bytes, and
neither pyplot nor the settings of the caller are touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lwdna.config.methods import METHODS
from lwdna.errors import DataError
from lwdna.results.looks import Look, looks_of
from lwdna.results.panels import INK, Output, draw_panels
from lwdna.results.tables import Experiments

_LOGS = "Training and testing log"
_REMAINING = "Remaining channels of the LW-DNA networks"
"""Titles of the figures."""

_MEASURES = (
    ("top1_error", "Top-1 error [%]"),
    ("psnr", "PSNR [dB]"),
    ("loss", "Loss"),
)
"""What a panel can show, the best choice first: name in the history's columns, axis title."""

_UNITS = ("", "_percent", "_db")
"""Endings of those columns."""

_MEANS = "Mean over n seeds; where n > 1, their range is drawn too."

_NUMBERS = 0.55
"""Of layers, below a panel, for each letter that would fit there."""

LAYERS = "Layers are numbered in the order of the network"
"""What numbers of layers are, for the footer: the same in all figures, and rows of channels.csv."""

_FEW = 20
"""Up to so many points of a curve are marked, to show that they are few."""


def plot_training_logs(
    histories: pd.DataFrame, outputs: Sequence[Output], *, experiments: Experiments, scale: str = ""
) -> None:
    """Figure 1 of the supplement: error or PSNR over the epochs, a panel for each experiment.

    Training is dashed, testing solid, with a mark at each test where they are few; lines are means
    over the seeds, bands their range. An experiment or method without a history is named as not
    run. The figure of the supplement has the baselines and LW-DNA; here is every method.

    Args:
        histories: the training histories one below the other, with the columns ``experiment``,
            ``method`` and ``seed`` added; ``epoch`` and ``test_top1_error_percent`` (or
            ``test_psnr_db``, or ``test_loss``), and the same of ``train_`` where there is one.
            Columns without the unit at their end are understood too.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        experiments: those to show, by name; of each ``label``, and ``methods``, which may name
            the teacher and searches too (:mod:`lwdna.results.looks`); all, where it has none.
        scale: the banner at the bottom, or empty.

    Raises:
        DataError: if a column is missing.
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    if len(histories):
        _require(histories, {"experiment", "method", "seed", "epoch"}, "training histories")
    runs = {
        name: _asked_for(histories, name, experiments[name])
        for name in (experiments if len(histories) else ())
    }
    shown = {
        name: set(part.loc[part[_columns(part, found[0])].notna().any(axis=1), "method"])
        for name, part in runs.items()
        if (found := _measure(part))
    }
    columns = min(len(shown), 2 if len(shown) <= 4 else 3)
    looks = looks_of(set().union(*shown.values()))
    legend = [
        Line2D([], [], color=look.colour, linewidth=3, label=look.title) for look in looks.values()
    ]
    if shown:
        legend.append(Line2D([], [], color=INK, linestyle="-", marker="o", label="testing"))
        legend.append(Line2D([], [], color=INK, linestyle="--", label="training"))
    footer = [_MEANS if shown else "", _not_run(experiments, shown), scale]

    def draw(grid: list[Axes]) -> None:
        for axes, name in zip(grid, shown, strict=True):
            _plot_log(axes, runs[name], experiments[name], looks)

    draw_panels(
        outputs, _LOGS, legend, footer, draw, panels=len(shown), columns=columns, height=3.3
    )


def plot_remaining_channels(
    channels: pd.DataFrame, outputs: Sequence[Output], *, experiments: Experiments, scale: str = ""
) -> None:
    """Figure 2 of the supplement: remaining output channels over the baseline, layer by layer.

    Bars are means over the seeds, whiskers their range. A line marks 100 percent: a layer above it
    became wider than in the baseline, to at most ``100 widen`` percent. Layers are numbered in the
    order of the network; those that may lose no channel, such as the output, are left out.

    Args:
        channels: ``experiment``, ``seed``, ``layer``, ``baseline``, ``before`` and ``after``: the
            number of output channels of the baseline, of the widened and of the shrunk network, in
            the order of the layers; and ``frozen``, whether a layer may lose none. Where that is
            not said, layers that lost none for any seed are taken to be frozen.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        experiments: those to show, by name; ``label`` of each is used.
        scale: the banner at the bottom, or empty.

    Raises:
        DataError: if a column is missing, or a layer had no channel.
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    if len(channels):
        needed = {"experiment", "seed", "layer", "baseline", "before", "after"}
        _require(channels, needed, "table of channels")
        empty = channels[channels["baseline"] <= 0]
        if len(empty):
            raise DataError(
                f"The layer '{empty.iloc[0]['layer']}' of '{empty.iloc[0]['experiment']}' has "
                f"{empty.iloc[0]['baseline']} channels in the baseline; a layer has at least 1. "
                "Make the table of channels again."
            )
    layers = {
        name: _numbered(channels[channels["experiment"] == name])
        for name in (experiments if len(channels) else ())
    }
    there = set(channels["experiment"]) if len(channels) else set()
    shown = {name: set(METHODS) for name in layers if name in there}
    columns = 1 if len(shown) <= 4 else 2
    legend = []
    if shown:
        label = "channels kept, relative to the baseline"
        legend.append(Line2D([], [], color=METHODS["lw-dna"].colour, linewidth=7, label=label))
        legend.append(Line2D([], [], color=INK, linestyle="--", label="baseline"))
    about = f"{_MEANS} {LAYERS}; those that can lose no channel are left out."
    footer = [about if shown else "", _not_run(experiments, shown), scale]

    def draw(grid: list[Axes]) -> None:
        for axes, name in zip(grid, shown, strict=True):
            _plot_channels(axes, layers[name], experiments[name])

    draw_panels(
        outputs, _REMAINING, legend, footer, draw, panels=len(shown), columns=columns, height=2.6
    )


def _plot_log(
    axes: Axes,
    runs: pd.DataFrame,
    experiment: Mapping[str, Any],
    looks: Mapping[str, Look],
) -> None:
    """One panel of Figure 1, of an experiment that has a history."""
    axes.set_title(str(experiment.get("label", "")) + _seeds(runs))
    name, title = _measure(runs) or ("", "")
    for method, part in runs.groupby("method"):
        if method not in looks:
            continue
        colour = looks[str(method)].colour
        for prefix, style in (("train", "--"), ("test", "-")):
            column = f"{prefix}_{name}"
            if column not in part or not part[column].notna().any():
                continue
            by_epoch = part.dropna(subset=[column]).groupby("epoch")[column]
            curve = by_epoch.agg(["mean", "min", "max"])
            tests = prefix == "test"
            axes.plot(
                curve.index,
                curve["mean"],
                style,
                color=colour,
                marker="o" if (tests and len(curve) <= _FEW) or len(curve) == 1 else "",
                markersize=4,
                markerfacecolor=colour if tests else "white",
                zorder=3 if tests else 2,
            )
            if part["seed"].nunique() == 1:
                continue
            axes.fill_between(
                curve.index, curve["min"], curve["max"], color=colour, alpha=0.15, lw=0
            )
            if len(curve) == 1:  # which has no area
                axes.vlines(curve.index, curve["min"], curve["max"], color=colour, lw=1)
    axes.margins(x=0.03)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(title)
    few = max(2, min(10, round(_letters(axes) / 3.6)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=few, min_n_ticks=1))


def _asked_for(histories: pd.DataFrame, name: str, experiment: Mapping[str, Any]) -> pd.DataFrame:
    """The histories of an experiment that are to be shown."""
    runs = histories[histories["experiment"] == name]
    return runs[runs["method"].isin(experiment.get("methods", set(runs["method"])))]


def _measure(runs: pd.DataFrame) -> tuple[str, str] | None:
    """The columns that a panel shows, without ``train_`` and ``test_``, and their title."""
    for prefixes in (("test",), ("train",)):  # which a training has that was not tested yet
        for name, title in _MEASURES:
            for unit in _UNITS:
                known = _columns(runs, f"{name}{unit}", prefixes)
                if runs[known].notna().any(axis=None):
                    return f"{name}{unit}", title
    return None


def _columns(
    runs: pd.DataFrame, measure: str, prefixes: Sequence[str] = ("train", "test")
) -> list[str]:
    """The columns of a measure that there are."""
    wanted = [f"{prefix}_{measure}" for prefix in prefixes]
    return [column for column in wanted if column in runs]


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """The layers of an experiment that may lose channels, with their number in the network."""
    never = rows["after"].eq(rows["before"]).groupby(rows["layer"]).transform("all")
    frozen = never
    if "frozen" in rows:
        # Tables of earlier versions do not have it, and may stand among others.
        frozen = rows["frozen"].astype("boolean").fillna(never)
    numbers = pd.factorize(rows["layer"])[0] + 1
    return rows.assign(number=numbers)[~frozen.astype(bool)]


def _plot_channels(
    axes: Axes,
    rows: pd.DataFrame,
    experiment: Mapping[str, Any],
) -> None:
    """One panel of Figure 2."""
    if rows.empty:
        axes.set_title(str(experiment.get("label", "")))
        axes.text(0.5, 0.5, "no layer lost a channel", transform=axes.transAxes, ha="center")
        return
    axes.set_title(str(experiment.get("label", "")) + _seeds(rows))
    percent = (100 * rows["after"] / rows["baseline"]).groupby(rows["number"])
    kept = percent.agg(["mean", "min", "max"])
    axes.bar(kept.index, kept["mean"], width=0.75, color=METHODS["lw-dna"].colour, zorder=2)
    if rows["seed"].nunique() > 1:
        axes.errorbar(
            kept.index,
            kept["mean"],
            yerr=[kept["mean"] - kept["min"], kept["max"] - kept["mean"]],
            fmt="none",
            ecolor=INK,
            elinewidth=1,
            capsize=2,
            zorder=3,
        )
    axes.axhline(100, color=INK, linestyle="--", linewidth=1.3, zorder=4)
    axes.set_ylim(0, 1.05 * max(100.0, float(kept["max"].max())))
    axes.set_ylabel("Channels [%]")
    axes.grid(visible=False, axis="x")
    number_layers(axes, kept.index.tolist())


def number_layers(axes: Axes, numbers: Sequence[int]) -> None:
    """Number the layers below a panel: each of them, or where there are too many, some."""
    axes.set_xlim(min(numbers) - 0.6, max(numbers) + 0.6)
    axes.set_xlabel("Layer")
    most = _letters(axes) * _NUMBERS
    if max(numbers) - min(numbers) < most:
        axes.set_xticks(numbers)
    else:
        few = max(2, min(12, round(most / 3)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=few, min_n_ticks=1))


def _letters(axes: Axes) -> float:
    """How many letters would fit below a panel, roughly."""
    place = axes.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    points = 72 * axes.figure.get_figwidth() / columns  # type: ignore[union-attr]
    return float(points / mpl.rcParams["font.size"])


def _seeds(runs: pd.DataFrame) -> str:
    """How many seeds are behind a panel: the least and the most of its methods."""
    groups = runs.groupby("method")["seed"] if "method" in runs else [("", runs["seed"])]
    counts = sorted(seeds.nunique() for _, seeds in groups)
    least, most = counts[0], counts[-1]
    return f" (n={least})" if least == most else f" (n={least} to {most})"


def _not_run(experiments: Experiments, shown: Mapping[str, Collection[str]]) -> str:
    """The sentence that names what has no panel, and which methods a panel lacks."""
    absent = []
    for name, experiment in experiments.items():
        label = str(experiment.get("label", name))
        asked = looks_of(experiment.get("methods", ()))
        there = shown.get(name, asked)
        lacking = [look.title for method, look in asked.items() if method not in there]
        if name not in shown:
            absent.append(label)
        elif lacking:
            absent.append(f"{label} ({', '.join(lacking)})")
    return f"Not run: {', '.join(absent)}." if absent else ""


def _require(frame: pd.DataFrame, columns: set[str], what: str) -> None:
    missing = sorted(columns - set(frame.columns))
    if missing:
        raise DataError(
            f"The {what} lack the column(s) {', '.join(missing)}; make them again with this "
            "version."
        )
