"""Make a dataset for classification ready for training and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.data.normalisation import log_normalisation
from lwdna.io.hdf5 import FORMAT, format_of
from lwdna.steps._datasets import kind_option, make_ready, own_options, split
from lwdna.steps._options import output


@click.command()
@click.argument("source", nargs=-1)
@kind_option(labelled=True, default="imagefolder")
@split
@click.option("--list", "only_list", is_flag=True, help="List the images, of any size, in place.")
@own_options
@output
def main(
    *,
    source: tuple[str, ...],
    kind: str,
    split: str,
    only_list: bool,
    options: dict[str, Any],
    output: Path,
) -> None:
    """Pack the equal-sized images in the class-named folders of SOURCE, or list those of any size.

    SOURCE is a folder, a zip of it (or a folder inside one: a.zip/train), or an official archive;
    kinds whose images are generated take none.
    """
    make_ready(kind, source, output, split=split, options=options, packed=not only_list)
    if split == "train" and format_of(output) == FORMAT:
        log_normalisation(output)
