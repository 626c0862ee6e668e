"""The sections of datasets, checked."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from lwdna.config.demands import demand
from lwdna.data.catalog import DATASET_KINDS, IMAGE_KINDS, DatasetSection


def check_dataset(name: str, dataset: DatasetSection, filled: Collection[str]) -> None:
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
    wanted = list if kind.source in {"names", "sets"} else str
    for role in ("train", "test"):
        demand(
            isinstance(dataset.get(role, wanted()), wanted),
            f"datasets.{name}.{role}",
            f"must be {_SOURCES.get(kind.source, 'a folder')} here",
        )
        for part in dataset.get(role, ()) if wanted is list else ():
            demand(
                isinstance(part, dict) == (kind.source == "sets")
                and (kind.source != "sets" or "layout" in part),
                f"datasets.{name}.{role}",
                f"must be {_SOURCES[kind.source]} here",
            )
    common = sorted((content(dataset, "train") & content(dataset, "test")) - {"."})
    demand(not common, f"datasets.{name}", f"has {common} in both training and test")


_SOURCES = {"names": "a list of names", "sets": "a list of sets, each with a 'layout',"}
"""What a role of a dataset may be, where it is no folder."""


def content(dataset: DatasetSection, role: str) -> set[str]:
    """What a role of a dataset shows: folders, or scenes of photographs."""
    kind, given = DATASET_KINDS[dataset["kind"]], dataset.get(role, [])
    if kind.source == "sets":
        return {scene for part in given for scene in _content_of_set(part, role)}
    if isinstance(given, str) or not given:
        return {os.path.normpath(given or "")}
    return {kind.scene(image) for image in given}


def _content_of_set(part: Mapping[str, Any], role: str) -> set[str]:
    photographs = DATASET_KINDS[IMAGE_KINDS["names"]]
    if "photographs" in part:
        return {photographs.scene(image) for image in part["photographs"]}
    return {f"{os.path.normpath(part.get('folder', ''))} ({part.get('split', role)})"}
