"""Draw the distribution of latent vectors during the search by DHP."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.results.latents import animate_histograms, check_animation, plot_histograms
from lwdna.rivals.dhp_record import read_latents
from lwdna.steps._options import FILE, WRITTEN, images, scale


@click.command()
@click.argument("record", type=FILE)
@click.option(
    "--layers", type=click.IntRange(1), multiple=True, required=True, help="Number, from 1; again."
)
@click.option(
    "--epochs", type=click.IntRange(0), multiple=True, required=True, help="Number, from 0; again."
)
@click.option("--title", default="Latent vectors during the search by DHP", help="Of the figure.")
@scale
@images
@click.option("--animation", type=WRITTEN, help="GIF to write: all epochs.")
def main(
    *,
    record: Path,
    layers: tuple[int, ...],
    epochs: tuple[int, ...],
    title: str,
    scale: str,
    outputs: tuple[Path, ...],
    animation: Path | None,
) -> None:
    """Draw histograms of the latent vectors in the RECORD of a search (Fig. 3)."""
    if animation is not None:
        check_animation(animation)
    read = read_latents(record)
    plot_histograms(read, outputs, layers=layers, epochs=epochs, scale=scale, title=title)
    if animation is not None:
        animate_histograms(read, animation, layers=layers, scale=scale, title=title)
