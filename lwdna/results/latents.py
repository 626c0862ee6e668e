"""Figure 3 of the supplement: the distribution of latent vectors during the search by DHP."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lwdna.config.methods import METHODS
from lwdna.errors import ConfigError
from lwdna.io.atomic import atomic
from lwdna.results.figures import LAYERS
from lwdna.results.panels import INK, SCREEN, Output, draw_panels, style_of
from lwdna.rivals.dhp_record import LatentRecord

_BINS = 40
_FRAMES_A_SECOND = 2
_DPI = 100
_VALUE, _COUNT = "Value of an element", "Elements"


def plot_histograms(
    record: LatentRecord,
    outputs: Sequence[Output],
    *,
    layers: Sequence[int],
    epochs: Sequence[int],
    title: str,
    scale: str = "",
) -> None:
    """Histograms of the latent vectors of some layers: a row for each epoch, a column a layer.

    Args:
        record: of the search.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        layers: numbers of layers in the order of the network, from 1: the latent vector is the
            one that controls the output channels of the layer.
        epochs: numbers of finished epochs; those after the end of the search stay empty.
        title: of the figure.
        scale: the banner at the bottom, or empty.

    Raises:
        DataError: if there is no such layer.
        ConfigError: if an output ends in something else.
        LwdnaError: if a file cannot be written.
    """
    vectors = [record.of_layer(number) for number in layers]
    last = max(record.latents)
    legend = [Line2D([], [], color=INK, linestyle="--", linewidth=1, label="threshold T")]
    footer = [f"The search ended in epoch {last}; epoch 0 is the start. {LAYERS}.", scale]

    def draw(grid: list[Axes]) -> None:
        for position, axes in enumerate(grid):
            epoch, column = epochs[position // len(layers)], position % len(layers)
            axes.set_title(f"Layer {layers[column]}, epoch {epoch}")
            _plot(axes, vectors[column], epoch, _threshold(record))
            if position >= len(layers) * (len(epochs) - 1):
                axes.set_xlabel(_VALUE)
            if column == 0:
                axes.set_ylabel(_COUNT)

    draw_panels(
        outputs,
        title,
        legend,
        footer,
        draw,
        panels=len(layers) * len(epochs),
        columns=len(layers),
        height=1.7,
    )


def animate_histograms(
    record: LatentRecord, output: Output, *, layers: Sequence[int], title: str, scale: str = ""
) -> None:
    """The same over all epochs as an animation: a panel for each layer, a frame for each epoch.

    Args:
        record: of the search.
        output: a path that ends in ``.gif``.
        layers: as of :func:`plot_histograms`.
        title: of the figure.
        scale: the banner at the bottom, or empty.

    Raises:
        DataError: if there is no such layer.
        ConfigError: if the output does not end in ``.gif``.
        LwdnaError: if the file cannot be written.
    """
    check_animation(output)
    vectors = [record.of_layer(number) for number in layers]
    with style_of(SCREEN):
        figure = Figure(figsize=(10, 3.2), dpi=_DPI)
        figure.set_layout_engine("constrained", rect=(0, 0.06, 1, 0.94))
        figure.text(0.01, 0.02, scale, fontsize=8, color=INK)
        grid = list(figure.subplots(1, len(layers), squeeze=False).flat)

        def draw(epoch: int) -> list[Axes]:
            figure.suptitle(f"{title}: epoch {epoch}", weight="bold", x=0.01, ha="left")
            for axes, number, history in zip(grid, layers, vectors, strict=True):
                axes.clear()
                axes.set_title(f"Layer {number}")
                _plot(axes, history, epoch, _threshold(record))
                axes.set_xlabel(_VALUE)
            grid[0].set_ylabel(_COUNT)
            return grid

        frames = sorted(record.latents)
        animation = FuncAnimation(figure, draw, frames=frames, repeat=False, cache_frame_data=False)
        with atomic(output) as temporary:
            animation.save(temporary, writer=PillowWriter(fps=_FRAMES_A_SECOND), dpi=_DPI)


def check_animation(path: str | os.PathLike[str]) -> None:
    """Raise ConfigError unless the path ends in ``.gif``."""
    if Path(path).suffix != ".gif":
        raise ConfigError(f"The animation '{path}' does not end in .gif; give it such a name.")


def _plot(
    axes: Axes, history: dict[int, NDArray[np.float32]], epoch: int, threshold: float
) -> None:
    """One histogram, on an axis that is the same for all epochs of a layer."""
    most = max(float(np.abs(vector).max()) for vector in history.values())
    # An odd number of bins: one of them is around 0.
    edges = np.linspace(-most, most, _BINS + 2) if most > 0 else np.linspace(-1, 1, _BINS + 2)
    if epoch in history:
        vector = history[epoch]
        axes.hist(vector, bins=edges.tolist(), color=METHODS["dhp"].colour, zorder=2)
        small = int((np.abs(vector) < threshold).sum())
        # Above the bars, which get room for it.
        axes.set_ylim(top=1.25 * axes.get_ylim()[1])
        axes.text(
            0.98, 0.97, f"{small}/{len(vector)} below T", transform=axes.transAxes,
            ha="right", va="top", fontsize="small",
        )  # fmt: skip
    else:
        axes.text(
            0.5, 0.5, "the search had ended", transform=axes.transAxes, ha="center", va="center"
        )
    for side in (-threshold, threshold):
        axes.axvline(side, color=INK, linestyle="--", linewidth=0.8, zorder=3)
    axes.set_xlim(-1.02 * edges[-1], 1.02 * edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4, min_n_ticks=1))


def _threshold(record: LatentRecord) -> float:
    return float(record.settings.get("threshold", math.nan))
