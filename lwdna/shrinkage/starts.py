"""The weights that a shrunk network starts from."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.rules import rule_of

Start = Literal["generated", "rescaled", "fresh"]
STARTS = ("generated", "rescaled", "fresh")
START: Start = "fresh"
"""The default: a protocol is compared with itself only if its initialisation is the same too."""


Drawn = Mapping[str, Sequence[str]]
"""By layer, the names of the tensors that latent vectors generate."""


def drawn_layers(graph: ChannelGraph, model: nn.Module) -> dict[str, Sequence[str]]:
    """The layers that a start draws: convolutions, linear ones, and those that rules generate."""
    taught = {call.name: rule_of(model.get_submodule(call.name)) for call in graph.taught}
    layers: dict[str, Sequence[str]] = {}
    for name in dict.fromkeys([*graph.layers, *taught]):
        rule = taught.get(name)
        generated = ("weight",) if rule is None else rule.generated
        if generated:
            layers[name] = generated
    return layers


def check_drawable(model: nn.Module, start: Start, layers: Drawn) -> None:
    """Refuse a layer that cannot be drawn anew, before anything is computed.

    Raises:
        ConfigError: naming the layer and what to do.
    """
    if start == "generated":
        return
    for name in layers:
        for module in model.get_submodule(name).modules():
            trained = any(p.requires_grad for p in module.parameters(recurse=False))
            if trained and not callable(getattr(module, "reset_parameters", None)):
                raise ConfigError(
                    f"The weights of '{name}', a {type(module).__name__}, cannot be drawn anew: it "
                    "has no method reset_parameters; write one, or start from the generated "
                    "weights (start: generated)."
                )


@torch.no_grad()
def put_back(wide: nn.Module, model: nn.Module, layers: Drawn) -> None:
    """Give a widened network, after gradients were read, what no latent vector generates again.

    Args:
        wide: a copy of ``model`` whose parameters warm-up steps may have changed.
        model: as it was given.
        layers: from :func:`drawn_layers`, which are left as they are.
    """
    drawn = {
        f"{name}.{key}" for name in layers for key, _ in wide.get_submodule(name).named_parameters()
    }
    given = dict(model.named_parameters())
    for name, parameter in wide.named_parameters():
        if name not in drawn:
            parameter.copy_(given[name])


@torch.no_grad()
def begin(model: nn.Module, start: Start, *, layers: Drawn, seed: int) -> None:
    """Give the layers of a network just shrunk the weights that they start from.

    A fresh draw is ``reset_parameters()`` of each layer, at the layer's own size, and then of what
    it is put into, if that has a method of this name. What is not trained, and all that is no
    layer, such as batch norm, stays.

    Args:
        model: the shrunk network with its generated weights.
        start: "generated" leaves them. "rescaled" multiplies each generated tensor by the number
            that makes its root mean square that of a fresh draw. "fresh" replaces it by that draw.
            What of a layer no latent vector generates, such as its bias, is drawn by both.
        layers: from :func:`drawn_layers`.
        seed: of the draw, which is the same on every device.

    Raises:
        ConfigError: if a layer cannot be drawn.
    """
    check_drawable(model, start, layers)
    if start == "generated":
        return
    drawn = _drawn(model, seed)
    for name, generated in layers.items():
        fresh = dict(drawn.get_submodule(name).named_parameters())
        for key, parameter in model.get_submodule(name).named_parameters():
            if not parameter.requires_grad:
                continue
            if start == "rescaled" and key in generated:
                parameter.mul_(_scale(fresh[key]) / _scale(parameter).clamp_min(1e-30))
            else:
                parameter.copy_(fresh[key])


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
