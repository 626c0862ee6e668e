"""Evaluation of a network on test data: error rates, or PSNR and SSIM over whole images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lwdna.data.workers import worker_errors
from lwdna.errors import DataError
from lwdna.tasks.metrics import psnr, ssim
from lwdna.tasks.restoration import conventions_for, restore
from lwdna.tasks.task import Task, task_for


def evaluate(
    model: nn.Module,
    data: Dataset[Any],
    *,
    task: str | Task,
    convention: str | Mapping[str, Any] | None = None,
    with_ssim: bool = True,
    multiple: int = 1,
    batch_size: int = 128,
    workers: int = 0,
    after_batch: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Run a network over test data, in evaluation mode, on the device the network is on.

    Args:
        model: the network; its training mode is restored afterwards.
        data: pairs of (input, target): (3, H, W) and a class number, or (C, h, w) and (C, H, W)
            on the 0-255 scale. Restoration takes one whole image at a time.
        task: a name of :data:`lwdna.tasks.task.TASKS`, or the task itself.
        convention: for restoration, a name of :data:`lwdna.tasks.metrics.PRESETS` (the scale is
            read off the sizes) or the arguments of :func:`lwdna.tasks.metrics.psnr`; by default
            ``sr-benchmark`` or ``denoising``.
        with_ssim: whether to compute SSIM too, which costs more than a small network does.
        multiple: pad inputs to a multiple of this (see :func:`restore`), for restoration.
        batch_size: images at a time, for classification.
        workers: processes that load data.
        after_batch: called after each batch; an exception from it ends the evaluation.

    Returns:
        Means over the images: ``loss`` and ``top1_error``, ``top5_error`` in percent, or ``loss``
        (L1), ``psnr`` in dB and ``ssim``; and ``n``, the number of images.

    Raises:
        DataError: if there is no test image, or an output does not fit its target.
        ConfigError: if a name or argument does not exist.
    """
    task = task_for(task) if isinstance(task, str) else task
    classifies = task.kind == "classification"
    device = _device_of(model)
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=batch_size if classifies else 1, num_workers=workers
    )
    sums: dict[str, float] = {}
    n = 0
    with worker_errors(), _evaluating(model):
        for batch in loader:
            inputs, targets = (tensor.to(device) for tensor in batch)
            outputs = model(inputs) if classifies else restore(model, inputs, multiple=multiple)
            if classifies:
                values = {k: float(v) for k, v in task.metrics(outputs, targets).items()}
            else:
                scale = targets.shape[-2] // inputs.shape[-2]
                arguments = conventions_for(task.kind, convention, scale)
                values = {"psnr": psnr(outputs[0], targets[0], **arguments)}
                if with_ssim:
                    values["ssim"] = ssim(outputs[0], targets[0], **arguments)
            values["loss"] = float(task.loss(outputs, targets)) * len(inputs)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            n += len(inputs)
            if after_batch is not None:
                after_batch()
    if n == 0:
        raise DataError("The test set has no image; give at least one.")
    names = ["loss", *(name for name in sums if name != "loss")]
    return {**{name: sums[name] / n for name in names}, "n": n}


@torch.inference_mode()
def restore_example(model: nn.Module, inputs: Tensor, *, multiple: int = 1) -> Tensor:
    """One restored image: (C, h, w) to (C, H, W), in evaluation mode on the network's device."""
    with _evaluating(model):
        return restore(model, inputs[None].to(_device_of(model)), multiple=multiple)[0].cpu()


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
