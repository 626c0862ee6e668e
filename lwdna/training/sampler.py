"""The order of the training data: a function of (seed, epoch), shared out among devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from lwdna.data.batches import batch_of
from lwdna.errors import ConfigError
from lwdna.tasks.sections import TaskSection
from lwdna.tasks.task import task_for
from lwdna.tasks.trees import Tree, call, mapped

# Keeps this random stream apart from others that are seeded with the same numbers.
_DATA_ORDER = 0x6F72646572


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index), in an order that depends on (seed, epoch) only.

    Every index comes once in an epoch, over all ranks together. The last, incomplete batch is
    kept; only if it has less than two images per rank, on which BatchNorm cannot normalise a
    1 x 1 map, it is added to the batch before.

    Args:
        samples: number of training images.
        batch_size: images in a batch, over all ranks together.
        seed: of the run.
        rank, world: this process, and how many share each batch.

    Raises:
        ConfigError: if there are too few images, or more ranks than images in a batch.
    """

    def __init__(
        self, samples: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if samples < 1:
            raise ConfigError("The training set has no image; give at least one.")
        if min(batch_size, samples) < world:
            raise ConfigError(
                f"A batch of {min(batch_size, samples)} cannot be shared by {world} devices; "
                "use fewer devices or larger batches."
            )
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch, self.start = 0, 0
        self._samples = samples
        self._edges: list[int] = [*range(0, samples, batch_size), samples]
        last = self._edges[-1] - self._edges[-2]
        if len(self._edges) > 2 and last < min(batch_size, 2 * world):
            del self._edges[-2]

    def seek(self, epoch: int, start: int = 0) -> None:
        """Let the next iteration give the batches of ``epoch`` from number ``start`` on."""
        self.epoch, self.start = epoch, start

    def size(self, step: int) -> int:
        """Number of images in a batch, over all ranks."""
        return self._edges[step + 1] - self._edges[step]

    def __len__(self) -> int:
        return len(self._edges) - 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([_DATA_ORDER, self.seed, self.epoch])
        indices = order.permutation(self._samples).tolist()
        for step in range(self.start, len(self)):
            batch = indices[self._edges[step] : self._edges[step + 1]]
            yield [(self.epoch, index) for index in batch[self.rank :: self.world]]


def batch_losses(
    task: str | TaskSection, data: Dataset[Any], batch_size: int, seed: int
) -> Callable[[nn.Module], Tensor]:
    """The loss of a network on the next batch of training data, in the order of a training.

    Args:
        task: the section ``task`` of an experiment, or a name of
            :data:`lwdna.tasks.kinds.KINDS`.
        data: as for :func:`train`.
        batch_size: images in a batch; all of them where there are fewer.
        seed: of the order.

    Returns:
        A function for :func:`lwdna.shrink`, whose result is a scalar; epochs follow one another
        without end.
    """
    objective = task_for(task)
    batches = batches_of(data, batch_size, seed)

    def loss(model: nn.Module) -> Tensor:
        device = next(model.parameters()).device
        inputs, targets = (mapped(lambda x: x.to(device), tree) for tree in next(batches))
        return objective.loss(call(model, inputs), targets)

    return loss


def batches_of(data: Dataset[Any], batch_size: int, seed: int) -> Iterator[tuple[Tree, Tree]]:
    """Batches of training data in the order of a training, epoch after epoch without end.

    Args:
        data: as for :func:`train`.
        batch_size: images in a batch; all of them where there are fewer.
        seed: of the order.

    Yields:
        Inputs and targets, (B, ...) or trees of such.
    """
    samples = length(data)
    sampler = EpochBatches(samples, min(batch_size, samples), seed=seed)
    for epoch in itertools.count():
        sampler.seek(epoch)
        for batch in sampler:
            inputs, targets = batch_of(data, batch)
            yield inputs, targets


def length(data: Dataset[Any]) -> int:
    """How many samples a map-style dataset has."""
    return len(data)  # type: ignore[arg-type]
