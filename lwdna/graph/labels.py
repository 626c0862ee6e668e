"""Labels: which channel every element of every tensor in a network belongs to.

Every tensor that flows through the network carries a tensor of *labels* of the same number of
dimensions, an axis along which nothing changes being of length 1: the label of an element names
the channel it belongs to, and 0 means that it belongs to none. A layer that makes channels draws
fresh labels. Operations that only move data (``cat``, ``permute``, ``reshape``, ...) are executed
literally on the labels. Operations that combine tensors element by element (a residual add, a
gate) *tie* the labels that meet.

Operations that take channels apart do it by numbers. A number that comes from the tensor's own
shape shrinks with it: ``chunk(2)`` halves whatever is there, so the channels at equal positions
of the halves are tied. A number that is written in the code would take the wrong channels once
some are gone: the channels that it counts are *held*, they all stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwdna.errors import ConfigError, nearest
from lwdna.graph.components import components

Groups = Literal["whole", "positions"]
GROUPS: tuple[str, ...] = get_args(Groups)
"""What a grouped convolution loses: whole groups, or equal positions of every group."""


def check_groups(groups: str) -> None:
    """Refuse another word.

    Raises:
        ConfigError: naming the allowed ones.
    """
    if groups not in GROUPS:
        raise ConfigError(f"Groups cannot be cut by {groups!r}: {nearest(str(groups), GROUPS)}")


@dataclass
class Use:
    """Uses of a module that the FLOPs convention may count."""

    positions: int
    """Elements of the output for each of its channels, all images and all uses together."""
    labels: Tensor
    """Label of each channel of the output: ``(C,)``."""


@dataclass(frozen=True)
class Given:
    """A tensor that goes into a layer."""

    value: Tensor
    """On the meta device."""
    labels: Tensor
    """Of as many dimensions; of length 1 along an axis without channels."""


@dataclass(frozen=True)
class TaughtCall:
    """One call of a layer with a user's rule."""

    name: str
    arguments: Any
    """Positional ones and those by name; a :class:`Given` in the place of a tensor."""
    output: Tensor
    """Labels of the output."""


