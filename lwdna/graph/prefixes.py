"""First channels: which ones they are, and what a list of numbers of them means for a network."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np

from lwdna.errors import ConfigError, require, require_known
from lwdna.graph.channels import ChannelGraph, Elements, Mask


def stay_first(graph: ChannelGraph, elements: Elements) -> Elements:
    """Some elements ``(n,)`` in the order in which they stay: those that must, then as given.

    So masks of growing numbers of first channels are nested.
    """
    return elements[np.argsort(~graph.frozen[elements], kind="stable")]


def mask_of(graph: ChannelGraph, channels: Mapping[str, int]) -> Mask:
    """The mask that leaves layers their first channels, as many as a list says.

    Which are the first ones is said by :func:`stay_first`.

    Args:
        graph: the channel graph.
        channels: by layer its number of output channels; what is not named stays whole.

    Returns:
        ``(elements,)``.

    Raises:
        ConfigError: for what is no such list, a layer that does not exist, a number that it cannot
            have, or numbers of coupled layers that contradict each other.
    """
    give = "numbers of channels by the names of layers, such as those of lwdna.channels_of"
    require(isinstance(channels, Mapping), "The list of channels", channels, give)
    mask = graph.full_mask()
    said: dict[int, str] = {}
    for name, number in channels.items():
        require_known(name, graph.layers, f"The network has no layer '{name}':")
        whole = isinstance(number, Integral) and not isinstance(number, bool)
        require(whole, f"The number of channels of '{name}'", number, "a whole number")
        elements = graph.layers[name].outputs
        kept = _first(graph, name, elements, number)
        ours = np.unique(elements[elements >= 0])
        stay = np.isin(ours, kept)
        for element, stays in zip(ours.tolist(), stay.tolist(), strict=True):
            if element in said and mask[element] != stays:
                other = said[element]
                raise ConfigError(
                    f"'{name}' and '{other}' share channels, but the list has {number} of one and "
                    f"{channels[other]} of the other; give both the same number."
                )
            said[element] = name
        mask[ours] = stay
    return mask


def channels_left(graph: ChannelGraph, mask: Mask) -> dict[str, int]:
    """By layer how many channels a mask ``(elements,)`` leaves; without those that always stay."""
    frozen = {
        name
        for name, layer in graph.layers.items()
        if all(element < 0 or graph.frozen[element] for element in layer.outputs.tolist())
    }
    kept = graph.kept(mask)
    return {name: len(indices) for name, indices in kept.items() if name not in frozen}


def _first(graph: ChannelGraph, name: str, outputs: Elements, number: int) -> Elements:
    """The elements of a layer's outputs ``(C,)`` that come to a number of its channels."""
    elements = stay_first(graph, np.unique(outputs[outputs >= 0]))
    sizes = np.array([np.count_nonzero(outputs == element) for element in elements], np.int64)
    always = int((outputs < 0).sum())
    possible = always + np.concatenate([[0], np.cumsum(sizes)])
    least = max(1, always + int(sizes[graph.frozen[elements]].sum()))
    allowed = possible[possible >= least].tolist()
    if number not in allowed:
        below = [n for n in allowed if n < number]
        above = [n for n in allowed if n > number]
        if not above:
            give = f"it has {allowed[-1]}; give fewer, or a wider network"
        elif not below:
            give = f"{allowed[0]} is the least"
        else:
            give = f"its channels go together; give {below[-1]} or {above[0]}"
        raise ConfigError(f"'{name}' cannot have {number!r} channels: {give}.")
    return elements[: possible.tolist().index(number)]
