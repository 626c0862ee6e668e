"""Shrink a network of the paper again, at its published FLOPs, by each criterion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.io.checksummed_csv import write_csv
from lwdna.networks.zoo import write_lists
from lwdna.results.printed import read_published
from lwdna.shrinkage.replicate import published_rows, replicate
from lwdna.steps._networks import groups_lost
from lwdna.steps._options import FILE, FOLDER, WRITTEN, bundle, output, threads

_rows = bundle(
    "asked",
    click.option(
        "--table",
        "tables",
        type=(click.IntRange(1), FILE),
        multiple=True,
        required=True,
        help="Number of a table, and the file of the paper's numbers; again for each.",
    ),
    click.option(
        "--rho", type=click.FloatRange(0, 1), help="As the paper states it; fitted if left out."
    ),
    click.option(
        "--tau",
        type=click.FloatRange(0, 1),
        default=0.45,
        show_default=True,
        help="Least share of channel sets that feed the classifier.",
    ),
)
_settings = bundle(
    "settings",
    click.option(
        "--seeds", type=click.IntRange(min=0), multiple=True, required=True, help="Once for each."
    ),
    click.option(
        "--width",
        type=click.FloatRange(1),
        default=2.0,
        show_default=True,
        help="Width multiplier.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="Images in a batch.",
    ),
    click.option(
        "--batches",
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        help="Whose gradients are added up.",
    ),
    click.option(
        "--embedding",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help="Embedding dimension m.",
    ),
    click.option("--patch-size", type=click.IntRange(min=1), help="Of images for restoration."),
    groups_lost,
)


@click.command()
@click.argument("network")
@click.option("--dataset", help="Dataset the network is built for.")
@_rows
@click.option("--photographs", type=FOLDER, required=True, help="Images, for gradients.")
@_settings
@click.option(
    "--channels", type=WRITTEN, help="JSON to write: the channels by layer, as lwdna/zoo/."
)
@output
@threads
def main(
    *,
    network: str,
    dataset: str | None,
    asked: dict[str, Any],
    photographs: Path,
    settings: dict[str, Any],
    channels: Path | None,
    output: Path,
) -> None:
    """Shrink NETWORK to the sizes of its rows in the paper's tables, from photographs."""
    paper = [(number, read_published(number, path)) for number, path in asked["tables"]]
    rows = published_rows(paper, network, dataset, asked["rho"], asked["tau"])
    frame = replicate(network, dataset, rows, photographs, **settings)
    lists = frame.pop("list").dropna()
    if channels is not None:
        write_lists(channels, lists)
    write_csv(output, frame.to_csv(index=False, lineterminator="\n"))
