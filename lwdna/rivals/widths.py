"""Sub-networks of any width: of each channel set the first channels, as many as are asked for.

So have the slimmable networks of Yu et al. (arXiv:1812.08928, 1903.05134, 1903.11728): a narrower
network is a part of every wider one, and all share their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.prefixes import stay_first
from lwdna.shrinkage.budget import protect

Counts = NDArray[np.int64]
"""For each set of a channel graph, how many of its elements are kept."""


class Widths:
    """Counts of a channel graph, and the masks that they stand for.

    Which elements of a set are the first is said by :func:`lwdna.graph.prefixes.stay_first`, as for
    a list of numbers of channels. Where a layer would read nothing, because it reads a part of a
    set only, the first channel of that part stays as well.

    Attributes:
        full: the counts that keep every element.
        fewest: the least counts: what must stay of each set, at least one.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.full: Counts = np.array([len(channels) for channels in graph.sets], np.int64)
        self.fewest: Counts = np.array(
            [max(1, int(channels.frozen.sum())) for channels in graph.sets], np.int64
        )
        self.place = np.full(graph.elements, -1, np.int64)
        """The place of each element in its set: ``(elements,)``."""
        self.set_of = np.zeros(graph.elements, np.int64)
        """The number of the set of each element: ``(elements,)``."""
        for number, channels in enumerate(graph.sets):
            self.place[stay_first(graph, channels.elements)] = np.arange(len(channels))
            self.set_of[channels.elements] = number
        self._always = protect(graph, -self.place.astype(np.float64), self.fewest.tolist())

    def mask(self, counts: Counts) -> Mask:
        """The mask of the first elements of each set.

        Masks are nested: where no count is smaller, no element is missing.

        Args:
            counts: ``(sets,)``.

        Returns:
            ``(elements,)``.
        """
        return self._always | (self.place < counts[self.set_of])

    def uniform(self, width: float, divisor: int = 1) -> Counts:
        """The counts of a network that is narrower as a whole.

        Args:
            width: share of each set, in (0, 1]; 1 keeps everything.
            divisor: what counts are rounded to a multiple of, where a set has as many.

        Returns:
            ``(sets,)``: ``divisor round(width n / divisor)``, not less than what must stay or more
            than there is. Halves are rounded up.
        """
        if width >= 1:
            return self.full.copy()
        rounded = divisor * np.floor(width * self.full / divisor + 0.5).astype(np.int64)
        return np.clip(np.maximum(rounded, divisor), self.fewest, self.full)


@dataclass(frozen=True)
class Grid:
    """The counts that a search tries: whole groups of channels of each set, and all of it."""

    widths: Widths
    unit: Counts
    """Channels of a group: ``(sets,)``."""
    least: Counts
    """The fewest channels of each set that are tried: ``(sets,)``."""

    @classmethod
    def of(cls, widths: Widths, *, groups: int, divisor: int = 1, lowest: float = 0.0) -> Grid:
        """About so many groups a set, whose sizes are multiples of ``divisor``.

        Args:
            widths: of the channel graph.
            groups: in a set.
            divisor: of the channels of a group.
            lowest: share of the channels of each set that always stays.
        """
        full = widths.full
        sizes = divisor * np.floor(full / groups / divisor + 0.5).astype(np.int64)
        unit = np.maximum(sizes, divisor)
        # The tiny subtrahend keeps 0.1 * 30 = 3.0000000000000004 at 3.
        wanted = np.maximum(widths.fewest, np.ceil(lowest * full - 1e-9).astype(np.int64))
        return cls(widths, unit, np.minimum(-(-wanted // unit) * unit, full))

    def draw(self, generator: np.random.Generator) -> Counts:
        """Counts at random, of each set by itself and all choices alike: ``(sets,)``."""
        full = self.widths.full
        groups = -(-(full - self.least) // self.unit)  # those that may go
        drawn = generator.integers(groups + 1)
        return np.where(drawn == groups, full, self.least + drawn * self.unit)

    def choices(self, number: int) -> Counts:
        """What one set may keep, from the least to all of it: ``(choices,)``."""
        full = self.widths.full[number]
        return np.append(np.arange(self.least[number], full, self.unit[number]), full)

    def nearest(self, shares: NDArray[np.float64]) -> Counts:
        """The counts on the grid that are nearest to a share of each set; more does not give less.

        Args:
            shares: ``(sets,)``.

        Returns:
            ``(sets,)``.
        """
        chosen = []
        for number, wanted in enumerate(shares * self.widths.full):
            choices = self.choices(number)
            chosen.append(choices[np.argmin(np.abs(choices - wanted))])
        return np.array(chosen, np.int64)

    def lower(self, counts: Counts, number: int) -> Counts | None:
        """The counts without the last group of one set; None where it has to stay.

        Args:
            counts: ``(sets,)``.
            number: of the set.

        Returns:
            ``(sets,)``.
        """
        unit = self.unit[number]
        left = -(-counts[number] // unit) * unit - unit
        if left < self.least[number]:
            return None
        fewer = counts.copy()
        fewer[number] = left
        return fewer
