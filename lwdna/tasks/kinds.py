"""The kinds of tasks, one entry each, without PyTorch: what configurations and plans ask.

What is trained and measured is in a class below :mod:`lwdna.tasks`, the kind's home, which is
imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from lwdna.errors import ConfigError, require_known
from lwdna.io.homes import at_home
from lwdna.tasks.sections import TaskSection

Table: TypeAlias = int | str
"""A table of results: the number of one of the paper's, or the kind of task that it is of."""


@dataclass(frozen=True)
class Reference:
    """What every network of a task has to beat: a result without a network."""

    name: str
    """In names of files."""
    title: str
    """In tables and figures."""
    factor: str | None
    """The key of the task that says how hard it is, if one does."""
    note: str
    """What it is, at the foot of a table."""


@dataclass(frozen=True)
class TaskKind:
    """A kind of task."""

    home: str
    """Module and class below ``lwdna.tasks``, or below ``lwdna`` after a point, in a wing of its
    own: a :class:`lwdna.tasks.task.Task`."""
    keys: tuple[str, ...]
    """What its section ``task`` cannot do without."""
    tables: tuple[int, ...] = ()
    """The tables of the paper that may show its results; without one, it has a table of its own."""
    _: KW_ONLY
    takes: tuple[str, ...] = ()
    """What else its section may have."""
    measures: Mapping[str, str]
    """What a test gives, and its column in the table of metrics."""
    store: Literal["train", "gray", "colour", "sequences"]
    """What of a dataset it is trained on: its labelled images, gray or colour sub-images, or
    videos."""
    tests: Literal["store", "images", "sequences"]
    """What of a dataset it is tested on: labelled images, a folder of whole images, or videos."""
    labelled: bool = False
    """Whether its datasets have class labels, and its networks are made for a dataset."""
    follows: bool = False
    """Whether it follows objects through videos, by a model on a network that another experiment
    has trained, its ``backbone``."""
    prefix: str = ""
    """What stands before a method's name, where what is trained is more than its network."""
    restores: bool = False
    """Whether its networks give images to look at."""
    enlarges: bool = False
    """Whether by a ``scale``, which sub-images, network and task must share."""
    distils: bool = False
    """Whether it has a loss against a teacher."""
    conventions: tuple[str, ...] = ()
    """How its results can be measured, the usual way first: names that its class knows."""
    convention_of_dataset: bool = False
    """Whether a test set says which of these is usual for it."""
    reference: Reference | None = None
    """What there is without a network."""

    @property
    def make(self) -> Callable[..., Any]:
        """The class of its home."""
        wing = "" if self.home.startswith(".") else "tasks."
        return at_home(wing + self.home.removeprefix("."))  # type: ignore[no-any-return]


_ERRORS = {"top1_error": "top1_error_percent", "top5_error": "top5_error_percent"}
_QUALITY = {"psnr": "psnr_db", "ssim": "ssim"}

_restoration = partial(
    TaskKind,
    measures=_QUALITY,
    tests="images",
    restores=True,
    conventions=("denoising-whole",),
    takes=("samples_per_epoch",),
)
"""A kind whose networks give images, which are measured whole and on all their channels."""

