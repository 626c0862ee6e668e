"""Cut images into sub-images."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.crops import crop_images
from lwdna.data.images import find_images
from lwdna.steps._options import FOLDER, output


@click.command()
@click.argument("folder", type=FOLDER)
@output
@click.option(
    "--size", type=click.IntRange(1), required=True, help="Height and width of a sub-image."
)
@click.option("--step", type=click.IntRange(1), required=True, help="Distance of two sub-images.")
@click.option(
    "--threshold", type=click.IntRange(0), required=True, help="Remainder that is left out."
)
@click.option(
    "--scale", type=click.IntRange(2), help="Also write low-resolution partners, made by bicubic."
)
def main(
    *, folder: Path, output: Path, size: int, step: int, threshold: int, scale: int | None
) -> None:
    """Cut the images of FOLDER into sub-images by the paper's rule (Sec. 2.3), in colour."""
    images = find_images(folder)
    crop_images(images, output, size=size, step=step, threshold=threshold, scale=scale)
