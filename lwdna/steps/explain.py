"""Say which channels of a network are coupled, and why."""

from __future__ import annotations

from typing import Any

import click
import torch

import lwdna
from lwdna.networks import input_shape
from lwdna.steps._options import Json


@click.command()
@click.argument("network")
@click.option("--dataset", help="Dataset the network is built for.")
@click.option("--width", type=float, default=1.0, show_default=True)
@click.option("--options", type=Json(), default="{}", help="Other options of the network.")
def main(network: str, dataset: str | None, width: float, options: dict[str, Any]) -> None:
    """Print each channel set of NETWORK, its layers, and why they are coupled."""
    model = lwdna.build(network, dataset=dataset, width=width, **options)
    graph = lwdna.ChannelGraph(model, torch.empty(input_shape(network, dataset)))
    click.echo(graph.explain())
