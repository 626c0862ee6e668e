"""Pack a folder of class-named folders into a store."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.folders import imagefolder_store
from lwdna.steps._options import FOLDER, output


@click.command()
@click.argument("folder", type=FOLDER)
@output
def main(folder: Path, output: Path) -> None:
    """Pack the equal-sized images in the class-named folders of FOLDER."""
    imagefolder_store(folder, output)
