"""Words of command lines, of which rules are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any


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


def growing(megabytes: int) -> Callable[[object, int], int]:
    """Memory of a job, more at each attempt: the one before may have died of too little."""
    return lambda wildcards, attempt: megabytes * min(attempt, 3)
