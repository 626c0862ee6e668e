"""Evaluation of a network on test data, measured as its task has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, Dataset

from lwdna.data.batches import batch_loader
from lwdna.data.workers import worker_errors
from lwdna.errors import DataError
from lwdna.tasks.sections import Convention, TaskSection
from lwdna.tasks.task import Measuring, Sums, Task, task_for
from lwdna.tasks.trees import Tree, batch_length, mapped
from lwdna.training.sampler import length


def evaluate(
    model: nn.Module,
    data: Dataset[Any],
    *,
    task: str | TaskSection | Task,
    convention: str | Convention | None = None,
    multiple: int = 1,
    full: bool = True,
    batch_size: int = 128,
    workers: int = 0,
    after_batch: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Run a network over test data, in evaluation mode, on the device the network is on.

    Args:
        model: the network; its training mode is restored afterwards.
        data: pairs of (input, target), as the task has them: (3, H, W) and a class number, or
            (C, h, w) and (C, H, W) on the 0-255 scale, or trees of tensors.
        task: a name of :data:`lwdna.tasks.kinds.KINDS`, the section of an experiment, or the task
            itself.
        convention, multiple, full: how a batch is measured, see
            :meth:`lwdna.tasks.task.Task.evaluate_batch`.
        batch_size: images at a time, unless the task takes one by one.
        workers: processes that load data.
        after_batch: called after each batch; an exception from it ends the evaluation.

    Returns:
        What :meth:`lwdna.tasks.task.Task.summary` makes of the batches: of the paper's tasks means
        over the images, ``loss`` and ``top1_error``, ``top5_error`` in percent, or ``loss`` (L1),
        ``psnr`` in dB and ``ssim``; and ``n``, the number of images.

    Raises:
        DataError: if there is no test image, or an output does not fit its target.
        ConfigError: if a name or argument does not exist.
    """
    task = task if isinstance(task, Task) else task_for(task)
    device = _device_of(model)
    size = 1 if task.one_by_one else batch_size
    keys = BatchSampler(range(length(data)), size, drop_last=False)
    loader = batch_loader(data, keys, num_workers=workers)
    how: Measuring = {"convention": convention, "multiple": multiple, "full": full}
    batches: list[tuple[int, Sums]] = []
    with worker_errors(), _evaluating(model):
        for batch in loader:
            inputs, targets = (mapped(lambda x: x.to(device), tree) for tree in batch)
            values = task.evaluate_batch(model, inputs, targets, **how)
            batches.append((batch_length(inputs), values))
            if after_batch is not None:
                after_batch()
    if not batches:
        raise DataError("The test set has no image; give at least one.")
    return task.summary(batches)


@torch.inference_mode()
def infer_example(
    model: nn.Module, inputs: Tree, *, task: str | TaskSection | Task, multiple: int = 1
) -> Tree:
    """What a network makes of one input of a test, in evaluation mode on the network's device.

    Args:
        model: the network; its training mode is restored afterwards.
        inputs: without the dimension of the batch: (C, h, w), or a tree of such.
        task, multiple: as for :func:`evaluate`.

    Returns:
        On the CPU, without the dimension of the batch: (C, H, W), or a tree of such.
    """
    task = task if isinstance(task, Task) else task_for(task)
    device = _device_of(model)
    with _evaluating(model):
        batch = mapped(lambda x: x[None].to(device), inputs)
        return mapped(lambda x: x[0].cpu(), task.infer(model, batch, multiple=multiple))


def _device_of(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each module gets its own mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
