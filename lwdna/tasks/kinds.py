"""What there is to know of each kind of task, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reference:
    """What every network of a task has to beat: a result without a network."""

    name: str
    """In names of files."""
    title: str
    """In tables and figures."""
    factor: str
    """The key of the task that says how hard it is."""
    note: str
    """What it is, at the foot of a table."""


REFERENCES: Mapping[str, Reference] = {
    "denoising": Reference("noisy-input", "Noisy input", "sigma", "the input, left as it is"),
    "super-resolution": Reference(
        "bicubic", "Bicubic", "scale", "the input, enlarged by MATLAB's bicubic interpolation"
    ),
}
"""By kind of task."""


def reference_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a task of restoration that its reference depends on."""
    return {name: task[name] for name in ("kind", REFERENCES[task["kind"]].factor)}


def reference_key(task: Mapping[str, Any], convention: str) -> str:
    """A name for the reference of a task of restoration and for how it is measured.

    Args:
        task: the section ``task`` of an experiment.
        convention: a name of :data:`lwdna.tasks.metrics.PRESETS`.
    """
    reference = REFERENCES[task["kind"]]
    return f"{reference.name}-{reference.factor}{task[reference.factor]}-{convention}"
