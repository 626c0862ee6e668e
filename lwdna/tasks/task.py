"""A task: the data, the loss and the measures of one experiment, whatever its kind."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, TypedDict, Unpack

from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from lwdna.errors import ConfigError
from lwdna.tasks.kinds import TaskKind, kind_of
from lwdna.tasks.sections import Convention, Distillation, NetworkSection, TaskSection
from lwdna.tasks.trees import Tree, call

PathLike: TypeAlias = str | os.PathLike[str]

Sums: TypeAlias = Mapping[str, float]
"""By measure, its sum over the ``n`` images of a batch."""


class Measuring(TypedDict, total=False):
    """How a test is measured."""

    convention: str | Convention | None
    """Where there are several ways; by default the kind's usual one."""
    multiple: int
    """What the sizes of inputs must be divisible by, 1."""
    full: bool
    """Also what is costly and not among the :attr:`Task.metric_names`; by default true."""


class Named(Protocol):
    """What a task asks of the description of a network, to compare it with the data."""

    @property
    def name(self) -> str:
        """Of the network."""

    @property
    def dataset(self) -> str | None:
        """What it was made for, if for one."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Other arguments it was made with."""


@dataclass(frozen=True)
class Example:
    """An image, and what a network should make of it."""

    image: Tensor
    """(1, C, H, W)."""
    output: tuple[int, ...]
    """The shape of what comes out: (1, classes), or (1, C, H, W)."""
    advice: str
    """What to do if it is another."""
    one_size: bool = False
    """Whether every image has this size."""


