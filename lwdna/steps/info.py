"""Say what is in a weights file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

import lwdna
from lwdna.networks.own import load
from lwdna.networks.provenance import Trained, table
from lwdna.networks.weights import read_provenance
from lwdna.steps._networks import example_for
from lwdna.steps._options import FILE, own_network


@click.command()
@click.argument("weights", type=FILE)
@own_network
def main(weights: Path, network: str | None) -> None:
    """Print the network in WEIGHTS: origin, and what is left of its channels and its cost.

    A network of your own is described as it was saved; with --network it is also checked that the
    weights are those of that network.
    """
    provenance = read_provenance(weights)
    spec, shrinkage = provenance.spec, provenance.shrinkage
    model = None if spec is None and network is None else load(weights, network)
    if spec is None:
        arguments = f", made with {provenance.arguments}" if provenance.arguments else ""
        click.echo(f"a network that lwdna.build did not make{arguments}")
    else:
        click.echo(f"{spec.name}, dataset {spec.dataset}, width {spec.width:g}, {spec.options}")
    for widening in provenance.widened:
        inside = ", groups by positions" if widening.groups == "positions" else ""
        inputs = _by(widening.inputs)
        click.echo(f"widened by {widening.factor:g}{inside}, followed for inputs of {inputs}")
    if provenance.trained is not None:
        click.echo(_about(provenance.trained))
    if shrinkage is not None:
        settings = ", ".join(f"{name} {value}" for name, value in shrinkage.settings.items())
        click.echo(
            f"shrunk for inputs of {_by(shrinkage.inputs)} by {settings}\n\n{table(provenance)}"
        )
        return
    if spec is not None and model is not None:
        flops, params = lwdna.complexity(model, example_for(model, weights, ()))
        click.echo(f"{flops:,} FLOPs, {params:,} parameters")
    click.echo("not shrunk")


def _about(trained: Trained) -> str:
    """What weights are for and where they come from, in words."""

    def listed(facts: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in facts.items())

    kept = {name: value for name, value in trained.task.items() if name != "kind"}
    lines = [
        f"trained for {trained.task['kind']}: {listed(kept)}",
        f"takes {listed(trained.takes)}",
    ]
    if trained.classes is not None:
        lines.append(f"classes {', '.join(trained.classes)}")
    return "\n".join([*lines, f"made by {listed(trained.source).removeprefix('by ')}"])


def _by(inputs: Iterable[Iterable[int]]) -> str:
    """The shapes of inputs in words."""
    return ", ".join("x".join(map(str, shape)) for shape in inputs)
