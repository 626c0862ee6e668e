"""``lwdna.widen``: any network with more channels, drawn anew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lwdna.errors import CheckpointError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.drawing import check_drawable, drawn_anew, drawn_layers, undrawable
from lwdna.graph.inputs import as_inputs, check_data, unwrapped
from lwdna.graph.labels import Groups
from lwdna.graph.meta import duplicate
from lwdna.graph.widening import check_factor, wider
from lwdna.networks.provenance import Widening, provenance_of, set_provenance

__all__ = ["Groups", "widen", "widen_again", "widen_to_shrink"]

_MOST, _MOST_ELEMENTS = 100, 2**25
"""By how much a network of a file may be widened, and for how large an input."""

_OTHERWISE = "make the network at the width that it is to have"


def widen(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    factor: float,
    *,
    groups: Groups = "whole",
    seed: int | None = None,
) -> nn.Module:
    """Make a network of a wider shape, as the paper does before it shrinks one (Sec. 1.2).

    Every channel set becomes ``factor`` times as large, rounded down, by the channel graph: the
    number of its channels is the same wherever they are. What is frozen stays: inputs and outputs
    of the network, fixed layers, channels whose number is written in the code. Of a grouped
    convolution the number of groups grows, or their width; of a group norm their number. Channels
    that can only go together are copied together, but where they are all of their set.

    Weights are those of a new network: what ``reset_parameters()`` of each layer draws at its new
    size, and then that of the modules it is put into. What is no convolution or linear layer, such
    as batch norms and scales, is copied with its channels.

    Args:
        model: any convolutional network that torch.fx can trace; it is not changed.
        example_input: ``(B, C, H, W)``, or a tuple of inputs, of a size that it accepts.
        factor: w, a number of 1 or more.
        groups: whether grouped convolutions get more "whole" groups, or more "positions" in each.
        seed: of the weights; if left out, they are drawn from PyTorch's generator.

    Returns:
        A plain module of the same class, checked by following its channels again.

    Raises:
        ConfigError: if the factor is no number of 1 or more, or a layer cannot be drawn anew.
        GraphError: if the channels cannot be followed, or nothing can be widened.
    """
    return _widen(model, example_input, factor, groups, seed, strict=True)


def widen_to_shrink(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    factor: float,
    *,
    groups: Groups,
    seed: int,
) -> nn.Module:
    """As :func:`widen`, for a network whose weights latent vectors will generate.

    The input is ``(B, C, H, W)``, or a tuple of inputs. A layer that cannot be drawn anew has
    copies of its weights until then.
    """
    return _widen(model, example_input, factor, groups, seed, strict=False)


def widen_again(model: nn.Module, widening: Widening) -> nn.Module:
    """The shape that a widening on record gave a network; its weights are copies.

    Args:
        model: the network before, perhaps on the meta device; it is not changed.
        widening: from the provenance of the network after.

    Raises:
        CheckpointError: if it cannot have been; a number that somebody wrote into a file is not to
            fill the memory.
    """
    factor = check_factor(widening.factor)
    elements = max(math.prod(shape) for shape in widening.inputs)
    if factor > _MOST or elements > _MOST_ELEMENTS:
        raise CheckpointError(
            f"It is said to be widened by {factor:g} for inputs of {elements:,} numbers, which is "
            f"more than the {_MOST} and {_MOST_ELEMENTS:,} that are read."
        )
    example = tuple(torch.empty(shape, device="meta") for shape in widening.inputs)
    graph = ChannelGraph(model, example, groups=widening.groups)  # type: ignore[arg-type]
    return wider(graph, model, example, factor)


@torch.no_grad()
def _widen(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    factor: float,
    groups: Groups,
    seed: int | None,
    *,
    strict: bool,
) -> nn.Module:
    """Widen a network; ``strict`` refuses layers that cannot be drawn anew."""
    factor = check_factor(factor)
    model, example_input = check_data(unwrapped(model)), as_inputs(example_input)
    graph = ChannelGraph(model, example_input, groups=groups)
    layers = drawn_layers(graph, model) | _mixing(graph)
    if strict:
        check_drawable(model, layers, _OTHERWISE)
    if factor == 1:
        wide = duplicate(model)
    else:
        wide = wider(graph, model, example_input, factor)
        inputs = [list(x.shape) for x in example_input]
        set_provenance(wide, provenance_of(model).wider(Widening(factor, inputs, groups)))
    drawn = drawn_anew(wide, seed, _OTHERWISE)
    for name in layers:
        layer = wide.get_submodule(name)
        if not undrawable(layer):
            fresh = dict(drawn.get_submodule(name).named_parameters())
            for key, parameter in layer.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(fresh[key])
    return wide


def _mixing(graph: ChannelGraph) -> dict[str, Sequence[str]]:
    """Layers of users that read channels and make others; copies of those would be all alike."""
    mixing: dict[str, Sequence[str]] = {}
    for call in graph.taught:
        tensors = [axes for name, axes in graph.axes.items() if name.startswith(f"{call.name}.")]
        if any(sum(axis is not None for axis in axes) > 1 for axes in tensors):
            mixing[call.name] = ()
    return mixing
