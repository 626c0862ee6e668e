"""Count FLOPs and parameters by the paper's convention."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import pandas as pd
from torch import Tensor, nn

import lwdna
from lwdna.io.checksummed_csv import write_csv
from lwdna.networks.own import builder
from lwdna.results.replication import own_tables, paper_baselines
from lwdna.steps._networks import as_built, example_of
from lwdna.steps._options import FILE, WRITTEN, shapes


@click.command()
@click.argument("network", required=False)
@as_built
@click.option("--paper", is_flag=True, help="Count all baselines of the paper's Tables 1 and 2.")
@click.option(
    "--table",
    "tables",
    type=(click.IntRange(1), FILE),
    multiple=True,
    help="The same for one table: its number, and the file of the paper's numbers.",
)
@click.option("--output", type=WRITTEN, help="CSV of baselines to write, instead of printing.")
@shapes
def main(
    *,
    network: str | None,
    built: dict[str, Any],
    paper: bool,
    tables: tuple[tuple[int, Path], ...],
    output: Path | None,
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    """Print the FLOPs and parameters of NETWORK, or of the baselines of the paper's tables.

    NETWORK is a name, or FILE:FUNCTION for a function that makes a network of your own.
    """
    if (network is not None) + paper + bool(tables) != 1:
        raise click.UsageError("Give a network, --paper, or --table, and only one of them.")
    if network is None:
        _write_baselines(own_tables() if paper else tables, output)
    else:
        example = example_of(network, built["dataset"], shapes)
        _print(builder(example)(network, **built.pop("options"), **built), example)


def _write_baselines(tables: Iterable[tuple[int, Path]], output: Path | None) -> None:
    """The counts of the baselines of some tables, as CSV."""
    rows = [row for number, path in tables for row in paper_baselines(number, path)]
    csv = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    if output is None:
        click.echo(csv, nl=False)
    else:
        write_csv(output, csv)


def _print(model: nn.Module, example: tuple[Tensor, ...]) -> None:
    """The counts of one network."""
    for batch_norm in (True, False):
        flops, params = lwdna.complexity(model, example, batch_norm=batch_norm)
        what = "with" if batch_norm else "without"
        click.echo(f"{flops:>16,} FLOPs {what} batch norm ({flops / 1e9:.4f} G)")
    click.echo(f"{params:>16,} parameters ({params / 1e6:.3f} M)")
    sizes = (" x ".join(map(str, x.shape[1:])) for x in example)
    click.echo("for an input of " + ", ".join(sizes))
