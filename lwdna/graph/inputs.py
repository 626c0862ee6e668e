"""What a network is followed and counted with: the module itself, and example inputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lwdna.errors import ConfigError, GraphError

WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
"""By name of a class of PyTorch that runs another module, where that is: what it computes is the
same."""


def inside(model: Any) -> nn.Module:
    """The network itself, out of ``nn.DataParallel``, ``torch.compile`` and the like.

    Raises:
        ConfigError: for what is no network.
    """
    if inspect.isclass(model):
        raise ConfigError(f"The model is the class {model.__name__}; give a network made by it.")
    if not isinstance(model, nn.Module):
        raise ConfigError(f"The model is a {type(model).__name__}; give an nn.Module.")
    network: nn.Module = model
    while _is_wrapper(network):
        network = getattr(network, WRAPPERS[type(network).__name__])
    return network


def unwrapped(model: Any) -> nn.Module:
    """The network itself, as :func:`inside`, if its code can be followed.

    Raises:
        ConfigError: for what is no network, or none whose code can be followed.
        GraphError: if a part of it is wrapped, or has no sizes yet.
    """
    network = inside(model)
    for name, module in network.named_modules():
        what = f"Module '{name}'" if name else "The network"
        if isinstance(module, torch.jit.ScriptModule):
            raise GraphError(
                f"{what} is TorchScript, whose code cannot be followed; give the network before "
                "torch.jit.script or torch.jit.trace, and apply that to the shrunk one."
            )
        if _is_wrapper(module):
            raise GraphError(
                f"{what} is wrapped as {type(module).__name__}; give the network without, and wrap "
                "the shrunk one again."
            )
        own = chain(module.parameters(recurse=False), module.buffers(recurse=False))
        if any(is_lazy(tensor) for tensor in own):
            raise GraphError(
                f"{what}, a {type(module).__name__}, has no sizes before its first input; run the "
                "network once, so that it takes them."
            )
    if type(network).forward is nn.Module.forward and "forward" not in vars(network):
        raise ConfigError(
            f"The model is a {type(network).__name__} without a forward; put its layers into a "
            "module that has one, such as nn.Sequential."
        )
    return network


def _is_wrapper(module: nn.Module) -> bool:
    kind = type(module)
    return kind.__module__.startswith("torch.") and kind.__name__ in WRAPPERS


def check_data(model: nn.Module) -> nn.Module:
    """The network, if it has weights, not only their sizes.

    Raises:
        ConfigError: if it is on the meta device.
    """
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if tensor.is_meta:
            raise ConfigError(
                f"'{name}' of {type(model).__name__} is on the meta device, without data; call "
                "model.to_empty(device='cpu') and initialise it first."
            )
    return model


def as_inputs(example_input: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs of a network: one tensor ``(B, C, H, W)``, or several in a tuple or list.

    Raises:
        ConfigError: for anything else.
    """
    given: Any = example_input
    if isinstance(given, Tensor):
        given = (given,)
    wrong = f"of type {type(given).__name__}"
    if isinstance(given, dict):
        wrong = f"a dict of {', '.join(map(str, given))}"
    elif isinstance(given, tuple | list):
        odd = [type(x).__name__ for x in given if not isinstance(x, Tensor)]
        wrong = f"a {type(given).__name__} that holds something of type {odd[0]}" if odd else ""
        wrong = wrong if given else "empty"
    if wrong:
        raise ConfigError(
            f"The example input is {wrong}; give a tensor such as torch.zeros(1, 3, 32, 32), or a "
            "tuple of tensors in the order in which forward takes them."
        )
    for x in given:
        if x.ndim and not len(x):
            raise ConfigError(
                f"The example input has the shape {tuple(x.shape)}, without a single image; give "
                "one at least."
            )
    return tuple(given)


def check_arguments(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Refuse more or fewer inputs, ``(B, C, H, W)`` or of other shapes, than the network takes.

    Raises:
        GraphError: naming what its forward takes.
    """
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*inputs)
    except TypeError as error:
        raise GraphError(
            f"The forward of {type(model).__name__} takes ({', '.join(signature.parameters)}), but "
            f"{len(inputs)} input{'s were' if len(inputs) > 1 else ' was'} given: {error}. Give an "
            "example of each, as a tuple of tensors."
        ) from None


def batch_of(inputs: Sequence[Tensor]) -> int:
    """How many images an example holds: the length B of axis 0, ``(B, ...)``.

    An input of length 1 there serves all images. Inputs that disagree, such as the support and the
    query images of an episode, count as one.
    """
    sizes = {x.shape[0] for x in inputs if x.ndim > 1} - {1}
    return sizes.pop() if len(sizes) == 1 else 1


def for_one(total: int, batch: int) -> int:
    """What a batch of ``batch`` images costs for one of them, rounded up."""
    return -(-total // batch)
