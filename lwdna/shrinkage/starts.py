"""The weights that a shrunk network starts from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lwdna.graph.drawing import Drawn, check_drawable, drawn_anew

Start = Literal["generated", "rescaled", "fresh"]
STARTS = ("generated", "rescaled", "fresh")
START: Start = "fresh"
"""The default: a protocol is compared with itself only if its initialisation is the same too."""

OTHERWISE = "start from the generated weights (start: generated)"
"""What can be done where a layer cannot be drawn anew."""


@torch.no_grad()
def put_back(wide: nn.Module, model: nn.Module, layers: Drawn) -> None:
    """Give a widened network, after gradients were read, what no latent vector generates again.

    Args:
        wide: a copy of ``model`` whose parameters warm-up steps may have changed.
        model: as it was given.
        layers: from :func:`lwdna.graph.drawing.drawn_layers`, which are left as they are.
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
        layers: from :func:`lwdna.graph.drawing.drawn_layers`.
        seed: of the draw, which is the same on every device.

    Raises:
        ConfigError: if a layer cannot be drawn.
    """
    if start == "generated":
        return
    check_drawable(model, layers, OTHERWISE)
    drawn = drawn_anew(model, seed, OTHERWISE)
    for name, generated in layers.items():
        fresh = dict(drawn.get_submodule(name).named_parameters())
        for key, parameter in model.get_submodule(name).named_parameters():
            if not parameter.requires_grad:
                continue
            if start == "rescaled" and key in generated:
                parameter.mul_(_scale(fresh[key]) / _scale(parameter).clamp_min(1e-30))
            else:
                parameter.copy_(fresh[key])


def _scale(weight: Tensor) -> Tensor:
    """The standard deviation about zero, on the CPU in double precision."""
    return weight.detach().cpu().double().square().mean().sqrt()
