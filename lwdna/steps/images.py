"""Lay out the images of a dataset in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.data.catalog import IMAGE_KINDS
from lwdna.io.atomic import atomic_folder
from lwdna.steps._datasets import kind_option, make_ready, own_options, split
from lwdna.steps._options import WRITTEN_FOLDER


@click.command()
@click.option("--folder", help="Link the images of this folder, or unpack this zip.")
@kind_option(labelled=False, default=None)
@split
@own_options
@click.option("--output", type=WRITTEN_FOLDER, required=True, help="Folder to make.")
@click.argument("photographs", nargs=-1)
def main(
    *,
    folder: str | None,
    kind: str | None,
    split: str,
    options: dict[str, Any],
    output: Path,
    photographs: tuple[str, ...],
) -> None:
    """Export the named PHOTOGRAPHS of scikit-image and scikit-learn, or lay out a folder's images.

    The images of a zip (or of a folder inside one: a.zip/HR) may lie at any depth.
    """
    words = photographs if folder is None else (folder, *photographs)
    name = kind or IMAGE_KINDS["names" if folder is None else "folders"]
    with atomic_folder(output) as making:
        make_ready(name, words, making, split=split, options=options)
