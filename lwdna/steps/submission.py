"""Pack boxes of trackers as the server of a data set takes them."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.sequence_files import read_sets
from lwdna.errors import ConfigError
from lwdna.steps._options import FILE, check_suffix, output
from lwdna.tracking.box_files import read_archive, write_got10k, write_trackingnet


@click.command()
@click.argument("boxes", type=FILE, nargs=-1, required=True)
@click.option("--times", type=FILE, multiple=True, required=True, help="Of the boxes, in order.")
@click.option("--test", type=FILE, required=True, help="Listing of the test set.")
@output
def main(*, boxes: tuple[Path, ...], times: tuple[Path, ...], test: Path, output: Path) -> None:
    """Pack the BOXES of one or several runs; the server of TrackingNet takes the first alone."""
    check_suffix(output, ".zip")
    layouts = {str(section["layout"]) for section in read_sets(test)[0]}
    found = [read_archive(path) for path in boxes]
    if layouts == {"trackingnet"}:
        write_trackingnet(output, found[0])
    elif layouts == {"got10k"}:
        write_got10k(output, found, read_archive(times[0]))
    else:
        raise ConfigError(
            f"No server takes boxes of {' and '.join(sorted(layouts))}; give a test set of GOT-10k "
            "or of TrackingNet."
        )
