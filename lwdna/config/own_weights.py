"""What is asked of weights of the user's own in an experiment; steps read their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lwdna.config.methods import PRUNINGS, shrinkage_of
from lwdna.config.sections import Experiment
from lwdna.errors import ConfigError


def check_own_weights(where: str, experiment: Experiment, folder: str | os.PathLike[str]) -> None:
    """Check the weights that an experiment starts or learns from.

    Args:
        where: of the experiment, for the message.
        experiment: with the defaults of the schema.
        folder: what files are relative to.

    Raises:
        ConfigError: if a file is missing or another kind of file, or nothing would start from it.
    """
    for key, path in _files(experiment):
        if Path(path).suffix != ".safetensors":
            raise ConfigError(
                f"{where}.{key} is '{path}', which does not end in .safetensors; convert it by "
                "`lwdna import`, or write it by `lwdna.save`."
            )
        if not (Path(folder) / path).is_file():
            raise ConfigError(f"{where}.{key} names the file '{path}', which is not there.")
    starts = {shrinkage_of(method) for method in experiment["methods"]} & {None, *PRUNINGS}
    if "weights" in experiment and not starts:
        raise ConfigError(
            f"{where}.weights is what a baseline starts from, but no method trains one; add "
            "'baseline' to its methods, or leave it out."
        )


def _files(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """By key, the files of weights that an experiment names."""
    for key, section in (
        ("weights", experiment),
        ("teacher.weights", experiment.get("teacher", {})),
    ):
        if "weights" in section:
            yield key, section["weights"]
