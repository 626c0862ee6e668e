"""What is asked of the images of an experiment: sizes, classes, and a test of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lwdna.config.demands import demand, known
from lwdna.config.networks import classes_of
from lwdna.config.sections import Config, Experiment
from lwdna.data.catalog import DATASET_KINDS, DATASETS, IMAGE_KINDS, DatasetSection
from lwdna.tasks.sections import TaskSection

Folder = str | os.PathLike[str]
"""Where a run works, which paths are relative to."""


def check_sizes(where: str, task: TaskSection, name: str, dataset: DatasetSection) -> None:
    """Labelled images must have one size: by a border, or by crops from images of any."""
    demand(("crop" in task) == ("resize" in task), f"{where}.task", "needs 'crop' and 'resize'")
    demand(("crop" in task) != ("pad" in task), f"{where}.task", "needs either 'pad' or 'crop'")
    demand(
        task.get("resize", 0) >= task.get("crop", 0),
        f"{where}.task.resize",
        f"is {task.get('resize')}, less than the crop of {task.get('crop')}",
    )
    demand(
        "crop" in task or not DATASET_KINDS[dataset["kind"]].stays(dataset),
        f"{where}.task",
        f"lacks 'crop', but the images of '{name}' differ in size",
    )


def check_shape(where: str, experiment: Experiment, name: str, dataset: DatasetSection) -> None:
    """A network of the registry takes the images of one dataset, as far as these are known."""
    shape, network = DATASET_KINDS[dataset["kind"]].shape, experiment["network"]
    classes = classes_of(network)
    if shape is None or classes is None:
        return
    size = experiment["task"].get("crop", shape.size)
    wanted = DATASETS[network["dataset"]].size
    demand(
        (size, shape.classes) == (wanted, classes),
        f"{where}.network",
        f"takes images of {wanted} x {wanted} in {classes} classes, but those of '{name}' are "
        f"{size} x {size} in {shape.classes}; set 'dataset', or 'num_classes' in 'options'",
    )


def scenes(dataset: DatasetSection, role: str, folder: Folder) -> set[str]:
    """What tells images of a dataset from others: the folder or archive, or what each shows."""
    kind, given = DATASET_KINDS[dataset["kind"]], dataset.get(role, [])
    if isinstance(given, str):
        return {os.path.realpath(Path(folder, given))}
    if kind.source == "sets":
        return {scene for part in given for scene in _scenes_of(part, role, folder)}
    return {kind.scene(image) for image in given}


def _scenes_of(part: Mapping[str, Any], role: str, folder: Folder) -> set[str]:
    """The same of a set of videos, which is a split of a folder, or made of photographs."""
    if "photographs" in part:
        named = DATASET_KINDS[IMAGE_KINDS["names"]]
        return {named.scene(image) for image in part["photographs"]}
    place = os.path.realpath(Path(folder, str(part.get("folder", ""))))
    return {f"{place} ({part.get('split', role)})"}


def check_scenes(where: str, experiment: Experiment, config: Config, folder: Folder) -> None:
    """No image is trained and tested on, whatever datasets it is in."""
    sections = config["datasets"]
    learned = scenes(sections[experiment["train"]], "train", folder)
    for name in experiment["test"]:
        common = sorted(learned & scenes(sections[name], "test", folder))
        demand(
            not common,
            f"{where}.test",
            f"names '{name}', of which {', '.join(common)} is trained on, in "
            f"'{experiment['train']}'",
        )


def check_names(name: str, dataset: DatasetSection) -> None:
    """Named images must exist, where all names are known."""
    kind = DATASET_KINDS[dataset["kind"]]
    if kind.known is not None:
        for role in ("train", "test"):
            for image in dataset.get(role, []):
                known(image, kind.names, f"datasets.{name}.{role}")


def check_strip(where: str, experiment: Experiment, config: Config, folder: Folder) -> None:
    """The part of a test image that a figure shows must be there, as far as that is known."""
    strip, test = experiment.get("strip", {}), experiment["test"][0]
    dataset = config["datasets"][test]
    kind, given = DATASET_KINDS[dataset["kind"]], dataset.get("test", [])
    if isinstance(given, str):
        there = Path(folder, given)
        names = sorted(p.stem for p in there.iterdir() if p.is_file()) if there.is_dir() else []
    else:
        names = sorted(given)
    if not names:
        return
    if "image" in strip:
        known(strip["image"], names, f"{where}.image")
    if "centre" in strip and kind.known is not None:
        image = kind.names[strip.get("image", names[0])]
        row, column = strip["centre"]
        demand(
            row < image.height and column < image.width,
            f"{where}.centre",
            f"is row {row} and column {column}, but the image has {image.height} rows and "
            f"{image.width} columns",
        )
