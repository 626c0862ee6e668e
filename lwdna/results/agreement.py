"""Do criteria agree? Channels that shrinkages of a network keep, layer by layer.

Two measures for each pair of criteria, over the layers that any of them cut:

- the rank correlation (Spearman) of the share of channels kept by layer, means over the seeds:
  whether they find the same shape;
- the overlap (Jaccard) of the channels kept, for networks of the same seed, which start from the
  same latent vectors: whether they choose the same channels. Beside it stands what two
  independent choices of as many channels would have.

A criterion is also compared with itself at other seeds. Methods without latent vectors, which
start from a network of another width or from trained weights, are compared by their shape alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lwdna.config.methods import COMPARABLE, METHODS, SHRINKAGES
from lwdna.errors import CheckpointError
from lwdna.networks.weights import read_provenance
from lwdna.results.figures import LAYERS, number_layers
from lwdna.results.markdown import PageFiles, write_page
from lwdna.results.markdown import to_markdown as as_markdown
from lwdna.results.pages import Block, Column, Grid, Page, Points
from lwdna.results.panels import Output, draw_panels
from lwdna.results.tables import Experiments

COLUMNS = ("rank_correlation", "overlap", "overlap_by_chance")


@dataclass(frozen=True)
class Kept:
    """What a shrinkage left of a network."""

    channels: Mapping[str, NDArray[np.bool_]]
    """By layer, for each channel of the widened network whether it is kept."""

    @classmethod
    def of(cls, kept: Mapping[str, Sequence[int]], before: Mapping[str, int]) -> Kept:
        """From the indices kept and the number of channels before, by layer."""
        channels = {}
        for name, indices in kept.items():
            mask = np.zeros(before[name], np.bool_)
            mask[list(indices)] = True
            channels[name] = mask
        return cls(channels)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Kept:
        """From the file of a shrunk network.

        Raises:
            CheckpointError: if the file is damaged, or its network was not shrunk.
        """
        provenance = read_provenance(path)
        if provenance.kept is None or provenance.shrinkage is None:
            raise CheckpointError(f"'{path}' holds a network that was not shrunk; give others.")
        return cls.of(provenance.kept, provenance.shrinkage.channels_before)

    def shares(self, layers: Sequence[str]) -> NDArray[np.float64]:
        """The share of the channels of each layer that is kept."""
        return np.array([self.channels[layer].mean() for layer in layers])


Networks = Mapping[tuple[str, str, int], Kept]
"""By experiment, shrinkage and seed."""


def compare(networks: Networks, experiments: Experiments) -> pd.DataFrame:
    """How much each pair of criteria agrees, experiment by experiment.

    Args:
        networks: what was kept; from networks of the same width where there are latent vectors.
        experiments: to compare, by name; ``label`` of each is used.

    Returns:
        ``experiment``, ``label``, ``first``, ``second``, ``seeds``, ``rank_correlation``,
        ``overlap`` and ``overlap_by_chance`` (means over the seeds of both, or over the pairs of
        seeds where a criterion is compared with itself).
    """
    rows = []
    for experiment, section in experiments.items():
        of_each = {
            shrinkage: {
                seed: kept
                for (name, way, seed), kept in networks.items()
                if (name, way) == (experiment, shrinkage)
            }
            for shrinkage in COMPARABLE
        }
        there = [shrinkage for shrinkage in COMPARABLE if of_each[shrinkage]]
        layers = cut_layers([kept for way in there for kept in of_each[way].values()])
        for first, second in itertools.combinations_with_replacement(there, 2):
            ours, theirs = of_each[first], of_each[second]
            if first == second:
                pairs = list(itertools.combinations(ours, 2))
                correlation = _mean(
                    [_correlation(ours[a].shares(layers), ours[b].shares(layers)) for a, b in pairs]
                )
            else:
                pairs = [(seed, seed) for seed in ours if seed in theirs]
                correlation = _correlation(
                    _mean_shares(ours.values(), layers), _mean_shares(theirs.values(), layers)
                )
            # Other seeds have other latent vectors, and some shrinkages none: their channels are
            # not the same ones.
            latent = SHRINKAGES[first].latent and SHRINKAGES[second].latent
            overlaps = [_overlap(ours[a], theirs[b], layers) for a, b in pairs if a == b and latent]
            rows.append(
                {
                    "experiment": experiment,
                    "label": str(section.get("label", experiment)),
                    "first": first,
                    "second": second,
                    "seeds": len(ours) if first == second else len(pairs),
                    "rank_correlation": correlation,
                    "overlap": _mean([found for found, _ in overlaps]),
                    "overlap_by_chance": _mean([chance for _, chance in overlaps]),
                }
            )
    columns = ["experiment", "label", "first", "second", "seeds", *COLUMNS]
    return pd.DataFrame(rows, columns=columns)


def cut_layers(networks: Sequence[Kept]) -> list[str]:
    """The layers that lost a channel in any of some networks, in the order of the network."""
    first = next(iter(networks), Kept({}))
    return [name for name in first.channels if not all(n.channels[name].all() for n in networks)]


def _mean_shares(networks: Any, layers: Sequence[str]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.mean([kept.shares(layers) for kept in networks], axis=0)
    return shares


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Spearman's; None where all layers of one are alike, which have no order."""
    if len(first) < 2 or np.ptp(first) < 1e-9 or np.ptp(second) < 1e-9:
        return None
    return float(spearmanr(first, second).statistic)


