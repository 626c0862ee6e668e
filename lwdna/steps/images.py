"""Lay out the images of a dataset in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.downloads import require
from lwdna.data.layout import lay_out
from lwdna.data.photographs import export_photographs
from lwdna.data.versions import read_versions
from lwdna.io.atomic import atomic_folder
from lwdna.steps._options import ANY_PATH, FOLDER


@click.command()
@click.option("--folder", type=ANY_PATH, help="Link the images of this folder, or unpack this zip.")
@click.option("--output", type=FOLDER, required=True, help="Folder to make.")
@click.argument("photographs", nargs=-1)
def main(folder: Path | None, output: Path, photographs: tuple[str, ...]) -> None:
    """Export the named PHOTOGRAPHS of scikit-image and scikit-learn, or lay out a folder's images.

    The images of a zip (or of a folder inside one: a.zip/HR) may lie at any depth.
    """
    with atomic_folder(output) as making:
        if folder is None:
            export_photographs(photographs, making)
        else:
            require(folder, read_versions())
            lay_out(folder, making)
