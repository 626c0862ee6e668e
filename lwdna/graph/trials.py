"""Trials: layers of users run alone after surgery, to find a rule that is wrong."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from lwdna.errors import first_line
from lwdna.graph.channels import ChannelGraph, Mask, keeps
from lwdna.graph.labels import Given
from lwdna.graph.rules import RuleError, rule_of


@torch.no_grad()
def check_taught(graph: ChannelGraph, small: nn.Module, mask: Mask) -> None:
    """Run each layer of a user alone, before and after surgery, and compare.

    Its parameters and inputs are drawn at random: what it computes for the channels that stay
    must be the same. Nothing is changed.

    Args:
        graph: the channel graph of the network before surgery.
        small: the network after surgery.
        mask: ``(elements,)``.

    Raises:
        RuleError: if a layer does not run, or computes something else.
    """
    for call in graph.taught:
        wide, cut = graph.model.get_submodule(call.name), small.get_submodule(call.name)
        rule = rule_of(wide)
        if rule is None or not rule.exact:
            continue
        kind = f"'{call.name}', a {type(wide).__name__}"
        if any(tensor.is_meta for tensor in chain(wide.parameters(), wide.buffers())):
            continue  # a network without data, of which only the sizes are asked
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            wide, cut = _drawn(graph, wide, cut, call.name, mask)
            arguments = fx.node.map_aggregate(call.arguments, _draw)
        try:
            expected = _left(_run(wide, arguments), call.output, mask)
            computed = _run(cut, arguments, mask)
        except Exception as error:
            raise RuleError(
                f"The layer {kind}, does not run after surgery by its rule: "
                f"{first_line(error).rstrip('.')}. Correct the rule: say of every tensor along "
                "which axes it is cut, and of every attribute that holds a number of channels, "
                "which."
            ) from error
        if computed.shape != expected.shape or not torch.allclose(
            computed, expected, rtol=1e-6, atol=1e-9, equal_nan=True
        ):
            raise RuleError(
                f"The layer {kind}, computes something else for the channels that stay after "
                "surgery by its rule: correct the rule, or say exact=False if the layer takes "
                "statistics over its channels."
            )


@torch.no_grad()
def silence_taught(graph: ChannelGraph, layer: nn.Module, name: str, mask: Mask) -> None:
    """Let a layer of a user read no dropped channel: what multiplies one becomes 0, in place.

    Args:
        graph: the channel graph of the network.
        layer: the layer, at full width.
        name: of the layer in the network.
        mask: ``(elements,)``.
    """
    for tensor, parameter in layer.named_parameters():
        axes = graph.axes.get(f"{name}.{tensor}", ())
        if parameter.ndim < 2:
            continue  # one number a channel goes with that channel
        for axis, elements in enumerate(axes):
            if elements is not None:
                dropped = torch.from_numpy(np.flatnonzero(~keeps(mask, elements)))
                parameter.index_fill_(axis, dropped.to(parameter.device), 0)


def _drawn(
    graph: ChannelGraph, wide: nn.Module, small: nn.Module, name: str, mask: Mask
) -> tuple[nn.Module, nn.Module]:
    """Copies of a layer in float64 on the CPU with parameters drawn alike, silenced and cut."""
    wide, small = (copy.deepcopy(layer).cpu().double().eval() for layer in (wide, small))
    for parameter in wide.parameters():
        # What a layer was initialised with, such as 0, may hide what it does.
        parameter.uniform_(0.5, 1.5)
    values = dict(chain(wide.named_parameters(), wide.named_buffers()))
    for tensor, kept in chain(small.named_parameters(), small.named_buffers()):
        value = values[tensor]
        for axis, elements in enumerate(graph.axes.get(f"{name}.{tensor}", ())):
            if elements is not None:
                value = value.index_select(
                    axis, torch.from_numpy(np.flatnonzero(keeps(mask, elements)))
                )
        kept.copy_(value)
    silence_taught(graph, wide, name, mask)
    return wide, small


def _draw(leaf: Any) -> Any:
    """Random numbers for a tensor that goes into a layer; zeros if it holds integers."""
    if not isinstance(leaf, Given):
        return leaf
    if leaf.value.is_floating_point():
        return Given(torch.randn(leaf.value.shape, dtype=torch.float64), leaf.labels)
    return Given(torch.zeros(leaf.value.shape, dtype=leaf.value.dtype), leaf.labels)


def _run(layer: nn.Module, arguments: Any, mask: Mask | None = None) -> Any:
    """Call a layer, under a mask with the channels that stay."""

    def given(leaf: Any) -> Any:
        if not isinstance(leaf, Given):
            return leaf
        return leaf.value if mask is None else _left(leaf.value, leaf.labels, mask)

    positional, named = fx.node.map_aggregate(arguments, given)  # type: ignore[misc]
    return layer(*positional, **named)


def _left(x: Tensor, elements: Tensor, mask: Mask) -> Tensor:
    """A tensor without the channels that go.

    Args:
        x: of any shape.
        elements: of as many dimensions, of length 1 along axes without channels.
        mask: ``(elements,)``.
    """
    for axis, size in enumerate(elements.shape):
        if size > 1 and elements.numel() == size:
            kept = np.flatnonzero(keeps(mask, elements.flatten().numpy()))
            x = x.index_select(axis, torch.from_numpy(kept))
    return x
