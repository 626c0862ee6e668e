"""Count FLOPs and parameters by the paper's convention."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

import lwdna
from lwdna.errors import ConfigError
from lwdna.files import write_text
from lwdna.networks import input_shape
from lwdna.steps._options import FILE, Json
from lwdna.tables import read_paper

logger = logging.getLogger(__name__)

TABLES_WITHOUT_BATCH_NORM = (2,)
"""Tables whose FLOPs do not count batch norm: only so is DnCNN 9.10 G."""


@click.command()
@click.argument("network", required=False)
@click.option("--dataset", help="Dataset the network is built for.")
@click.option("--width", type=float, default=1.0, show_default=True)
@click.option("--options", type=Json(), default="{}", help="Other options of the network.")
@click.option(
    "--paper",
    "tables",
    type=(int, FILE),
    multiple=True,
    help="Number of a table and file of the paper's numbers: count all its baselines.",
)
@click.option("--output", type=FILE, help="CSV to write with --paper, instead of printing.")
def main(
    *,
    network: str | None,
    dataset: str | None,
    width: float,
    options: dict[str, Any],
    tables: tuple[tuple[int, Path], ...],
    output: Path | None,
) -> None:
    """Print the FLOPs and parameters of NETWORK, or of the baselines of the paper's tables."""
    if (network is None) == (not tables):
        raise click.UsageError("Give either a network or --paper.")
    if network is None:
        rows = [row for number, path in tables for row in paper_baselines(number, path)]
        csv = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        if output is None:
            click.echo(csv, nl=False)
        else:
            write_text(output, csv)
        return
    model = lwdna.build(network, dataset=dataset, width=width, **options)
    shape = input_shape(network, dataset)
    for batch_norm in (True, False):
        flops, params = lwdna.complexity(model, torch.empty(shape), batch_norm=batch_norm)
        what = "with" if batch_norm else "without"
        click.echo(f"{flops:>16,} FLOPs {what} batch norm ({flops / 1e9:.4f} G)")
    click.echo(f"{params:>16,} parameters ({params / 1e6:.3f} M)")
    click.echo("for an input of " + " x ".join(map(str, shape[1:])))


def paper_baselines(number: int, path: Path) -> list[dict[str, Any]]:
    """Our counts of the baselines of one of the paper's tables, for the networks we have."""
    rows = []
    paper = read_paper(path)
    for line in paper[paper["method"] == "Baseline"].to_dict("records"):
        dataset = line.get("dataset")
        try:
            model = lwdna.build(line["network"], dataset=dataset)
        except ConfigError:
            logger.info("%s is not among this version's networks.", line["network"])
            continue
        flops, params = lwdna.complexity(
            model,
            torch.empty(input_shape(line["network"], dataset)),
            batch_norm=number not in TABLES_WITHOUT_BATCH_NORM,
        )
        rows.append(
            {
                "dataset": dataset,
                "network": line["network"],
                "flops": flops,
                "params": params,
                "paper_flops_g": line["flops_g"],
                "paper_params_m": line["params_m"],
                "matches": all(
                    f"{count:.{len(printed.partition('.')[2])}f}" == printed
                    for count, printed in (
                        (flops / 1e9, line["flops_g"]),
                        (params / 1e6, line["params_m"]),
                    )
                ),
            }
        )
    return rows
