"""Lay out the images of a dataset in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.archives import archive_of, open_tree
from lwdna.data.downloads import require
from lwdna.data.images import find_images, image_size, is_image
from lwdna.data.photographs import export_photographs
from lwdna.data.versions import read_versions
from lwdna.errors import DataError
from lwdna.files import atomic_folder
from lwdna.logs import progress
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
            lay_out = _unpack if archive_of(folder) else _link
            lay_out(folder, making)


def _link(folder: Path, output: Path) -> None:
    for image in find_images(folder):
        image_size(image)  # refuses now what would stop a test after hours of training
        (output / image.name).symlink_to(image.resolve())


def _unpack(archive: Path, output: Path) -> None:
    """Write the images of an archive under their own names, without the folders they lie in."""
    with open_tree(archive) as tree:
        names = [name for name in tree.names if is_image(name)]
        if not names:
            raise DataError(f"The archive '{archive}' holds no image; name another one.")
        for name in progress(names, description="unpack", unit="image"):
            image = tree.file(name)
            target = output / image.name
            if target.exists():
                raise DataError(
                    f"The archive '{archive}' holds two images called '{image.name}'; name the "
                    "folder in it that is meant, such as a.zip/HR."
                )
            with image.open("rb") as file:
                target.write_bytes(file.read())
            image_size(target)
