"""Count FLOPs and parameters by the paper's convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

import lwdna
from lwdna.errors import DataError
from lwdna.files import write_text
from lwdna.networks import input_shape
from lwdna.steps._options import FILE, Json
from lwdna.tables import read_paper

PAPER = Path(__file__).parents[2] / "paper"
"""The published numbers, which lie beside the package in a clone of the project."""

TABLES_WITHOUT_BATCH_NORM = (2,)
"""Tables whose FLOPs do not count batch norm: only so is DnCNN 9.10 G."""


@click.command()
@click.argument("network", required=False)
@click.option("--dataset", help="Dataset the network is built for.")
@click.option("--width", type=float, default=1.0, show_default=True)
@click.option("--options", type=Json(), default="{}", help="Other options of the network.")
@click.option("--paper", is_flag=True, help="Count all baselines of the paper's Tables 1 and 2.")
@click.option(
    "--table",
    "tables",
    type=(int, FILE),
    multiple=True,
    help="The same for one table: its number, and the file of the paper's numbers.",
)
@click.option("--output", type=FILE, help="CSV of baselines to write, instead of printing.")
def main(
    *,
    network: str | None,
    dataset: str | None,
    width: float,
    options: dict[str, Any],
    paper: bool,
    tables: tuple[tuple[int, Path], ...],
    output: Path | None,
) -> None:
    """Print the FLOPs and parameters of NETWORK, or of the baselines of the paper's tables."""
    if (network is not None) + paper + bool(tables) != 1:
        raise click.UsageError("Give a network, --paper, or --table, and only one of them.")
    if paper:
        tables = own_tables()
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


def own_tables() -> tuple[tuple[int, Path], ...]:
    """Numbers and files of the tables that belong to the project.

    Raises:
        DataError: if the package is installed without them.
    """
    files = tuple((number, PAPER / f"table{number}.csv") for number in (1, 2))
    for _, path in files:
        if not path.is_file():
            raise DataError(
                f"The paper's numbers are not at '{path}'; run from a clone of the project, "
                "installed with `pip install -e .`, or name the files with --table."
            )
    return files


def paper_baselines(number: int, path: Path) -> list[dict[str, Any]]:
    """Our counts of the baselines of one of the paper's tables, beside the printed ones."""
    rows = []
    printed = read_paper(path)
    for line in printed[printed["method"] == "Baseline"].to_dict("records"):
        network, dataset = line["network"], line.get("dataset")
        with torch.device("meta"):
            model = lwdna.build(network, dataset=dataset)
        flops, params = lwdna.complexity(
            model,
            torch.empty(input_shape(network, dataset), device="meta"),
            batch_norm=number not in TABLES_WITHOUT_BATCH_NORM,
        )
        rows.append(
            {
                "dataset": dataset,
                "network": network,
                "flops": flops,
                "params": params,
                "paper_flops_g": line["flops_g"],
                "paper_params_m": line["params_m"],
                "matches": _prints_as(flops / 1e9, line["flops_g"])
                and _prints_as(params / 1e6, line["params_m"]),
            }
        )
    return rows


def _prints_as(value: float, printed: str) -> bool:
    """Whether ``value``, rounded to as many decimals, is the number printed."""
    return f"{value:.{len(printed.partition('.')[2])}f}" == printed