def _overlap(first: Kept, second: Kept, layers: Sequence[str]) -> tuple[float, float]:
    """Jaccard's index of the channels kept, and what it would be by chance."""
    both = either = expected = 0.0
    for layer in layers:
        a, b = first.channels[layer], second.channels[layer]
        both += float((a & b).sum())
        either += float((a | b).sum())
        expected += float(a.sum()) * float(b.sum()) / len(a)
    total = both + either
    return (both / either, expected / (total - expected)) if either else (1.0, 1.0)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


_NOTES = (
    "Layers that no shrinkage cuts are left out. Layers that share a latent vector count each.",
    "Shares are of the network that was shrunk: of the widened one, but by methods without latent "
    "vectors of the one that they began with.",
    "A hyphen stands where all layers keep the same share, which have no order, and where seeds "
    "differ or a method has no latent vectors, so that channels cannot be the same. Budget and "
    "floors are those of the experiment's LW-DNA, but DHP's own where it has some.",
)


def to_markdown(frame: pd.DataFrame, scale: str = "") -> str:
    """:func:`to_page` in Markdown."""
    return as_markdown(to_page(frame, scale))


def to_page(frame: pd.DataFrame, scale: str = "") -> Page:
    """The table of :func:`compare` for people."""
    about = (
        "Which channels do two shrinkages of a network keep? "
        "Rank correlation (Spearman) of the share kept by layer: 1 if both find the same shape. "
        "Overlap (Jaccard) of the channels kept from the same latent vectors: 1 if they keep the "
        "same channels; beside it that of independent choices of as many channels by layer."
    )
    names = [Column(title, number=False) for title in ("Network", "First", "Second")]
    numbered = map(Column, ("Seeds", "Rank correlation", "Overlap", "By chance"))
    rows = []
    for row in frame.to_dict("records"):
        second = (
            "itself, other seeds" if row["first"] == row["second"] else METHODS[row["second"]].title
        )
        numbers = [_cell(row[column]) for column in COLUMNS]
        rows.append((row["label"], METHODS[row["first"]].title, second, row["seeds"], *numbers))
    shown: Block = "Not run: no experiment of this configuration has two such shrinkages."
    if rows:
        shown = Grid.of([*names, *numbered], rows).without_empty()
    return Page("Agreement of the criteria", (about, shown, Points(_NOTES)), scale)


def write_agreement(frame: pd.DataFrame, scale: str = "", **files: Unpack[PageFiles]) -> None:
    """Write the table of :func:`compare` as CSV, Markdown, HTML and LaTeX, each
    atomically.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    data = frame.to_csv(index=False, lineterminator="\n")
    write_page(to_page(frame, scale), data, **files)


def _cell(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.2f}"


def plot_agreement(
    networks: Networks,
    outputs: Sequence[Output],
    *,
    experiments: Experiments,
    scale: str = "",
    title: str = "Channels that the criteria keep",
) -> None:
    """The share of the channels of the network that was shrunk that each criterion keeps, by layer.

    Lines are means over the seeds, bands their range; a panel for each experiment.

    Args:
        networks: what was kept.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        experiments: those to show, by name; ``label`` of each is used.
        scale: the banner at the bottom, or empty.
        title: of the figure.

    Raises:
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    shown = [name for name in experiments if any(name == key[0] for key in networks)]
    ways = [way for way in COMPARABLE if any(way == key[1] for key in networks)]
    legend = [
        Line2D(
            [], [], color=METHODS[way].colour, marker=METHODS[way].marker, label=METHODS[way].title
        )
        for way in ways
    ]
    about = f"Mean over the seeds, and their range. {LAYERS}; those that no criterion cuts are left"
    others = [METHODS[way].title for way in ways if not SHRINKAGES[way].latent]
    of = f" Of {', '.join(others)}: share of the network it began with." if others else ""
    footer = [f"{about} out.{of}", scale]

    def draw(grid: list[Axes]) -> None:
        for axes, name in zip(grid, shown, strict=True):
            _plot(axes, {key[1:]: kept for key, kept in networks.items() if key[0] == name})
            axes.set_title(str(experiments[name].get("label", name)))

    draw_panels(outputs, title, legend, footer, draw, panels=len(shown), columns=1, height=3.0)


def _plot(axes: Axes, networks: Mapping[tuple[str, int], Kept]) -> None:
    """One panel."""
    layers = cut_layers(list(networks.values()))
    order = list(next(iter(networks.values())).channels)
    x = [order.index(layer) + 1 for layer in layers]
    for way in COMPARABLE:
        shares = [100 * kept.shares(layers) for (name, _), kept in networks.items() if name == way]
        if shares:
            table = np.array(shares)
            colour, marker = METHODS[way].colour, METHODS[way].marker
            axes.plot(x, table.mean(0), color=colour, marker=marker, markersize=4, zorder=3)
            axes.fill_between(x, table.min(0), table.max(0), color=colour, alpha=0.15, lw=0)
    axes.set_ylim(0, 105)
    axes.set_ylabel("Channels kept [%]")
    if x:
        number_layers(axes, x)
