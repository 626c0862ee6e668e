"""What is asked of data sets and protocols, each on its own."""

from __future__ import annotations

import os
from collections.abc import Collection

from lwdna.config.demands import demand
from lwdna.config.images import check_names, scenes
from lwdna.data.catalog import DATASET_KINDS, DatasetSection
from lwdna.tasks.sections import ProtocolSection


def check_dataset(
    name: str, dataset: DatasetSection, filled: Collection[str], folder: str | os.PathLike[str]
) -> None:
    """Folders are strings, names are lists, and training and test have nothing in common.

    Keys that are ``filled`` in by the schema are in every section, and looked at by few kinds.
    """
    kind = DATASET_KINDS[dataset["kind"]]
    for key in dataset:
        demand(
            key in kind.keys or key in filled,
            f"datasets.{name}",
            f"of kind {dataset['kind']} takes no '{key}'",
        )
    wanted = list if kind.source in _LISTS else str
    what = _LISTS.get(kind.source, "a folder")
    for role in ("train", "test"):
        given = dataset.get(role, wanted())
        fits = isinstance(given, wanted)
        if fits and wanted is list:
            made = kind.source == "sets"
            fits = all(isinstance(p, dict) == made and (not made or "layout" in p) for p in given)
        demand(fits, f"datasets.{name}.{role}", f"must be {what} here")
    check_names(name, dataset)
    common = sorted(scenes(dataset, "train", folder) & scenes(dataset, "test", folder))
    demand(not common, f"datasets.{name}", f"has {common} in both training and test")


_LISTS = {"names": "a list of names", "sets": "a list of sets, each with a 'layout',"}
"""What a role of a dataset is, where it is no folder."""


def check_protocol(name: str, protocol: ProtocolSection) -> None:
    """What the kind of optimiser and schedule needs, and does not know."""
    where = f"protocols.{name}"
    schedule, optimizer = protocol["schedule"], protocol["optimizer"]
    steps = schedule["kind"] == "step"
    for key in ("milestones", "gamma"):
        demand(
            (key in schedule) == steps,
            f"{where}.schedule",
            f"of kind {schedule['kind']} {'lacks' if steps else 'does not take'} '{key}'",
        )
    foreign = {"sgd": ("betas", "eps"), "adam": ("momentum", "nesterov")}[optimizer["kind"]]
    for key in foreign:
        demand(
            key not in optimizer,
            f"{where}.optimizer",
            f"of kind {optimizer['kind']} does not take '{key}'",
        )