KINDS: dict[str, TaskKind] = {
    "classification": TaskKind(
        "classification.Classification",
        keys=("mean", "std", "flip"),
        takes=("pad", "crop", "resize"),
        tables=(1, 3),
        measures=_ERRORS,
        store="train",
        tests="store",
        labelled=True,
        distils=True,
    ),
    "denoising": _restoration(
        "denoising.Denoising",
        keys=("sigma", "patch_size"),
        tables=(2,),
        store="gray",
        conventions=("denoising", "denoising-whole"),
        reference=Reference("noisy-input", "Noisy input", "sigma", "the input, left as it is"),
    ),
    "super-resolution": _restoration(
        "super_resolution.SuperResolution",
        keys=("scale", "patch_size"),
        tables=(4,),
        store="colour",
        enlarges=True,
        conventions=("sr-benchmark", "sr-div2k"),
        convention_of_dataset=True,
        reference=Reference(
            "bicubic", "Bicubic", "scale", "the input, enlarged by MATLAB's bicubic interpolation"
        ),
    ),
    "tracking": TaskKind(
        ".tracking.task.Tracking",
        keys=("tracker", "samples_per_epoch", "test_samples"),
        takes=("sampling", "online"),
        tables=(5,),
        measures={
            "ao": "average_overlap_percent",
            "sr50": "success_rate_50_percent",
            "sr75": "success_rate_75_percent",
            "success_auc": "success_auc_percent",
            "precision": "precision_percent",
            "normalised_precision": "normalised_precision_percent",
        },
        store="sequences",
        tests="sequences",
        follows=True,
        prefix="DiMP-",
        conventions=("ope", "ope-pytracking", "ope-got10k"),
        reference=Reference(
            "box-that-stays", "Box that stays", None, "the box of the first frame, never moved"
        ),
    ),
}
"""By the name of a kind in the configuration. A new kind is its home and an entry here; keys that
only it has may be described in ``config/schema.yaml``."""

REFERENCES: Mapping[str, Reference] = {
    name: kind.reference for name, kind in KINDS.items() if kind.reference is not None
}
"""By kind of task."""


def kind_of(task: TaskSection) -> TaskKind:
    """The kind of a task.

    Args:
        task: the section ``task`` of an experiment.

    Raises:
        ConfigError: if it names none, or one that does not exist.
    """
    if "kind" not in task:
        raise ConfigError(f"The task {dict(task)} has no 'kind'; add it.")
    name = task["kind"]
    require_known(name, KINDS, f"The task '{name}' does not exist;")
    return KINDS[name]


def tables_of(name: str) -> tuple[Table, ...]:
    """The tables that may show the results of a kind of task, given its name in :data:`KINDS`."""
    return KINDS[name].tables or (name,)


def tables() -> list[Table]:
    """Every table there can be: the paper's by number, then those of kinds it has no table of."""
    found = {table for name in KINDS for table in tables_of(name)}
    return sorted(found, key=lambda table: (isinstance(table, str), table))


def kinds_of_table(table: Table) -> str:
    """The kinds of tasks whose results a table shows, in words."""
    return " and ".join(name for name in KINDS if table in tables_of(name))


BEFORE = "_before"
"""Ends the name of a column with what was measured before batch norm was recalibrated."""


def measures() -> dict[str, str]:
    """Every measure of a test, and its column in the table of metrics.

    A table has the columns of all kinds, so that those of several experiments lie one below the
    other.
    """
    return {name: column for kind in KINDS.values() for name, column in kind.measures.items()}


def reference_of(task: TaskSection) -> Reference:
    """What there is without a network.

    Args:
        task: the section ``task`` of an experiment.

    Raises:
        ConfigError: if there is nothing for this kind of task.
    """
    reference = kind_of(task).reference
    if reference is None:
        raise ConfigError(
            f"There is nothing to compare {task['kind']} with that is no network; references are "
            f"of {' and '.join(name for name, kind in KINDS.items() if kind.reference)}."
        )
    return reference


def reference_task(task: TaskSection) -> dict[str, Any]:
    """The part of a task that its reference depends on."""
    factor = reference_of(task).factor
    return {name: task[name] for name in ("kind", factor) if name is not None}


def reference_key(task: TaskSection, convention: str) -> str:
    """A name for the reference of a task and for how it is measured.

    Args:
        task: the section ``task`` of an experiment.
        convention: one of its kind's.
    """
    reference = reference_of(task)
    factor = "" if reference.factor is None else f"-{reference.factor}{task[reference.factor]}"
    return f"{reference.name}{factor}-{convention}"
