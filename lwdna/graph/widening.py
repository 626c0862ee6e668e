"""Widening: a network with more channels of every kind that is free, read off its channel graph.

Where surgery keeps an element or not, widening says how many copies of it there are. Both are
followed along the same axes, so what can be cut can be widened.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import ConfigError, GraphError
from lwdna.graph.channels import ChannelGraph, Copies, Elements
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.rules import RuleError
from lwdna.graph.surgery import resized, tensors_of


def check_factor(factor: Any) -> float:
    """The factor of a widening as a number.

    Raises:
        ConfigError: if it is none, or below 1.
    """
    number = isinstance(factor, Real) and not isinstance(factor, bool)
    if not number or not 1 <= factor < math.inf:
        raise ConfigError(
            f"A network is to be {factor!r} times as wide; give a number of 1 or more, such as 2."
        )
    return float(factor)


def wider(
    graph: ChannelGraph,
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    factor: float,
) -> nn.Module:
    """A plain network whose free channels are ``factor`` times as many, checked.

    A set that is a single element need not be one whose channels come in copies: they may be mixed,
    or stand for something else as well. Its channels become more one by one where ``factor`` is no
    whole number, if the network runs with that; or else it is copied whole; or else it stays.

    Args:
        graph: of ``model``.
        model: the network, perhaps on the meta device; it is not changed.
        example_input: ``(B, C, H, W)``, or a tuple of inputs, as the graph was given.
        factor: w, at least 1.

    Returns:
        The network; its values are copies of those of the original.

    Raises:
        GraphError: if no channel is free, or the network cannot be widened.
    """
    counts = copies(graph, factor)
    ways = [(graph, counts)]
    if factor != int(factor) and (fine := divided(graph)).elements > graph.elements:
        ways.insert(0, (fine, copies(fine, factor)))
    stay = counts.copy()
    stay[_alone(graph)] = 1
    if stay.max() > 1 and (stay != counts).any():
        ways.append((graph, stay))
    refused = []
    for of, so_many in ways:
        wide = widened(of, model, so_many)
        try:
            check_widened(of, wide, example_input, so_many)
        except GraphError as error:
            refused.append(error)
        else:
            return wide
    raise refused[-1]


def _alone(graph: ChannelGraph) -> list[int]:
    """Elements that may go or be more, and are all of their set."""
    return [int(s.elements[0]) for s in graph.sets if len(s) == 1 and s.prunable]


def divided(graph: ChannelGraph) -> ChannelGraph:
    """The graph with one element for each channel of sets that are a single element.

    Such channels are mixed, by a mean over them or by shuffles, so that none can go alone; but
    there may be one more. Where an axis has several times as many, it has as many of each part.
    """
    arrays = [*graph.makers().values(), *(layer.inputs for layer in graph.layers.values())]
    arrays += [axis for axes in graph.axes.values() for axis in axes if axis is not None]
    parts, total = {}, graph.elements
    for element in _alone(graph):
        size = math.gcd(*(int((axis == element).sum()) for axis in arrays))
        parts[element] = np.concatenate([[element], np.arange(total, total + size - 1)])
        total += size - 1

    def divide(axis: Elements) -> Elements:
        axis = axis.copy()
        for element, numbers in parts.items():
            places = np.flatnonzero(axis == element)
            axis[places] = numbers[np.arange(len(places)) * len(numbers) // max(1, len(places))]
        return axis

    fine = copy.copy(graph)
    fine.elements = total
    fine.frozen, fine.ends = (
        np.pad(m, (0, total - graph.elements)) for m in (graph.frozen, graph.ends)
    )
    fine.axes = {
        name: tuple(None if axis is None else divide(axis) for axis in axes)
        for name, axes in graph.axes.items()
    }
    fine.layers = {
        name: replace(layer, inputs=divide(layer.inputs), outputs=divide(layer.outputs))
        for name, layer in graph.layers.items()
    }
    fine.activities = [replace(a, channels=divide(a.channels)) for a in graph.activities]
    fine.inside = {name: divide(axis) for name, axis in graph.inside.items()}
    fine.numbers = {name: divide(axis) for name, axis in graph.numbers.items()}
    fine.costs = [(n, tuple(divide(axis) for axis in axes)) for n, axes in graph.costs]
    fine.numbers = {name: divide(axis) for name, axis in graph.numbers.items()}
    fine.sets = [
        replace(s, elements=new, frozen=fine.frozen[new])
        for s in graph.sets
        for new in [parts.get(int(s.elements[0]), s.elements)]
    ]
    return fine


def copies(graph: ChannelGraph, factor: float) -> Copies:
    """How many copies of every element make the free channels ``factor`` times as many.

    Of each channel set the n channels that are not frozen become ``factor`` n, rounded down; an
    element of several channels, such as a group, is copied whole. Where the factor is no whole
    number, the elements that have one copy more are spread evenly over the set, for a layer may
    make only a part of it.

    Args:
        graph: of the network.
        factor: w, at least 1.

    Returns:
        ``(elements,)``.

    Raises:
        GraphError: if no channel is free.
    """
    made = np.concatenate(list(graph.makers().values()))
    sizes = np.bincount(made[made >= 0], minlength=graph.elements)
    counts = np.ones(graph.elements, np.int64)
    for channels in graph.sets:
        before = after = 0
        for element in channels.elements[~channels.frozen].tolist():
            size = int(sizes[element])
            before += size
            # The tiny addend keeps 1.1 * 10 = 11.000000000000002 and its like where they belong.
            counts[element] = max(1, math.floor((factor * before - after) / size + 1e-9))
            after += size * int(counts[element])
    if not any(channels.prunable for channels in graph.sets):
        holds = [reason for channels in graph.sets for reason in channels.holds]
        raise GraphError(
            f"No channel of {type(graph.model).__name__} is free, so that it cannot be widened"
            + (
                f": {holds[0]} fixes their number; take it from the tensor's shape."
                if holds
                else "."
            )
        )
    return counts


def widened(graph: ChannelGraph, model: nn.Module, counts: Copies) -> nn.Module:
    """A plain network with so many copies of every element; values are those of the original.

    Args:
        graph: the channel graph of ``model``, or of a network of the same structure.
        model: the network, perhaps on the meta device; it is not changed.
        counts: ``(elements,)``.
    """
    state = {}
    for name, whole in tensors_of(model).items():
        tensor = whole.detach()
        for axis, elements in enumerate(graph.axes.get(name, ())):
            if elements is not None and tensor.is_meta:
                shape = list(tensor.shape)
                shape[axis] = int(along(elements, counts).sum())
                tensor = tensor.new_empty(shape)
            elif elements is not None:
                index = torch.from_numpy(spread(elements, counts))
                tensor = tensor.index_select(axis, index.to(tensor.device))
        state[name] = tensor.clone()
    steady = {
        name: int(layer.module.groups)  # type: ignore[arg-type]
        for name, layer in graph.layers.items()
        if layer.by_position
    }
    return resized(model, state, steady, graph.remembered(counts))


def spread(elements: Elements, counts: Copies) -> NDArray[np.int64]:
    """Which channels of an axis stand along the axis of a widened network.

    Channels of one element that stand side by side, such as a group, are copied together.

    Args:
        elements: of the channels, ``(C,)``.
        counts: ``(elements,)``.

    Returns:
        Indices of channels, of a length that is the sum of their copies.
    """
    ends = np.flatnonzero(np.diff(elements, append=elements[-1:] - 1)) + 1
    starts = np.concatenate([[0], ends[:-1]])
    times = along(elements[starts], counts)
    runs = [
        np.tile(np.arange(start, end), n) for start, end, n in zip(starts, ends, times, strict=True)
    ]
    return np.concatenate(runs)


def along(elements: Elements, counts: Copies) -> Copies:
    """The copies of each channel of an axis, ``(C,)``; what is always there stays one."""
    return np.where(elements < 0, 1, counts[elements])


def check_widened(
    graph: ChannelGraph,
    wide: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    counts: Copies,
) -> None:
    """Follow a widened network again, and let it run without data.

    Args:
        graph: of the original.
        wide: the widened network.
        example_input: ``(B, C, H, W)``, or a tuple of inputs, as the graph was given.
        counts: ``(elements,)``.

    Raises:
        GraphError: if it does not run, its channels are coupled in another way, or their numbers,
            the FLOPs or parameters are not what was predicted.
    """
    name = type(graph.model).__name__
    try:
        found = ChannelGraph(wide, example_input, groups=graph.groups)
        counted = complexity(wide, example_input)
    except RuleError:
        raise
    except GraphError as error:
        raise GraphError(
            f"{name} cannot be widened: its forward fixes a number of channels somewhere; take "
            f"that number from the tensor's shape instead. Widened, {error}"
        ) from error
    prediction = MaskedComplexity(graph)
    predicted = prediction.flops(counts), prediction.params(counts)
    if _coupled(found) != _coupled(graph) or any(
        len(axis) != along(graph.layers[layer].inputs, counts).sum()
        for layer, axis in ((key, value.inputs) for key, value in found.layers.items())
    ):
        raise GraphError(
            f"{name} cannot be widened: with more channels they are coupled in another way, so "
            "that a condition in its forward depends on their number; make it depend on something "
            "else."
        )
    if counted != predicted:
        raise GraphError(
            f"{name} has {counted[0]:,} FLOPs and {counted[1]:,} parameters after widening where "
            f"{predicted[0]:,} and {predicted[1]:,} were predicted: its forward depends on the "
            "number of channels in a way that the channel graph does not see. Please report it "
            "with the network."
        )


def _coupled(graph: ChannelGraph) -> list[tuple[Any, ...]]:
    """By channel set the layers that make it, those that read it, and whether any of it may go."""
    return [(s.makers, s.readers, s.prunable) for s in graph.sets]
