"""Convert a store of sub-images to gray."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.crops import gray_store
from lwdna.errors import ConfigError
from lwdna.steps._options import FILE, output


@click.command()
@click.argument("store", type=FILE)
@output
def main(store: Path, output: Path) -> None:
    """Convert a colour STORE to gray (ITU-R BT.601 luma, full range, rounded)."""
    if output.exists() and output.samefile(store):
        raise ConfigError(f"'{store}' is both the input and the output; give another --output.")
    gray_store(store, output)