@dataclass(frozen=True)
class Task(ABC):
    """The home of a kind of task.

    What goes into a network, what comes out of it, and what it is compared with are trees of
    tensors (:mod:`lwdna.tasks.trees`); those of the paper's tasks are single tensors, whose first
    dimension is the batch.
    """

    section: TaskSection
    """The section ``task`` of an experiment; training and tests need ``kind`` alone."""

    metric_names: ClassVar[tuple[str, ...]]
    """What is followed during a training, the main one first."""
    one_by_one: ClassVar[bool] = False
    """Whether tests take one image at a time, because sizes differ."""

    @classmethod
    def read(cls, section: TaskSection, distillation: Distillation | None) -> Task:
        """Make the task of a section, with the settings of the distillation if it distils.

        Raises:
            ConfigError: if a setting does not exist or is not possible.
        """
        return cls(section)

    @property
    def kind(self) -> TaskKind:
        """What is known of tasks of this kind."""
        return kind_of(self.section)

    def key(self, name: str) -> Any:
        """A value of the section.

        Raises:
            ConfigError: if it is missing.
        """
        if name not in self.section:
            raise ConfigError(f"The task {dict(self.section)} has no '{name}'; add it.")
        return self.section[name]

    @abstractmethod
    def train_data(self, path: PathLike, *, seed: int) -> Dataset[Any]:
        """The training set: ``data[epoch, index]`` is a pair (input, target) of trees.

        Its length is that of an epoch, and need not be the number of images.

        Args:
            path: of the store.
            seed: of whatever is random.
        """

    @abstractmethod
    def test_data(self, path: PathLike, *, seed: int = 0) -> Dataset[Any]:
        """A test set: ``data[index]`` is a pair (input, target) of trees.

        Figures call its images by its ``names``, one for each in order, or number them from 1.

        Args:
            path: of the store, or a folder of images.
            seed: of whatever is random.
        """

    @abstractmethod
    def loss(self, output: Tree, target: Tree, teacher_output: Tree | None = None) -> Tensor:
        """The loss to minimise, a scalar: the mean over the batch."""

    def soft_loss(self, output: Tree, other: Tree) -> Tensor:
        """The loss against another output for the same batch, a scalar: the mean over the batch.

        Args:
            output: of (B, ...), as of :meth:`loss`.
            other: of the same shape, without gradient.

        Raises:
            ConfigError: if there is none for tasks of this kind.
        """
        raise ConfigError(
            f"There is no distillation for the task '{self.section['kind']}'; let every pass learn "
            "from the targets."
        )

    @abstractmethod
    def metrics(self, output: Tree, target: Tree) -> dict[str, Tensor]:
        """The :attr:`metric_names` *summed* over the batch, so that batches add up; scalars."""

    def infer(self, model: nn.Module, inputs: Tree, *, multiple: int = 1) -> Tree:
        """What a network makes of a batch of a test.

        Args:
            model: in evaluation mode.
            inputs: on the device of the network.
            multiple: what the sizes of inputs must be divisible by.
        """
        return call(model, inputs)

    @abstractmethod
    def evaluate_batch(
        self,
        model: nn.Module,
        inputs: Tree,
        targets: Tree,
        **how: Unpack[Measuring],
    ) -> Sums:
        """Measure a network on a batch of a test: what :meth:`summary` is made of.

        Args:
            model: in evaluation mode.
            inputs, targets: on the device of the network.
            how: of the test.
        """

    def summary(self, batches: Sequence[tuple[int, Sums]]) -> dict[str, float]:
        """The result of a test; by default the means over its images, ``loss`` first.

        Args:
            batches: number of images, and what :meth:`evaluate_batch` returned, of each batch.

        Returns:
            ``loss``, the :attr:`metric_names`, whatever else there is, and ``n``, the number of
            images.
        """
        sums: dict[str, float] = {"loss": 0.0}
        for _, values in batches:
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
        n = sum(images for images, _ in batches)
        return {**{name: value / n for name, value in sums.items()}, "n": n}

    @abstractmethod
    def random_batch(
        self, network: NetworkSection, images: int, shape: Sequence[int]
    ) -> tuple[Tree, Tree]:
        """Inputs and targets without a meaning, to measure a device with.

        Args:
            network: the section ``network`` of an experiment.
            images: in the batch.
            shape: (1, C, H, W) of the input of the network.
        """

    def model_on(self, network: nn.Module, *, seed: int) -> nn.Module:
        """What is trained, on a network that another experiment has trained.

        Args:
            network: which it takes over.
            seed: of its other weights.

        Raises:
            ConfigError: if a task of this kind trains the network itself, or this one does not do.
        """
        raise ConfigError(
            f"The task '{self.section['kind']}' trains no model on a backbone; start from weights."
        )

    @property
    def write(self) -> Callable[[nn.Module, PathLike], None] | None:
        """What writes :meth:`model_on` to a file; None for a network as it is."""
        return None

    def check_fits(  # noqa: B027, most data fit most networks
        self, model: nn.Module, data: Any, spec: Named | None
    ) -> None:
        """Refuse data that a network was not built for.

        Args:
            model: the network.
            data: of :meth:`train_data` or :meth:`test_data`.
            spec: what the network was built as, if that is known.

        Raises:
            ConfigError: naming what differs.
        """

    def example(self, data: Any) -> Example | None:
        """An image of the data, for networks of which no more is known; None to let them be.

        Args:
            data: of :meth:`train_data` or :meth:`test_data`.
        """
        return None

    def check_tests(self, train: Any, test: Any) -> None:  # noqa: B027, as above
        """Refuse test data that do not belong to the training data.

        Raises:
            ConfigError: naming what differs.
        """

    def takes(self, data: Any = None) -> dict[str, Any]:
        """What goes into a network of this task, as JSON for those who apply it.

        Args:
            data: of :meth:`train_data`, where they say more than the section does.
        """
        return {}

    @property
    def beyond(self) -> float:
        """How far values of an input may lie outside of 0-255, as interpolation leaves them."""
        return 25.0

    def prepare(self, picture: NDArray[Any], size: Sequence[int] | None) -> Tensor:
        """The input ``(C, H, W)`` of a network, of a whole picture.

        Args:
            picture: (H, W, C) on the scale 0-255, with the channels that the network takes.
            size: height and width that it takes, if it takes but one size.

        Raises:
            ConfigError: if networks of this kind are not applied to pictures.
            DataError: if the picture is not what they take.
        """
        raise ConfigError(
            f"Networks of the task '{self.section['kind']}' cannot be applied to a picture."
        )

    def doubt(self, inputs: Tensor) -> str:
        """Why an input may not be what networks of this task are trained for; "" if it may be.

        Args:
            inputs: (C, H, W), of :meth:`prepare`.
        """
        return ""

    def answer(self, output: Tensor, classes: Sequence[str] | None = None) -> Any:
        """What the output of a network for one picture means, without the dimension of the batch.

        Args:
            output: (C, H, W), or as the task has it.
            classes: their names, where it classifies.

        Raises:
            ConfigError: as :meth:`prepare`.
        """
        raise ConfigError(
            f"Networks of the task '{self.section['kind']}' cannot be applied to a picture."
        )

    def degraded(self, paths: Sequence[Path], *, seed: int = 0) -> Dataset[Any]:
        """Pairs (input, target) of whole clean pictures, degraded as those of a test are.

        Args:
            paths: the picture files.
            seed: of whatever is random.

        Raises:
            ConfigError: if nothing is degraded in this kind of task.
        """
        raise ConfigError(f"The task '{self.section['kind']}' degrades no pictures.")

    def measure_reference(self, path: PathLike, convention: str | None) -> Mapping[str, float]:
        """What there is without a network, measured, where :meth:`reference` is no module.

        Args:
            path: of a test set.
            convention: how it is measured; None for the kind's usual one.

        Returns:
            As :meth:`summary`; empty where :meth:`reference` is to be measured.
        """
        return {}

    def reference(self) -> nn.Module:
        """What there is without a network, as a module without parameters.

        Raises:
            ConfigError: if there is nothing.
        """
        raise ConfigError(f"The task {dict(self.section)} has no reference; leave it out.")


def task_for(task: str | TaskSection, distillation: Distillation | None = None) -> Task:
    """The task of a section, or of a kind where data are made elsewhere.

    Args:
        task: the section ``task`` of an experiment, or a name of
            :data:`lwdna.tasks.kinds.KINDS`.
        distillation: ``temperature`` and ``weight`` of the distillation loss, for classification;
            the authors' code's 4 and 0.4 where left out.

    Raises:
        ConfigError: if there is no such task or setting.
    """
    section = {"kind": task} if isinstance(task, str) else task
    made: Task = kind_of(section).make.read(section, distillation)  # type: ignore[attr-defined]
    return made


def train_dataset(task: TaskSection, path: PathLike, *, seed: int) -> Dataset[Any]:
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
    return task_for(task).train_data(path, seed=seed)


def test_dataset(task: TaskSection, path: PathLike, *, seed: int = 0) -> Dataset[Any]:
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
    return task_for(task).test_data(path, seed=seed)


# pytest would take an imported function of this name for a test.
test_dataset.__test__ = False  # type: ignore[attr-defined]
