"""The channel graph: which channels of a network must live or die together.

``lwdna.graph.propagation`` follows every channel through the network. What is tied there forms
one *element*: the channels that can only be removed together. Elements that are made by the same
layer form a *channel set*, the thing a latent vector controls.

Only ``layer_rules`` and ``function_rules`` know about residual adds, depthwise convolution,
concatenation and the like.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from lwdna.errors import GraphError
from lwdna.graph.following import follow, is_layers
from lwdna.graph.inputs import as_inputs, batch_of, check_arguments, unwrapped
from lwdna.graph.labels import Given, Groups, Labels, TaughtCall, check_groups
from lwdna.graph.operations import CONVOLUTIONS
from lwdna.graph.propagation import check_model
from lwdna.graph.rules import rule_of
from lwdna.graph.sets import sets_of
from lwdna.graph.sizes import RESIZED

logger = logging.getLogger(__name__)

Elements = NDArray[np.int64]
"""For each channel along an axis of a tensor its element, or -1 for one that is always there."""
Mask = NDArray[np.bool_]
"""For each element of a graph whether it is kept."""
Copies = NDArray[np.int64]
"""For each element of a graph how many there are to be: 1 for one that stays as it is."""


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of the network."""

    name: str
    module: nn.Module
    inputs: Elements
    """Element of each input channel; of a linear layer after a flatten, of each input feature."""
    outputs: Elements
    """Element of each output channel."""
    by_position: bool = False
    """Whether it is a grouped convolution that loses equal positions of every group."""

    @property
    def mixes(self) -> bool:
        """Whether an output channel reads inputs that may go while it stays."""
        return self.by_position or getattr(self.module, "groups", 1) == 1

    @property
    def read(self) -> Elements:
        """Element of each input channel that one output channel reads, if it is in the first group.

        By position the other groups have the same; by whole groups no output stays without them.
        """
        return self.inputs[: len(self.inputs) // getattr(self.module, "groups", 1)]


@dataclass(frozen=True)
class Activity:
    """One use of a module that the FLOPs convention counts."""

    name: str
    module: nn.Module
    positions: int
    """Elements of the output for each of its channels, all images and all uses together."""
    channels: Elements
    """Element of each channel of the output."""


class ChannelGraph:
    """The channels of a network and how its layers share them.

    Args:
        model: any ``nn.Module`` that torch.fx can trace. It is neither run nor changed: the graph
            is read off a copy without data on the meta device.
        example_input: a tensor ``(B, C, H, W)`` (or a tuple of the inputs) of the size in question.
        groups: what a grouped convolution loses, "whole" groups, so that their width stays, or
            equal "positions" of every group, so that their number stays. Depthwise convolutions
            lose whole groups, which are single channels.

    Attributes:
        example: the inputs, without data.
        batch: how many images the example holds; activities and costs are those of all of them.
        sets: the channel sets, in the order of the network.
        layers: convolutions and linear layers by module name.
        axes: by name of a parameter or buffer, the elements along each of its axes; None for an
            axis without channels (kernel sizes, the inside of a group).
        activities: what the FLOPs convention counts.
        inside: channels inside of layers of users, by layer and name of their axis.
        costs: FLOPs of layers of users: a coefficient, and the elements along up to two axes.
        taught: the calls of layers of users, their labels being elements.
        elements: how many elements there are; a mask has this length.
        numbers: by attribute of a module, ``block.width``, the elements that it is the number of.
        constants: attributes of modules that are to stay what they are.
        unfollowed: operations that cannot be followed; what they meet is frozen.
        uncounted: those of them, and others, whose FLOPs are not counted.
        apart: whether something that is not followed may have FLOPs that are counted.
        frozen: which elements must stay: ``(elements,)``.
        ends: which of them are inputs or outputs of the network.

    Raises:
        GraphError: for a network that torch.fx cannot trace; the message names the line.
        ConfigError: for another word for ``groups``.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor | Sequence[Tensor],
        *,
        groups: Groups = "whole",
    ) -> None:
        inputs = as_inputs(example_input)
        self.model = model = unwrapped(model)
        check_model(model)
        check_arguments(model, inputs)
        check_groups(groups)
        self.groups: Groups = groups
        self.batch = batch_of(inputs)
        found = Labels(groups=groups)
        self.example = tuple(x.to("meta") for x in inputs)
        self._operations = follow(model, self.example, found)
        elements = found.elements()
        self.elements: int = int(elements.max(initial=-1)) + 1
        self.sources = _numbered(found.sources, elements)
        modules = dict(model.named_modules())
        read, made = _numbered(found.inputs, elements), _numbered(found.outputs, elements)
        self.axes: dict[str, tuple[Elements | None, ...]] = {
            name: tuple(None if labels is None else elements[labels.numpy()] for labels in axes)
            for name, axes in found.axes.items()
        }
        self.layers = {
            name: Layer(name, modules[name], read[name], made[name], self._divides(name))
            for name in made
        }
        self.activities = [
            Activity(name, modules[name], use.positions, elements[use.labels.numpy()])
            for name, use in found.uses.items()
        ]
        self.inside = _numbered(found.inside, elements)
        self.costs = [(n, tuple(elements[a.numpy()] for a in axes)) for n, axes in found.costs]
        self.taught = [_by_element(call, elements) for call in found.taught]
        self.unfollowed = list(dict.fromkeys(what for _, what in found.stopped))
        self.uncounted = list(found.uncounted)
        self.apart = found.apart
        self.constants = found.constants.keys()
        self.numbers = _numbered(found.numbers, elements)
        whole = [
            labels for n in found.whole for labels in found.axes.get(n, ()) if labels is not None
        ]
        stopped = [labels for labels, _ in found.stopped]
        self.ends = self._among(elements, [*found.sources.values(), *found.results])
        met = {(int(elements[a]), int(elements[b])) for a, b in found.spread}
        self._spread = {(a, b) for a, b in met if a != b}
        held = [labels for labels, _ in found.held]
        self.frozen = self.ends | self._among(elements, found.frozen + held + stopped + whole)
        self.sets = sets_of(self, found, elements)
        if self.unfollowed:
            logger.warning(
                "The channels that these meet all stay, for they cannot be followed through them: "
                "%s. The rest is shrunk; a layer can be taught by lwdna.register_rule.",
                some(self.unfollowed),
            )

    def _among(self, elements: Elements, labels: Sequence[Tensor]) -> Mask:
        """Which elements some labels belong to."""
        found = np.zeros(self.elements, np.bool_)
        for some in labels:
            numbers = elements[some.numpy()]
            found[numbers[numbers >= 0]] = True
        return found

    def makers(self) -> dict[str, Elements]:
        """By what makes channels their elements ``(C,)``."""
        layers = {name: layer.outputs for name, layer in self.layers.items()}
        return self.sources | layers | self.inside

    def _divides(self, name: str) -> bool:
        """Whether channels inside of the groups of a convolution may go."""
        module = self.model.get_submodule(name)
        if self.groups == "whole" or not isinstance(module, CONVOLUTIONS) or rule_of(module):
            return False
        return module.groups > 1 and all(x is not None for x in self.axes[f"{name}.weight"][:2])

    def remembered(self, mask: Mask | Copies) -> dict[str, int]:
        """By attribute of a module of the network's own the number of channels that it is to be.

        Args:
            mask: ``(elements,)``; or copies of each element.
        """
        modules = dict(self.model.named_modules())
        numbers = {
            name: int(np.where(elements < 0, 1, mask[elements]).sum())
            for name, elements in self.numbers.items()
            if not is_layers(name, modules) and ".shape[" not in name
        }
        for name in self.constants - numbers.keys():
            owner, _, attribute = name.rpartition(".")
            if attribute in RESIZED and not is_layers(name, modules):
                numbers[name] = getattr(modules[owner], attribute)
        return numbers

    def full_mask(self) -> Mask:
        """The mask that keeps every channel: ``(elements,)``."""
        return np.ones(self.elements, dtype=np.bool_)

    def kept(self, mask: Mask) -> dict[str, list[int]]:
        """By layer the indices of the output channels that ``mask``, ``(elements,)``, keeps."""
        return {
            name: np.flatnonzero(keeps(mask, layer.outputs)).tolist()
            for name, layer in self.layers.items()
        }

    def check_cut(
        self, small: nn.Module, example_input: Tensor | Sequence[Tensor], mask: Mask
    ) -> None:
        """Follow the channels that are left through the network cut down to ``mask``.

        Args:
            small: the network after surgery.
            example_input: ``(B, C, H, W)``, or a tuple of inputs, as the graph was given.
            mask: ``(elements,)``.

        Raises:
            GraphError: if a layer of it does not read the channels that it read before.
        """

        def left(elements: Elements) -> Tensor:
            return torch.from_numpy(elements[keeps(mask, elements)]) + 1

        made = self.makers() | self.numbers
        for name, axes in self.axes.items():
            along = [axis for axis in axes if axis is not None]
            made[name] = along[0] if len(along) == 1 else np.zeros(0, np.int64)
        # Labels that are elements: nothing new is to be drawn or tied.
        given = {name: left(elements) for name, elements in made.items()}
        divided = frozenset(name for name, layer in self.layers.items() if layer.by_position)
        found = Labels(given=given, by_position=divided)
        found.fresh = self.elements + 1
        found.spread = {(a + 1, b + 1) for a, b in self._spread}
        operations = follow(small, as_inputs(example_input), found)
        if operations != self._operations:
            raise GraphError(
                f"{type(small).__name__} takes another way through its forward with fewer "
                "channels: a condition there depends on their number; make it depend on something "
                "else."
            )
        wrong = [
            name
            for name, layer in self.layers.items()
            if not self._reads(found.inputs[name], left(layer.inputs))
        ]
        wrong += [reason for _, _, reason in found.pairs]
        if wrong:
            raise GraphError(
                f"After shrinkage the channels of {type(small).__name__} would be mixed up at "
                f"'{wrong[0]}': its forward depends on their number in a way that the channel "
                "graph does not see. Please report it with the network."
            )

    def _reads(self, found: Tensor, expected: Tensor) -> bool:
        """Whether a layer reads what it should, given both as elements plus 1: ``(C,)``.

        What was not followed the first time, and is now, must be what always stays.
        """
        if found.shape != expected.shape:
            return False
        other = found != expected
        stays = torch.from_numpy(np.append(True, self.frozen))
        within = found[other] <= self.elements
        return bool((expected[other] == 0).all() and within.all() and stays[found[other]].all())

    def explain(self) -> str:
        """Say in words each channel set, its layers, and why they are coupled."""
        lines = []
        for number, channels in enumerate(self.sets, 1):
            state = "" if channels.prunable else ", frozen"
            if self.ends[channels.elements].all():
                state = ", frozen (input or output of the network)"
            elif channels.stops and not channels.prunable:
                state = ", frozen (they meet what cannot be followed)"
            elif channels.holds:
                state = ", frozen (their number is written in the code)"
            if channels.prunable and channels.frozen.any():
                state = f", {int(channels.frozen.sum())} of them frozen"
            lines.append(f"{number}. {channels.name}: {_count(len(channels), 'element')}{state}")
            for title, names in (
                ("made by", channels.makers),
                ("read by", channels.readers),
                ("with", channels.followers),
                ("because", channels.reasons),
                ("kept whole by", channels.holds),
                ("not followed", channels.stops),
            ):
                if names:
                    lines.append(f"   {title}: " + "; ".join(names))
            if channels.feeds_classifier:
                lines.append("   feeds the classifier (floor tau)")
        if self.uncounted:
            lines.append("Not counted in the FLOPs: " + "; ".join(self.uncounted))
        return "\n".join(lines)


def some(names: Sequence[str], most: int = 5) -> str:
    """A few names of many, for messages."""
    more = f"; and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def keeps(mask: Mask, elements: Elements) -> Mask:
    """For each channel whether it stays; element -1 always does.

    Args:
        mask: ``(elements,)``.
        elements: of the channels, ``(C,)``.

    Returns:
        ``(C,)``.
    """
    return np.where(elements < 0, True, mask[elements])


def _numbered(labels: dict[str, Tensor], elements: Elements) -> dict[str, Elements]:
    return {name: elements[tensor.numpy()] for name, tensor in labels.items()}


def _by_element(call: TaughtCall, elements: Elements) -> TaughtCall:
    """The call with elements in the place of labels."""

    def number(leaf: Any) -> Any:
        if isinstance(leaf, Given):
            return Given(leaf.value, torch.from_numpy(elements[leaf.labels.numpy()]))
        return leaf

    output = torch.from_numpy(elements[call.output.numpy()])
    return TaughtCall(call.name, fx.node.map_aggregate(call.arguments, number), output)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