@dataclass
class Labels:
    """What following a network finds out. Labels along an axis of length C are ``(C,)``."""

    given: Mapping[str, Tensor] = field(default_factory=dict)
    """Labels to use instead of fresh ones, by the name of what makes them."""
    groups: Groups = "whole"
    """What a grouped convolution loses."""
    by_position: frozenset[str] = frozenset()
    """Names of those that lost positions before; with a single one left they look depthwise."""
    fresh: int = 1
    """The next label to draw."""
    pairs: list[tuple[Tensor, Tensor, str]] = field(default_factory=list)
    """Labels found to belong together, and why."""
    held: list[tuple[Tensor, str]] = field(default_factory=list)
    """Labels of channels that stay because the code fixes their number, and where."""
    frozen: list[Tensor] = field(default_factory=list)
    """Labels of other channels that always stay: of fixed layers, of one channel for many."""
    spread: set[tuple[int, int]] = field(default_factory=set)
    """Labels of one channel that met many, each with each of those."""
    results: list[Tensor] = field(default_factory=list)
    """Labels of the network's outputs; they stay, as do those of its inputs."""
    sources: dict[str, Tensor] = field(default_factory=dict)
    """By input of the network its labels."""
    inputs: dict[str, Tensor] = field(default_factory=dict)
    """By layer the labels it reads."""
    outputs: dict[str, Tensor] = field(default_factory=dict)
    """By layer the labels it makes."""
    axes: dict[str, tuple[Tensor | None, ...]] = field(default_factory=dict)
    """By parameter or buffer the labels along each axis; None for one without channels."""
    uses: dict[str, Use] = field(default_factory=dict)
    """By module what it was used for."""
    inside: dict[str, Tensor] = field(default_factory=dict)
    """By layer of a user and name of an axis the labels inside of it."""
    costs: list[tuple[int, tuple[Tensor, ...]]] = field(default_factory=list)
    """FLOPs of layers of users: a coefficient, times the channels left along up to two axes."""
    taught: list[TaughtCall] = field(default_factory=list)
    """The calls of layers of users."""
    numbers: dict[str, Tensor] = field(default_factory=dict)
    """By attribute of a module that is a number of channels, the labels that it counts ``(n,)``.

    The size of a tensor of a module is such an attribute too, ``conv.weight.shape[0]``."""
    constants: dict[str, str] = field(default_factory=dict)
    """By attribute of a module that is to stay what it is, where it is used so."""
    stopped: list[tuple[Tensor, str]] = field(default_factory=list)
    """Labels of channels that stay because they meet an operation that is not followed, and it."""
    whole: set[str] = field(default_factory=set)
    """Parameters and buffers that are used in a way that is not followed."""
    apart: bool = False
    """Whether there are operations that are not followed, which may cost FLOPs."""
    uncounted: dict[str, None] = field(default_factory=dict)
    """What computes something that the FLOPs leave out, in order."""

    def draw(self, name: str, count: int) -> Tensor:
        """Fresh labels for what ``name`` makes: ``(count,)``."""
        if name in self.given:
            return self.given[name]
        labels = torch.arange(self.fresh, self.fresh + count, device="cpu")
        self.fresh += count
        return labels

    def number(self, name: str, count: int) -> Tensor:
        """The labels of the channels that an attribute of a module counts: ``(count,)``."""
        if name not in self.numbers:
            self.numbers[name] = self.draw(name, count)
        return self.numbers[name]

    def tie(self, a: Tensor, b: Tensor, reason: str) -> None:
        """Tie two tensors of labels element by element; 0 ties nothing.

        Args:
            a: labels of any shape.
            b: labels of a shape that is broadcast together with that of ``a``.
            reason: in words, for ``explain``.
        """
        a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
        both = (a != 0) & (b != 0) & (a != b)
        if both.any():
            self.pairs.append((a[both], b[both], reason))

    def spreads(self, one: Tensor, given: Sequence[Tensor]) -> bool:
        """Whether a label meets many channels, of which surgery may have left but one.

        Args:
            one: the label, of any shape.
            given: labels of all tensors that meet, of any shapes.
        """
        label = int(one)
        many = [labels for labels in given if labels.numel() > 1]
        if label:
            met = {other for labels in many for other in labels.flatten().tolist()}
            self.spread.update((label, other) for other in met - {0, label})
        return bool(many) or any((label, int(other)) in self.spread for other in given)

    def note_axes(self, name: str, axes: tuple[Tensor | None, ...], layer: str) -> None:
        """Note the labels ``(C,)`` along each axis of a parameter; a second use ties them."""
        for old, new in zip(self.axes.setdefault(name, axes), axes, strict=True):
            if old is not None and new is not None:
                self.tie(old, new, f"{layer} is called more than once")

    def note_use(self, name: str, value: Tensor, labels: Tensor, *, last: bool) -> None:
        """Note the output size of a module; the last call of an activation replaces earlier ones.

        Only then is ResNet50, whose blocks use one ReLU three times, what Table 1 says.

        Args:
            name: of the module.
            value: its output ``(B, ...)``.
            labels: of the output.
            last: whether the module is an activation.
        """
        channels = labels.flatten()
        positions = value.numel() // len(channels)
        earlier = self.uses.get(name)
        if earlier is not None and not last:
            positions += earlier.positions
        self.uses[name] = Use(positions, channels)

    def elements(self) -> NDArray[np.int64]:
        """By label its element, ``(labels,)``: tied ones share it. In the order drawn; 0 has -1."""
        a = [pair[0].numpy() for pair in self.pairs]
        b = [pair[1].numpy() for pair in self.pairs]
        rows, columns = (np.concatenate([np.zeros(0, np.int64), *side]) for side in (a, b))
        # Label 0 is first of all and tied to nothing: its element 0 becomes -1.
        return components(self.fresh, rows, columns) - 1


def no_channels(ndim: int) -> Tensor:
    """Labels of a tensor of ``ndim`` dimensions that belongs to no channel: ``(1, ..., 1)``."""
    return torch.zeros([1] * ndim, dtype=torch.int64)


def lay(labels: Tensor, ndim: int, axis: int) -> Tensor:
    """Lay labels ``(C,)`` along one axis of a tensor of ``ndim`` dimensions: ``(1, C, 1, ...)``."""
    return labels.view([-1 if d == axis else 1 for d in range(ndim)])


def compress(labels: Tensor) -> Tensor:
    """Shrink every axis along which nothing changes: ``(B, C, H, W)`` to ``(1, C, 1, 1)``, say."""
    for axis, size in enumerate(labels.shape):
        if size > 1 and labels.stride(axis) == 0:  # expanded, so that there is but one
            labels = labels.narrow(axis, 0, 1)
    for axis, size in enumerate(labels.shape):
        if size > 1:
            first = labels.narrow(axis, 0, 1)
            if bool((labels == first).all()):
                labels = first
    return labels


def tensors_in(labels: Any) -> list[Tensor]:
    """The labels of a value, of any shape: of one tensor, of several, or of none."""
    if isinstance(labels, Tensor):
        return [labels]
    return list(labels) if isinstance(labels, tuple | list) else []
