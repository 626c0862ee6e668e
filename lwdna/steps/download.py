"""Download the file of a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.downloads import download
from lwdna.data.versions import read_versions
from lwdna.errors import require_known
from lwdna.steps._options import WRITTEN


@click.command()
@click.argument("output", type=WRITTEN)
def main(output: Path) -> None:
    """Download the dataset that OUTPUT is named after, or go on where a download was cut.

    data/versions.csv says where from, and what is expected.
    """
    versions = {name: row for name, row in read_versions().items() if row.downloadable}
    require_known(output.name, versions, f"'{output.name}' is no download;")
    download(versions[output.name], output)
