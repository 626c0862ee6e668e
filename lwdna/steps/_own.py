"""What a network is asked before it is trained or measured: does it fit, has it changed?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError, first_line
from lwdna.networks.own import builder
from lwdna.networks.provenance import provenance_of
from lwdna.networks.user_code import fingerprint
from lwdna.tasks.sections import NetworkSection
from lwdna.tasks.task import Task


def source_key(network: str) -> dict[str, str]:
    """What a checkpoint's key holds of a user's own code: nothing for a network by its name.

    Weights alone do not tell a network from one that computes something else with them.
    """
    digest = fingerprint(network)
    return {"source": digest} if digest else {}


def input_of(model: nn.Module, network: NetworkSection | None) -> Sequence[int] | None:
    """The shape ``(1, C, H, W)`` of the input of a user's own network, where it is known."""
    if network is not None and "input" in network:
        return (1, *network["input"])
    shrinkage = provenance_of(model).shrinkage
    return None if shrinkage is None else shrinkage.inputs[0]


def builder_for(network: NetworkSection) -> Callable[..., nn.Module]:
    """What builds the network of a section, which may hold ``input``, and how ``groups`` widen."""
    example = (torch.empty(1, *network["input"]),) if "input" in network else ()
    return builder(example, network.get("groups", "whole"))


def check_own(task: Task, model: nn.Module, data: Any, shape: Sequence[int] | None) -> None:
    """Refuse images that a network does not take, or gives something else for.

    Args:
        task: says what the network should make of the data.
        model: run on one image, on its device; a network by its name only where images have no
            one size.
        data: a training or test set.
        shape: ``(1, C, H, W)`` for which FLOPs are counted, where it is known.

    Raises:
        ConfigError: saying what the images are, and what the network does with them.
    """
    example, spec = task.example(data), provenance_of(model).spec
    if example is None or (spec is not None and example.one_size):
        return  # images of one size are compared with what the network was built for
    image = example.image
    if example.one_size and shape is not None and tuple(shape[1:]) != tuple(image.shape[1:]):
        raise ConfigError(
            f"The network's input is {_by(shape[1:])}, for which its FLOPs are counted, but "
            f"the images are {_by(image.shape[1:])}; give the size of the images."
        )
    made = _run_on(model, image)
    if made != _by(example.output):
        advice = example.advice if spec is None else "give one that was made for this task"
        raise ConfigError(
            f"Of an image ({_by(image.shape)}) the network makes {made}, but the task needs "
            f"{_by(example.output)}; {advice}."
        )


@torch.no_grad()
def _run_on(model: nn.Module, image: Tensor) -> str:
    """The shape of what a network makes of an image, or the type of it if that is no tensor."""
    modes = [module.training for module in model.modules()]
    device = next((tensor.device for tensor in model.parameters()), image.device)
    try:
        with torch.random.fork_rng(devices=[]):
            output = model.eval()(image.to(device))
    except Exception as error:
        raise ConfigError(
            f"The network does not run on an image ({_by(image.shape)}): "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
    finally:
        for module, training in zip(model.modules(), modes, strict=True):
            module.training = training
    return _by(output.shape) if isinstance(output, Tensor) else type(output).__name__


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
