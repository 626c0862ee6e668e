"""Count FLOPs and parameters by the paper's convention."""

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
    """Print the FLOPs and parameters of NETWORK, with and without batch norm."""
    model = lwdna.build(network, dataset=dataset, width=width, **options)
    shape = input_shape(network, dataset)
    for batch_norm in (True, False):
        flops, params = lwdna.complexity(model, torch.empty(shape), batch_norm=batch_norm)
        what = "with" if batch_norm else "without"
        click.echo(f"{flops:>16,} FLOPs {what} batch norm ({flops / 1e9:.4f} G)")
    click.echo(f"{params:>16,} parameters ({params / 1e6:.3f} M)")
    click.echo("for an input of " + " x ".join(map(str, shape[1:])))
