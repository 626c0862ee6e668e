"""Surgery: cut a network down to the channels kept, and write and read the plain result."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lwdna.channels import BATCH_NORMS, CONVOLUTIONS, TRANSPOSED, ChannelGraph, Mask, keeps, on_meta
from lwdna.errors import CheckpointError
from lwdna.files import atomic
from lwdna.networks import build
from lwdna.provenance import NetworkSpec, Provenance, provenance_of, set_provenance

FORMAT = "lwdna-network"
VERSION = "1"


def cut(graph: ChannelGraph, model: nn.Module, mask: Mask) -> nn.Module:
    """A plain smaller module with the channels that ``mask`` keeps and their weights.

    Args:
        graph: the channel graph of ``model``, or of a network of the same structure.
        model: the network to cut; it is not changed.
        mask: ``(classes,)``.
    """
    state = {}
    for name, whole in model.state_dict().items():
        tensor = whole
        for axis, classes in enumerate(graph.axes.get(name, ())):
            if classes is not None:
                index = torch.from_numpy(np.flatnonzero(keeps(mask, classes)))
                tensor = tensor.index_select(axis, index.to(tensor.device))
        state[name] = tensor.clone()
    return fit(model, state)


@torch.no_grad()
def silence(graph: ChannelGraph, model: nn.Module, mask: Mask) -> nn.Module:
    """A copy of the wide network in which no layer reads a dropped channel.

    It computes what the network made by ``cut`` computes: the means to check surgery.
    """
    silent = copy.deepcopy(model)
    for name, layer in graph.layers.items():
        if layer.mixes:
            module = silent.get_submodule(name)
            dropped = torch.from_numpy(~keeps(mask, layer.inputs))
            axis = 0 if isinstance(module, TRANSPOSED) else 1
            module.weight.index_fill_(axis, torch.nonzero(dropped).flatten(), 0)  # type: ignore
    return silent


def fit(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``model`` whose layers have the sizes and values of the tensors in ``state``.

    Raises:
        CheckpointError: if the tensors are not those of a network of this structure.
    """
    small = on_meta(model)
    expected = set(small.state_dict())
    if expected != set(state):
        odd = sorted(expected ^ set(state))[0]
        raise CheckpointError(
            f"The weights do not belong to {type(model).__name__}: '{odd}' is in only one of "
            "the two. Load them into the network they were saved from."
        )
    for prefix, module in small.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        shapes = {}
        for name, tensor in own:
            key = f"{prefix}.{name}" if prefix else name
            if key not in state:
                continue  # a buffer that is not saved
            value = state[key]
            if value.ndim != tensor.ndim:
                raise CheckpointError(
                    f"The weights do not belong to {type(model).__name__}: '{key}' has shape "
                    f"{tuple(value.shape)} where the network has {tuple(tensor.shape)}."
                )
            shapes[name] = value.shape
            if isinstance(tensor, nn.Parameter):
                module._parameters[name] = nn.Parameter(value, tensor.requires_grad)
            else:
                module._buffers[name] = value
        _resize(module, shapes)
    return small


def _resize(module: nn.Module, shapes: Mapping[str, torch.Size]) -> None:
    """Set the sizes that a layer holds beside its tensors."""
    if isinstance(module, CONVOLUTIONS):
        first, second = shapes["weight"][:2]
        transposed = isinstance(module, TRANSPOSED)
        if module.groups > 1:  # a group keeps its width
            before = module.in_channels if transposed else module.out_channels
            module.groups = module.groups * first // before
        outside = (first, second * module.groups)
        module.in_channels, module.out_channels = outside if transposed else outside[::-1]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shapes["weight"]
    elif isinstance(module, BATCH_NORMS) and shapes:
        module.num_features = next(s[0] for s in shapes.values() if len(s) == 1)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = shapes["weight"][0]


def save(model: nn.Module, path: str | PathLike[str]) -> None:
    """Write a network as safetensors whose metadata say how to build it again.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    provenance = provenance_of(model)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "network": json.dumps(provenance.spec and asdict(provenance.spec)),
        "kept": json.dumps(provenance.kept),
    }
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic(path) as temporary:
        save_file(state, temporary, metadata)


def load(path: str | PathLike[str], network: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Read a network that was saved by this package; no code is run from the file.

    Args:
        path: a file of ``Shrunk.save`` or of the pipeline.
        network: for a network that ``lwdna.build`` did not make, a function that makes the
            widened network it was shrunk from.

    Returns:
        A plain module on the CPU, without any hypernetwork.

    Raises:
        CheckpointError: if the file is damaged, foreign, or belongs to another network.
    """
    state, provenance = _read(path)
    if network is not None:
        wide = network()
    elif provenance.spec is not None:
        spec = provenance.spec
        with torch.device("meta"):
            wide = build(spec.name, dataset=spec.dataset, width=spec.width, **spec.options)
    else:
        raise CheckpointError(
            f"'{path}' holds a network that lwdna.build did not make; say how to make it: "
            "lwdna.load(path, network=function that returns the widened network)."
        )
    try:
        small = fit(wide, state)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from error
    set_provenance(small, provenance)
    return small


def _read(path: str | PathLike[str]) -> tuple[dict[str, Tensor], Provenance]:
    if not Path(path).is_file():
        raise CheckpointError(f"There is no weights file '{path}'; check the path.")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{path}' is not a whole safetensors file ({error}); delete it and make it again."
        ) from error
    if (metadata.get("format"), metadata.get("version")) != (FORMAT, VERSION):
        raise CheckpointError(
            f"'{path}' is not a network saved by this version of lwdna; use a file that "
            "`lwdna shrink` or the pipeline wrote."
        )
    try:
        spec = json.loads(metadata["network"])
        kept = json.loads(metadata["kept"])
        return state, Provenance(spec and NetworkSpec(**spec), kept)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' has damaged metadata ({error}); delete it and make it again."
        ) from error
