"""Lay out the images of a dataset in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.images import find_images, image_size
from lwdna.data.photographs import export_photographs
from lwdna.files import atomic_folder
from lwdna.steps._options import FOLDER


@click.command()
@click.option("--folder", type=FOLDER, help="Link the images of this folder.")
@click.option("--output", type=FOLDER, required=True, help="Folder to make.")
@click.argument("photographs", nargs=-1)
def main(folder: Path | None, output: Path, photographs: tuple[str, ...]) -> None:
    """Export the named PHOTOGRAPHS of scikit-image and scikit-learn, or link a folder's images."""
    images = [] if folder is None else find_images(folder)
    for image in images:
        image_size(image)  # refuses now what would stop a test after hours of training
    with atomic_folder(output) as making:
        if folder is None:
            export_photographs(photographs, making)
        else:
            for image in images:
                (making / image.name).symlink_to(image.resolve())
