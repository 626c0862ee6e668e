"""Batch norm recalibrated: its statistics measured anew where weights were shared or changed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn

from lwdna.errors import DataError
from lwdna.graph.operations import BATCH_NORMS
from lwdna.tasks.trees import Tree, call, mapped


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tree]) -> None:
    """Give each batch norm the mean statistics of some batches, as Yu and Huang (2019b) do.

    Statistics are forgotten first, so that it does not matter what they were. Only batch norms are
    in training mode meanwhile, so that nothing is dropped out. A network without any is not run.

    Args:
        model: the network; its training mode and all else of it stays.
        batches: inputs of training images, (B, C, H, W) or trees of such; moved to the device of
            the network.

    Raises:
        DataError: if there is no batch.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, BATCH_NORMS) and module.running_mean is not None
    ]
    if not norms:
        return
    waiting = iter(batches)
    first = next(waiting, None)
    if first is None:
        raise DataError("There is no batch to recalibrate batch norm with; give at least one.")
    device = norms[0].running_mean.device  # type: ignore[union-attr]
    modes = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    try:
        for inputs in chain([first], waiting):
            call(model, mapped(lambda x: x.to(device), inputs))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode
