"""Say which channels of a network are coupled, and why."""

from __future__ import annotations

from typing import Any

import click

import lwdna
from lwdna.graph.labels import Groups
from lwdna.networks.own import builder
from lwdna.steps._json import Json
from lwdna.steps._networks import example_of, groups_lost
from lwdna.steps._options import shapes


@click.command()
@click.argument("network")
@click.option("--dataset", help="Dataset the network is built for.")
@click.option(
    "--width",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Width multiplier.",
)
@click.option(
    "--options", type=Json(), default="{}", help="Other arguments of the network, as JSON."
)
@groups_lost
@shapes
def main(
    *,
    network: str,
    dataset: str | None,
    width: float,
    options: dict[str, Any],
    groups: Groups,
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    """Print each channel set of NETWORK, its layers, and why they are coupled.

    NETWORK is a name, or FILE:FUNCTION for a function that makes a network of your own.
    """
    example = example_of(network, dataset, shapes)
    model = builder(example, groups)(network, dataset=dataset, width=width, **options)
    click.echo(lwdna.ChannelGraph(model, example, groups=groups).explain())
