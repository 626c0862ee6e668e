"""Check sets of videos, and list them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.data.catalog import DATASET_KINDS
from lwdna.steps._datasets import split
from lwdna.steps._json import Json
from lwdna.steps._options import check_suffix, output

_KINDS = [name for name, kind in DATASET_KINDS.items() if kind.moving]


@click.command()
@click.option(
    "--set",
    "sets",
    type=Json("set"),
    multiple=True,
    required=True,
    help="JSON: the layout of a set, and where it lies or how it is made; again for each set.",
)
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default=_KINDS[0],
    show_default=True,
    help="Of the dataset, as in a configuration.",
)
@split
@output
def main(*, sets: tuple[dict[str, Any], ...], kind: str, split: str, output: Path) -> None:
    """List the videos of some sets where they lie; every truth is read and must fit its frames."""
    check_suffix(output, ".json")
    DATASET_KINDS[kind].make(sets, output, split=split)
