"""List published numbers of channels, or say one list."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.errors import DataError, require_known
from lwdna.networks.zoo import (
    FOLDER,
    LISTS_OF_OURS,
    ChannelList,
    find_list,
    lists_of,
    read_lists,
    write_lists,
)
from lwdna.steps._options import FOLDER as A_FOLDER


@click.command()
@click.argument("name", required=False)
@click.option("--network", help="Whose list of that name, where several networks have one.")
@click.option("--dataset", help="What that network was built for, where there are several.")
@click.option(
    "--write",
    "made",
    type=A_FOLDER,
    help="Take the LW-DNA lists that `make complexity` left in this folder into the package.",
)
def main(name: str | None, network: str | None, dataset: str | None, made: Path | None) -> None:
    """Print the published numbers of channels, or those of NAME by layer."""
    if made is not None:
        if name or network or dataset:
            raise click.UsageError("Give either --write, or what is to be printed.")
        _write(made)
    elif name is None:
        _print_all(_for_dataset(lists_of(network), dataset))
    else:
        _print(find_list(name, network, dataset))


def _for_dataset(lists: list[ChannelList], dataset: str | None) -> list[ChannelList]:
    if dataset is None:
        return lists
    known = {entry.dataset for entry in lists if entry.dataset is not None}
    require_known(dataset, known, f"There is no list of channels for the dataset '{dataset}':")
    return [entry for entry in lists if entry.dataset == dataset]


def _print_all(lists: list[ChannelList]) -> None:
    head = ("network", "dataset", "name", "FLOPs", "parameters")
    rows = [
        (e.network, e.dataset or "-", e.name, f"{e.flops:,}", f"{e.params:,}")
        for e in sorted(lists, key=lambda e: (e.network, e.dataset or ""))
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        click.echo("  ".join([*left, *right]).rstrip())


def _print(entry: ChannelList) -> None:
    width = max(map(len, entry.channels))
    for layer, number in entry.channels.items():
        click.echo(f"{layer:<{width}} {number:>6}")
    without = "" if entry.count_batch_norm else " without batch norm"
    click.echo(
        f"\n{entry.flops:,} FLOPs{without}, {entry.params:,} parameters; convolutions and linear "
        f"layers alone: {entry.layer_macs:,} and {entry.layer_params:,}"
    )
    of = f", dataset {entry.dataset}" if entry.dataset else ""
    click.echo(f"{entry.network}{of}, for an input of {'x'.join(map(str, entry.input[1:]))}")
    click.echo(f"{entry.source}: {entry.about}")


def _write(made: Path) -> None:
    """Copy every file of lists of a folder, once all are read."""
    found = {path.stem: read_lists(path) for path in sorted(made.glob("*.json"))}
    if not found:
        raise DataError(
            f"There are no lists of channels in '{made}'; run `make complexity`, which leaves them "
            "in results/complexity/networks."
        )
    for name, lists in found.items():
        write_lists(FOLDER / LISTS_OF_OURS.format(name), lists)
    click.echo(f"{len(found)} files written to {FOLDER}")
