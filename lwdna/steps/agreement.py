"""Compare the channels that different criteria keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.errors import ConfigError
from lwdna.results.agreement import Kept, compare, plot_agreement, write_agreement
from lwdna.steps._options import FILE, figure, runs_of_files, table_files


@click.command()
@click.argument("networks", type=FILE, nargs=-1)
@runs_of_files
@figure
@table_files
def main(
    *,
    networks: tuple[Path, ...],
    runs: dict[str, Any],
    figure: dict[str, Any],
    files: dict[str, Path],
) -> None:
    """Compare the channels that are left of the NETWORKS."""
    kept = {_run(runs, path): Kept.read(path) for path in networks}
    frame = compare(kept, figure["experiments"])
    write_agreement(frame, figure["scale"], **files)
    plot_agreement(kept, **figure)


def _run(runs: dict[str, Any], path: Path) -> tuple[str, str, int]:
    """Experiment, method and seed of a network."""
    run = runs.get(str(path))
    if run is None:
        raise ConfigError(
            f"--labels has nothing for '{path}'; give an object such as "
            '{"experiment": "digits", "method": "dhp", "seed": 0}.'
        )
    return run["experiment"], run["method"], run["seed"]
