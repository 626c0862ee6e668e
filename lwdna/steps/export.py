"""Export a network to a file that other programs read."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import lwdna
from lwdna.networks.export import SUFFIXES
from lwdna.networks.own import load
from lwdna.steps._networks import example_for
from lwdna.steps._options import FILE, WRITTEN, check_suffix, own_network, shapes

logger = logging.getLogger(__name__)


@click.command()
@click.argument("weights", type=FILE)
@click.option("--to", type=click.Choice(list(SUFFIXES)), required=True, help="What to write.")
@own_network
@shapes
@click.option("--output", type=WRITTEN, help="File to write.  [default: beside WEIGHTS]")
def main(
    *,
    weights: Path,
    to: str,
    network: str | None,
    shapes: tuple[tuple[int, ...], ...],
    output: Path | None,
) -> None:
    """Write the network in WEIGHTS as an ONNX file or a torch.export program."""
    check_suffix(output or weights.with_suffix(SUFFIXES[to]), SUFFIXES[to])
    model = load(weights, network)
    path = output or weights.with_suffix(SUFFIXES[to])
    example = example_for(model, weights, shapes)
    varying = lwdna.export(model, example, path, to=to)
    logger.info(
        "Exported to %s; it computes what the network does. Of the input %s, %s may vary.",
        path,
        ", ".join("x".join(map(str, x.shape)) for x in example),
        varying,
    )
