"""Portions: the channels that come in at once, so that their numbers stay multiples of one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwdna.graph.channels import ChannelGraph, Elements, Mask
from lwdna.graph.sets import ChannelSet

Numbers = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Portions:
    """Elements that may be added to a mask, best first, in portions of some each."""

    elements: Elements
    """One portion after the other."""
    sizes: Numbers
    """How many elements each portion has."""
    sets: Numbers
    """The channel set that each is of."""
    last: NDArray[np.bool_]
    """Whether it completes its set, and may come only after all others of that."""

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: Numbers) -> Numbers:
        """Sums over portions, of a value for each element: ``(portions,)``."""
        if not len(self):
            return np.zeros(0, np.int64)
        starts = np.cumsum(self.sizes) - self.sizes
        return np.add.reduceat(values, starts)  # type: ignore[no-any-return]

    def only(self, stay: NDArray[np.bool_]) -> Portions:
        """Some of the portions, without those that would complete what is no longer whole."""
        stay = stay & ~(self.last & np.isin(self.sets, self.sets[~stay]))
        return Portions(
            self.elements[np.repeat(stay, self.sizes)],
            self.sizes[stay],
            self.sets[stay],
            self.last[stay],
        )

    def first(self, count: int) -> Elements:
        """The elements of the first portions."""
        return self.elements[: int(self.sizes[:count].sum())]

    def after(self, count: int) -> Portions:
        """What comes after the first portions, which were added."""
        elements = self.elements[int(self.sizes[:count].sum()) :]
        return Portions(elements, self.sizes[count:], self.sets[count:], self.last[count:])

    def without_first(self) -> Portions:
        """The portions without the first, which is not added."""
        return self.only(np.arange(len(self)) > 0)


def portions(graph: ChannelGraph, mask: Mask, scores: Scores, multiple_of: int) -> Portions:
    """What a mask may be added to, by the mean score of each portion.

    Args:
        mask: ``(elements,)``, in which every set has a multiple already.
        scores: ``(elements,)``.
        multiple_of: of how many channels of a layer the number is to be a multiple.
    """
    found = [_of_one_size(np.zeros(0, np.int64), 1, 0, last=False)]
    worth = [np.zeros(0)]
    for number, channels in enumerate(graph.sets):
        lowest, left = np.inf, [np.zeros(0, np.int64)]
        for block, step in _blocks(graph, channels, multiple_of):
            rest = _best(block[~mask[block]], scores)
            whole = len(rest) // step * step
            means = scores[rest[:whole]].reshape(-1, step).mean(1)
            lowest = min([lowest, *means[-1:]])
            found.append(_of_one_size(rest[:whole], step, number, last=False))
            worth.append(means)
            left.append(rest[whole:])
        if len(rest := np.concatenate(left)):
            found.append(_of_one_size(rest, len(rest), number, last=True))
            worth.append(np.array([min(scores[rest].mean(), np.nextafter(lowest, -np.inf))]))
    return _ordered(found, np.concatenate(worth))


def _of_one_size(elements: Elements, size: int, number: int, *, last: bool) -> Portions:
    """Portions of one set, ``size`` elements each."""
    count = len(elements) // size
    return Portions(elements, np.full(count, size), np.full(count, number), np.full(count, last))


def _ordered(found: list[Portions], worth: Scores) -> Portions:
    """Portions by what they are worth, the best first."""
    elements, sizes, sets = (
        np.concatenate(parts)
        for parts in zip(*((p.elements, p.sizes, p.sets) for p in found), strict=True)
    )
    last = np.concatenate([p.last for p in found])
    starts = np.cumsum(sizes) - sizes
    order = np.argsort(elements[starts])
    order = order[np.argsort(worth[order], kind="stable")][::-1]
    sizes, starts = sizes[order], starts[order]
    shift = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    return Portions(elements[shift + np.arange(len(shift))], sizes, sets[order], last[order])


def _best(elements: Elements, scores: Scores) -> Elements:
    """Elements by their scores, the best first."""
    return elements[np.argsort(-scores[elements], kind="stable")]


def round_up(graph: ChannelGraph, mask: Mask, scores: Scores, multiple_of: int) -> Mask:
    """The mask with the best channels added until each set has a multiple, or all of its own.

    Args:
        mask: ``(elements,)``.
        scores: ``(elements,)``.
        multiple_of: of how many channels of a layer the number is to be a multiple.

    Returns:
        ``(elements,)``.
    """
    mask = mask.copy()
    for channels in graph.sets:
        for elements, step in _blocks(graph, channels, multiple_of):
            rest = elements[~mask[elements]]
            short = -int(mask[elements].sum()) % step
            if short > len(rest):
                mask[channels.elements] = True
                break
            mask[_best(rest, scores)[:short]] = True
    return mask


def _blocks(
    graph: ChannelGraph, channels: ChannelSet, multiple_of: int
) -> list[tuple[Elements, int]]:
    """The elements of a set, apart by the layers that make them, and the step of their number.

    An element may stand for several channels of a layer, such as those of a group.
    """
    if multiple_of == 1:
        return [(channels.elements, 1)]
    made = [graph.layers[name].outputs for name in channels.makers if name in graph.layers]
    made += [graph.inside[name] for name in channels.makers if name in graph.inside]
    counts = np.stack(
        [
            np.bincount(numbers[numbers >= 0], minlength=graph.elements)[channels.elements]
            for numbers in made
        ]
        or [np.ones(len(channels), np.int64)]
    )
    kinds, which = np.unique(counts, axis=1, return_inverse=True)
    blocks = []
    for kind, column in enumerate(kinds.T):
        steps = [multiple_of // math.gcd(int(n), multiple_of) for n in column if n]
        blocks.append((channels.elements[which.flatten() == kind], math.lcm(*steps)))
    return blocks
