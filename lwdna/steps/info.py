"""Say what is in a weights file."""

from __future__ import annotations

from pathlib import Path

import click
import torch

import lwdna
from lwdna.networks import input_shape
from lwdna.provenance import provenance_of
from lwdna.steps._options import FILE
from lwdna.surgery import build_on_meta


@click.command()
@click.argument("weights", type=FILE)
def main(weights: Path) -> None:
    """Print the network in WEIGHTS: origin, complexity, and channels by layer if it was shrunk."""
    model = lwdna.load(weights)
    spec, kept = provenance_of(model).spec, provenance_of(model).kept
    if spec is None:
        click.echo("a network that lwdna.build did not make")
    else:
        click.echo(f"{spec.name}, dataset {spec.dataset}, width {spec.width:g}, {spec.options}")
        example = torch.empty(input_shape(spec.name, spec.dataset))
        flops, params = lwdna.complexity(model, example)
        click.echo(f"{flops:,} FLOPs, {params:,} parameters")
    if kept is None:
        click.echo("not shrunk")
        return
    before: dict[str, int] = {}
    if spec is not None:
        graph = lwdna.ChannelGraph(build_on_meta(spec), example)
        before = {name: len(layer.outputs) for name, layer in graph.layers.items()}
    for layer, indices in kept.items():
        was = f"{before[layer]:>6} -> " if layer in before else ""
        share = f" ({100 * len(indices) / before[layer]:.1f} %)" if layer in before else ""
        click.echo(f"{layer:<30} {was}{len(indices):>6}{share}")
