"""Lay out the images of a dataset in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.images import find_images
from lwdna.data.photographs import export_photographs
from lwdna.errors import LwdnaError
from lwdna.steps._options import FOLDER


@click.command()
@click.option("--folder", type=FOLDER, help="Link the images of this folder.")
@click.option("--output", type=FOLDER, required=True, help="Folder to make.")
@click.argument("photographs", nargs=-1)
def main(folder: Path | None, output: Path, photographs: tuple[str, ...]) -> None:
    """Export the named PHOTOGRAPHS of scikit-image and scikit-learn, or link a folder's images."""
    output.mkdir(parents=True, exist_ok=True)
    if folder is None:
        export_photographs(photographs, output)
        return
    for image in find_images(folder):
        try:
            (output / image.name).symlink_to(image.resolve())
        except OSError as error:
            raise LwdnaError(
                f"Cannot link '{image}' into '{output}': {error.strerror}; empty that folder "
                "or make it writable, and run the command again."
            ) from error
