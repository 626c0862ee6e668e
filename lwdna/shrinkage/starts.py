"""The weights that a shrunk network starts from."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError

Start = Literal["generated", "rescaled", "fresh"]
STARTS = ("generated", "rescaled", "fresh")
START: Start = "fresh"
"""The default: a protocol is compared with itself only if its initialisation is the same too."""


@torch.no_grad()
def put_back(wide: nn.Module, model: nn.Module, layers: Iterable[str]) -> None:
    """Give a widened network, after gradients were read, what no latent vector generates again.

    Args:
        wide: a copy of ``model`` whose parameters warm-up steps may have changed.
        model: as it was given.
        layers: names of the convolutions and linear layers, which are left as they are.
    """
    own = {f"{name}.{key}" for name in layers for key in ("weight", "bias")}
    given = dict(model.named_parameters())
    for name, parameter in wide.named_parameters():
        if name not in own:
            parameter.copy_(given[name])


@torch.no_grad()
def begin(model: nn.Module, start: Start, *, layers: Iterable[str], seed: int) -> None:
    """Give the layers of a network just shrunk the weights that they start from.

    A fresh draw is ``reset_parameters()`` of each layer, at the layer's own size, and then of what
    it is put into, if that has a method of this name. What is not trained, and all that is no
    layer, such as batch norm, stays.

    Args:
        model: the shrunk network with its generated weights.
        start: "generated" leaves them. "rescaled" multiplies the weight of each layer by the number
            that makes its root mean square that of a fresh draw. "fresh" replaces it by that draw.
            Biases, which no latent vector generates, are drawn by both.
        layers: names of the convolutions and linear layers.
        seed: of the draw, which is the same on every device.

    Raises:
        ConfigError: if a layer cannot be drawn.
    """
    if start == "generated":
        return
    drawn = _drawn(model, seed)
    for name in layers:
        layer: Any = model.get_submodule(name)
        fresh: Any = drawn.get_submodule(name)
        if not callable(getattr(layer, "reset_parameters", None)):
            raise ConfigError(
                f"The weights of '{name}', a {type(layer).__name__}, cannot be drawn anew: it has "
                "no method reset_parameters; write one, or start from the generated weights "
                "(start: generated)."
            )
        if layer.weight.requires_grad and start == "rescaled":
            layer.weight.mul_(_scale(fresh.weight) / _scale(layer.weight).clamp_min(1e-30))
        elif layer.weight.requires_grad:
            layer.weight.copy_(fresh.weight)
        if layer.bias is not None and layer.bias.requires_grad:
            layer.bias.copy_(fresh.bias)


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
