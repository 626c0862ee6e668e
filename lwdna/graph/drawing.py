"""Layers drawn anew, each by its own ``reset_parameters()`` at its own size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import nn

from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.meta import duplicate
from lwdna.graph.rules import rule_of

Drawn = Mapping[str, Sequence[str]]
"""By layer, the names of the tensors that latent vectors generate."""


def drawn_layers(graph: ChannelGraph, model: nn.Module) -> dict[str, Sequence[str]]:
    """The layers that are drawn anew: convolutions, linear ones, and those that rules generate."""
    taught = {call.name: rule_of(model.get_submodule(call.name)) for call in graph.taught}
    layers: dict[str, Sequence[str]] = {}
    for name in dict.fromkeys([*graph.layers, *taught]):
        rule = taught.get(name)
        generated = ("weight",) if rule is None else rule.generated
        if generated:
            layers[name] = generated
    return layers


def check_drawable(model: nn.Module, layers: Drawn, otherwise: str) -> None:
    """Refuse a layer that cannot be drawn anew, before anything is computed.

    Args:
        model: the network.
        layers: from :func:`drawn_layers`.
        otherwise: what else the user can do, such as "start from other weights".

    Raises:
        ConfigError: naming the layer and what to do.
    """
    for name in layers:
        for module in undrawable(model.get_submodule(name)):
            raise ConfigError(
                f"The weights of '{name}', a {type(module).__name__}, cannot be drawn anew: it "
                f"has no method reset_parameters; write one, or {otherwise}."
            )


def undrawable(layer: nn.Module) -> list[nn.Module]:
    """The modules of a layer that are trained, but cannot be drawn anew."""
    return [
        module
        for module in layer.modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
        and not callable(getattr(module, "reset_parameters", None))
    ]


def drawn_anew(model: nn.Module, seed: int | None, otherwise: str) -> nn.Module:
    """A copy on the CPU, drawn anew as far as its modules have ``reset_parameters``.

    Args:
        model: is not changed.
        seed: of the draw, which is the same on every device; None for PyTorch's own generator, as
            when a network is made.
        otherwise: what else the user can do where a module cannot be drawn.

    Raises:
        ConfigError: if a module's method fails, or changes the sizes of the network.
    """
    drawn = duplicate(model).cpu()
    shapes = [p.shape for p in drawn.parameters()]
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            # Not torch.manual_seed: it would seed the generators of all GPUs too.
            torch.default_generator.manual_seed(seed)
        for module in reversed(list(drawn.modules())):
            if callable(reset := getattr(module, "reset_parameters", None)):
                try:
                    reset()
                except Exception as error:  # whatever a user's method may raise
                    raise _unfit(module, f"fails: {error}", otherwise) from error
                if shapes != [p.shape for p in drawn.parameters()]:
                    raise _unfit(module, "changes the sizes of the network", otherwise)
    return drawn


def _unfit(module: nn.Module, what: str, otherwise: str) -> ConfigError:
    return ConfigError(
        f"reset_parameters of a {type(module).__name__}, which draws its weights anew, {what}; "
        f"mend it, or {otherwise}."
    )
