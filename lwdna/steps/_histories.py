"""The histories of trainings that a user means: files, or all that a run has so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lwdna.errors import ConfigError
from lwdna.steps._options import Runs
from lwdna.workflow import paths

_PLACES = (paths.LIVE_HISTORY, paths.HISTORY)
"""Where histories are, a whole one after that of a training that is or was at work."""


def found(given: Sequence[Path]) -> Runs:
    """By file, experiment, method and seed of trainings.

    Args:
        given: files, and folders in which Snakemake works or worked; none for this folder.

    Raises:
        ConfigError: if there is no history, or a file does not lie where a run has its own.
    """
    by_run: dict[tuple[object, ...], Path] = {}
    for path in given or [Path()]:
        files = [path] if path.is_file() or path.suffix else _in_folder(path)
        for file in files:
            try:
                run = paths.run_of(file)
            except ValueError as error:
                raise ConfigError(
                    f"{error}, so that its experiment, method and seed are not known; give them by "
                    "--labels."
                ) from error
            by_run[tuple(run.values())] = file
    if not by_run:
        where = ", ".join(f"'{path}'" for path in given or [Path()])
        raise ConfigError(
            f"There is no training in {where}; name the folder in which Snakemake works, or files "
            f"such as {paths.LIVE_HISTORY}."
        )
    return {str(file): paths.run_of(file) for file in by_run.values()}


def experiments_of(runs: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Experiments of some runs, under their names, each with the methods that were run."""
    experiments: dict[str, dict[str, Any]] = {}
    for run in runs:
        section = experiments.setdefault(
            run["experiment"], {"label": run["experiment"], "methods": []}
        )
        section["methods"].append(run["method"])
    return experiments


def _in_folder(folder: Path) -> list[Path]:
    """The histories of the trainings in a folder, those of one training together."""
    return [
        file
        for place in _PLACES
        for file in sorted(folder.glob(place.where(**dict.fromkeys(place.wildcards, "*"))))
    ]
