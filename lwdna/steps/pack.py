"""Make a dataset for classification ready for training and tests."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.cifar import LAYOUTS, cifar_store
from lwdna.data.downloads import require
from lwdna.data.folders import (
    imagefolder_listing,
    imagefolder_store,
    imagenet_listing,
    tiny_imagenet_store,
)
from lwdna.data.normalisation import log_normalisation
from lwdna.data.versions import read_versions, version_of
from lwdna.io.hdf5 import FORMAT, format_of
from lwdna.steps._options import ANY_PATH, output

KINDS = ("imagefolder", "tiny-imagenet", "imagenet", *LAYOUTS)


@click.command()
@click.argument("source", type=ANY_PATH)
@click.option("--kind", type=click.Choice(KINDS), default="imagefolder", show_default=True)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="train",
    help="Of an archive that holds both.",
)
@click.option("--list", "only_list", is_flag=True, help="List the images, of any size, in place.")
@output
def main(*, source: Path, kind: str, split: str, only_list: bool, output: Path) -> None:
    """Pack the equal-sized images in the class-named folders of SOURCE, or list those of any size.

    SOURCE is a folder, a zip of it (or a folder inside one: a.zip/train), or an official archive.
    """
    versions = read_versions()
    require(source, versions)
    if kind in LAYOUTS:
        version = version_of(source, versions)
        checksum = version.checksum if version is not None else ""
        cifar_store(source, output, kind=kind, split=split, checksum=checksum)
    elif kind == "tiny-imagenet":
        tiny_imagenet_store(source, output, split=split)
    elif kind == "imagenet":
        imagenet_listing(source, output, split=split)
    elif only_list:
        imagefolder_listing(source, output)
    else:
        imagefolder_store(source, output)
    if split == "train" and format_of(output) == FORMAT:
        log_normalisation(output)
