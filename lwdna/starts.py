"""The weights that a shrunk network starts its training from."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError

Start = Literal["generated", "rescaled", "fresh"]
STARTS = ("generated", "rescaled", "fresh")
START: Start = "rescaled"
"""The default: every layer starts with the scale that its own initialisation gives."""


def begin(model: nn.Module, start: Start, *, layers: Iterable[str], seed: int) -> None:
    """Give a network just shrunk, with its generated weights, those that it starts from.

    Args:
        model: the shrunk network; no parameter that is not trained changes.
        start: "generated" leaves everything as it is. "rescaled" multiplies the weight of each
            layer by the number that makes its root mean square that of a fresh draw at the
            layer's own size, and draws the layer's bias, which no latent vector generates.
            "fresh" draws everything anew.
        layers: names of the convolutions and linear layers.
        seed: of the fresh draw.

    Raises:
        ConfigError: if "fresh" cannot draw a parameter.
    """
    if start == "generated":
        return
    if start == "fresh":
        draw_again(model, seed)
        return
    drawn = _drawn(model, seed)
    with torch.no_grad():
        for name in layers:
            layer: Any = model.get_submodule(name)
            fresh: Any = drawn.get_submodule(name)
            if layer.weight.requires_grad:
                layer.weight.mul_(_scale(fresh.weight) / _scale(layer.weight).clamp_min(1e-30))
            if layer.bias is not None and layer.bias.requires_grad:
                layer.bias.copy_(fresh.bias)


def draw_again(model: nn.Module, seed: int) -> None:
    """Draw the weights of a network anew, as for one that was built with these sizes.

    That is ``reset_parameters()`` of each layer and then of what it is put into, if that has a
    method of this name; statistics of batch norm start again. What is not trained stays.

    Args:
        model: of any sizes, such as a shrunk network.
        seed: of the draw, which is the same on every device.

    Raises:
        ConfigError: if a trained parameter belongs to a module without ``reset_parameters``.
    """
    for name, module in model.named_modules():
        own = [key for key, p in module.named_parameters(recurse=False) if p.requires_grad]
        if own and not hasattr(module, "reset_parameters"):
            raise ConfigError(
                f"The weights of {type(model).__name__} cannot be drawn anew: '{own[0]}' of "
                f"'{name or 'the network'}', a {type(module).__name__}, has no method "
                "reset_parameters that does it; write one, or start from the generated weights "
                "(start: generated, or rescaled)."
            )
    drawn = _drawn(model, seed)
    with torch.no_grad():
        for ours, fresh in zip(model.modules(), drawn.modules(), strict=True):
            parameters = list(ours.parameters(recurse=False))
            for parameter, drawn_one in zip(
                parameters, fresh.parameters(recurse=False), strict=True
            ):
                if parameter.requires_grad:
                    parameter.copy_(drawn_one)
            if not parameters or any(p.requires_grad for p in parameters):
                buffers = ours.buffers(recurse=False), fresh.buffers(recurse=False)
                for buffer, value in zip(*buffers, strict=True):
                    buffer.copy_(value)


def _drawn(model: nn.Module, seed: int) -> nn.Module:
    """A copy on the CPU, drawn anew as far as its modules have ``reset_parameters``."""
    drawn = copy.deepcopy(model).cpu()
    shapes = [p.shape for p in drawn.parameters()]
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would seed the generators of all GPUs too.
        torch.default_generator.manual_seed(seed)
        for module in reversed(list(drawn.modules())):
            if callable(reset := getattr(module, "reset_parameters", None)):
                try:
                    reset()
                except Exception as error:  # whatever a user's method may raise
                    raise _unfit(module, f"fails: {error}") from error
                if shapes != [p.shape for p in drawn.parameters()]:
                    raise _unfit(module, "changes the sizes of the network")
    return drawn


def _unfit(module: nn.Module, what: str) -> ConfigError:
    return ConfigError(
        f"reset_parameters of a {type(module).__name__}, which draws its weights anew, {what}; "
        "mend it, or start from the generated weights (start: generated)."
    )


def _scale(weight: Tensor) -> Tensor:
    """The standard deviation about zero, on the CPU in double precision."""
    return weight.detach().cpu().double().square().mean().sqrt()
