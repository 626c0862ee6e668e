"""The tasks by name: the data, the loss and the metrics of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from lwdna.data.classification import ClassificationTest, ClassificationTrain
from lwdna.data.images import find_images
from lwdna.data.listings import open_labelled
from lwdna.data.restoration import (
    DenoisingTest,
    DenoisingTrain,
    SuperResolutionTest,
    SuperResolutionTrain,
)
from lwdna.data.stores import Store
from lwdna.errors import ConfigError, nearest
from lwdna.tasks.classification import Classification
from lwdna.tasks.restoration import Restoration

PathLike = str | os.PathLike[str]


TrainDataset = ClassificationTrain | SuperResolutionTrain | DenoisingTrain
TestDataset = ClassificationTest | SuperResolutionTest | DenoisingTest


def train_dataset(task: Mapping[str, Any], path: PathLike, *, seed: int) -> TrainDataset:
    """Make the training set of a task from its store.

    Args:
        task: "kind" and what that kind needs: "classification" mean, std, flip and either pad or
            crop; "super-resolution" scale and patch_size; "denoising" sigma and patch_size. The
            last two also take samples_per_epoch. Other keys are left alone.
        path: the store, or the listing for classification.
        seed: of augmentation and noise.

    Raises:
        ConfigError: if the kind does not exist, a key is missing or a number is out of range.
        DataError: if the store is damaged or does not fit the task.
    """
    kind = _kind(task)
    if kind == "classification":
        return ClassificationTrain(
            open_labelled(path),
            mean=_key(task, "mean"),
            std=_key(task, "std"),
            pad=0 if "crop" in task else _key(task, "pad"),
            flip=_key(task, "flip"),
            crop=task.get("crop"),
            seed=seed,
        )
    patch_size, samples = _key(task, "patch_size"), task.get("samples_per_epoch")
    if kind == "super-resolution":
        return SuperResolutionTrain(
            Store(path),
            patch_size=patch_size,
            scale=_key(task, "scale"),
            samples_per_epoch=samples,
            seed=seed,
        )
    return DenoisingTrain(
        Store(path),
        patch_size=patch_size,
        sigma=_key(task, "sigma"),
        samples_per_epoch=samples,
        seed=seed,
    )


def test_dataset(task: Mapping[str, Any], path: PathLike, *, seed: int = 0) -> TestDataset:
    """Make the test set of a task: from a store for classification, else from a folder of images.

    Args:
        task: as in :func:`train_dataset`; only mean and std (and crop and resize), scale, or sigma
            are needed.
        path: the store, listing or folder.
        seed: of the noise, for denoising.

    Raises:
        ConfigError: if the kind does not exist, a key is missing or a number is out of range.
        DataError: if the store is damaged, or the folder is missing or holds no image.
    """
    kind = _kind(task)
    if kind == "classification":
        return ClassificationTest(
            open_labelled(path),
            mean=_key(task, "mean"),
            std=_key(task, "std"),
            crop=task.get("crop"),
            resize=_key(task, "resize") if "crop" in task else None,
        )
    if kind == "super-resolution":
        return SuperResolutionTest(find_images(path), scale=_key(task, "scale"))
    return DenoisingTest(find_images(path), sigma=_key(task, "sigma"), seed=seed)


# pytest would take an imported function of this name for a test.
test_dataset.__test__ = False  # type: ignore[attr-defined]


_KINDS = ("classification", "super-resolution", "denoising")


def _kind(task: Mapping[str, Any]) -> str:
    kind = str(_key(task, "kind"))
    if kind not in _KINDS:
        raise ConfigError(f"The task kind '{kind}' does not exist; {nearest(kind, _KINDS)}")
    return kind


def _key(task: Mapping[str, Any], name: str) -> Any:
    if name not in task:
        raise ConfigError(f"The task {dict(task)} has no '{name}'; add it.")
    return task[name]


class Task(Protocol):
    """What the training step needs to know about a task."""

    @property
    def kind(self) -> str:
        """Name of the task in the configuration."""

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics, the main one first."""

    @property
    def distils(self) -> bool:
        """Whether the task has a loss against a teacher."""

    def loss(self, output: Tensor, target: Tensor, teacher_output: Tensor | None = None) -> Tensor:
        """The loss to minimise, a scalar: the mean over the batch."""

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The metrics *summed* over the batch, so that batches add up; scalars."""


TASKS = ("classification", "super-resolution", "denoising")
"""The tasks of the paper that are trained here."""


def task_for(kind: str, distillation: Mapping[str, Any] | None = None) -> Task:
    """The task of that name.

    Args:
        kind: one of :data:`TASKS`.
        distillation: ``temperature`` and ``weight`` of the distillation loss, for classification;
            the authors' code's 4 and 0.4 where left out.

    Raises:
        ConfigError: if there is no such task or setting.
    """
    if kind not in TASKS:
        raise ConfigError(f"The task '{kind}' does not exist; {nearest(kind, TASKS)}")
    if kind != "classification":
        return Restoration(kind)
    settings = dict(distillation or {})
    for name in settings:
        if name not in ("temperature", "weight"):
            raise ConfigError(
                f"'distillation' has no setting '{name}'; "
                f"{nearest(name, ('temperature', 'weight'))}"
            )
    task = Classification(**{name: float(value) for name, value in settings.items()})
    if not (task.temperature > 0 and 0 <= task.weight <= 1):
        raise ConfigError(
            f"Distillation with temperature {task.temperature:g} and weight {task.weight:g} is "
            "not possible; give a temperature above 0 and a weight from 0 to 1."
        )
    return task
