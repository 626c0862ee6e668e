"""Say which channels of a network are coupled, and why."""

from __future__ import annotations

from typing import Any

import click

import lwdna
from lwdna.graph.labels import Groups
from lwdna.networks.own import builder
from lwdna.steps._networks import as_built, example_of, groups_lost
from lwdna.steps._options import shapes


@click.command()
@click.argument("network")
@as_built
@groups_lost
@shapes
def main(
    *,
    network: str,
    built: dict[str, Any],
    groups: Groups,
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    """Print each channel set of NETWORK, its layers, and why they are coupled.

    NETWORK is a name, or FILE:FUNCTION for a function that makes a network of your own.
    """
    example = example_of(network, built["dataset"], shapes)
    model = builder(example, groups)(network, **built.pop("options"), **built)
    click.echo(lwdna.ChannelGraph(model, example, groups=groups).explain())
