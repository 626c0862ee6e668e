"""Lay out the images of a dataset in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from lwdna.data.images import find_images, image_size
from lwdna.data.photographs import export_photographs
from lwdna.errors import LwdnaError
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
    making = output.with_name(f".{output.name}.making")
    try:
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        if folder is None:
            export_photographs(photographs, making)
        else:
            for image in images:
                (making / image.name).symlink_to(image.resolve())
        if output.is_dir():
            output.rmdir()  # only if it is empty
        making.rename(output)
    except OSError as error:
        raise LwdnaError(
            f"Cannot make the folder '{output}': {error.strerror or error}; remove it or make the "
            "place writable, and run the command again."
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
