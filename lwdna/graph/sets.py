"""Channel sets: the elements put together by the layers that make them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lwdna.graph.components import components
from lwdna.graph.labels import Labels

if TYPE_CHECKING:
    from lwdna.graph.channels import ChannelGraph, Elements


@dataclass(frozen=True)
class ChannelSet:
    """Channels that several layers share: what one latent vector controls."""

    name: str
    """The first layer that makes these channels."""
    elements: Elements
    """Its elements, in the order of that layer's channels."""
    frozen: NDArray[np.bool_]
    """Which elements must stay: those of the network's inputs and outputs."""
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    followers: tuple[str, ...]
    """Other modules with parameters for these channels, such as batch norms."""
    reasons: tuple[str, ...]
    holds: tuple[str, ...]
    """Operations that fix the number of these channels, so that all of them stay."""
    stops: tuple[str, ...]
    """Operations that are not followed and meet these channels, so that they stay."""
    feeds_classifier: bool
    """Whether a linear layer turns these channels into the network's output."""

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def prunable(self) -> bool:
        """Whether any element may be removed."""
        return not bool(self.frozen.all())


def sets_of(graph: ChannelGraph, found: Labels, elements: Elements) -> list[ChannelSet]:
    """The elements put together by the layers that make them."""
    makers = graph.makers()
    pairs = [np.stack([np.full(len(made), made[0]), made]) for made in makers.values()]
    component = components(graph.elements, *np.concatenate(pairs, 1))

    def met(of: Elements) -> list[int]:
        return [int(c) for c in np.unique(component[of[of >= 0]])]

    made_by, read_by, followed_by, coupled_by, held_by, stopped_by = (
        defaultdict[int, list[str]](list) for _ in range(6)
    )
    for name, made in makers.items():
        made_by[met(made)[0]].append(name)
    for name, layer in graph.layers.items():
        for c in met(layer.inputs):
            read_by[c].append(name)
    for parameter, axes in graph.axes.items():
        owner = parameter.rpartition(".")[0] or parameter
        if owner not in graph.layers:
            for axis in axes:
                for c in [] if axis is None else met(axis):
                    if owner not in followed_by[c]:
                        followed_by[c].append(owner)
    for reasons, noted in (
        (coupled_by, [(labels, reason) for labels, _, reason in found.pairs]),
        (held_by, found.held),
        (stopped_by, found.stopped),
    ):
        for labels, reason in noted:
            for c in met(elements[labels.numpy()]):
                if reason not in reasons[c]:
                    reasons[c].append(reason)

    results = [elements[labels.numpy()] for labels in found.results]
    answers = set(np.concatenate([np.zeros(0, np.int64), *results]).tolist()) - {-1}
    fed: set[int] = set()
    for layer in graph.layers.values():
        if isinstance(layer.module, nn.Linear) and answers & set(layer.outputs.tolist()):
            fed.update(met(layer.inputs))

    sets = []
    for c in sorted(made_by, key=lambda c: int(np.flatnonzero(component == c)[0])):
        members = np.flatnonzero(component == c)
        sets.append(
            ChannelSet(
                name=made_by[c][0],
                elements=members,
                frozen=graph.frozen[members],
                makers=tuple(made_by[c]),
                readers=tuple(read_by[c]),
                followers=tuple(followed_by[c]),
                reasons=tuple(coupled_by[c]),
                holds=() if graph.ends[members].all() else tuple(held_by[c]),
                stops=tuple(stopped_by[c]),
                feeds_classifier=c in fed,
            )
        )
    return sets
