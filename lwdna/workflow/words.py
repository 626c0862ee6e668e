"""Words of command lines, of which rules are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lwdna.config.methods import SEARCHES


def as_json(value: Any) -> str:
    """A slice of the configuration for a command line."""
    # Sorted, so that an edit of the order of keys changes no job.
    return json.dumps(value, sort_keys=True)


def options(settings: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Options of the settings that are given."""
    return [
        word
        for name in names
        if name in settings
        for word in (f"--{name.replace('_', '-')}", str(settings[name]))
    ]


def repeated(option: str, values: Iterable[object]) -> list[str]:
    """An option once for each value."""
    return [word for value in values for word in (option, str(value))]


def outputs(wildcards: object, output: Iterable[str]) -> list[str]:
    """Every output of a rule as an option."""
    return repeated("--output", output)


def accelerator(wildcards: object, resources: Mapping[str, int]) -> list[str]:
    """The GPU, if a job was given one, or the CPU."""
    return ["--accelerator", "gpu" if resources.get("gpu", 0) else "cpu"]


def devices(wildcards: object, resources: Mapping[str, int]) -> list[str]:
    """The GPUs that a job was given, or the CPU."""
    return [*accelerator(wildcards, resources), "--devices", str(max(1, resources.get("gpu", 0)))]


def of_search(names: Mapping[str, Any], text: str) -> str:
    """A command in which SEARCH and NOTED stand for a search, and for the option of its record.

    Snakemake evaluates the command of a rule twice: where the rule is read, in the loop over the
    searches, and when a job of it runs, long after that loop.

    Args:
        names: ``locals()`` of the command: ``search`` of the loop, or ``wildcards`` of the job.
        text: the command.
    """
    job = names.get("wildcards")
    search = names["search"] if job is None else job.shrinkage
    return text.replace("SEARCH", search).replace("NOTED", SEARCHES[search].noted)


def growing(megabytes: int) -> Callable[[object, int], int]:
    """Memory of a job, more at each attempt: the one before may have died of too little."""
    return lambda wildcards, attempt: megabytes * min(attempt, 3)
