"""The sizes that a layer of PyTorch holds beside its tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lwdna.errors import CheckpointError
from lwdna.graph.operations import BATCH_NORMS, CONVOLUTIONS, INSTANCE_NORMS, TRANSPOSED


def resize(module: nn.Module, shapes: Mapping[str, torch.Size], groups: int | None = None) -> None:
    """Set the sizes that a layer holds beside its tensors."""
    # Other tensors, such as a counter of FLOPs may leave, say nothing of the size.
    shapes = {n: s for n, s in shapes.items() if n.startswith(("weight", "bias", "running"))}
    if isinstance(module, CONVOLUTIONS):
        first, second = shapes["weight"][:2]
        transposed = isinstance(module, TRANSPOSED)
        if groups is not None:
            module.groups = groups
        elif module.groups > 1:  # a group keeps its width
            before = module.in_channels if transposed else module.out_channels
            module.groups = module.groups * first // before
        outside = (first, second * module.groups)
        module.in_channels, module.out_channels = outside if transposed else outside[::-1]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shapes["weight"]
    elif isinstance(module, (*BATCH_NORMS, *INSTANCE_NORMS)) and shapes:
        lengths = {shape[0] for shape in shapes.values() if len(shape) == 1}
        if len(lengths) != 1:
            raise CheckpointError(
                f"A {type(module).__name__} has tensors of different lengths: {lengths}."
            )
        module.num_features = lengths.pop()
    elif isinstance(module, nn.LayerNorm) and shapes:
        module.normalized_shape = tuple(shapes["weight"])
    elif isinstance(module, nn.GroupNorm) and shapes:
        (channels,) = shapes["weight"]
        if module.num_groups > 1:  # a group keeps its width
            module.num_groups = module.num_groups * channels // module.num_channels
        module.num_channels = channels
    elif isinstance(module, nn.PReLU):
        module.num_parameters = shapes["weight"][0]
