"""Greedy slimming: channels go group by group, each time those that are missed the least.

It starts from the largest network. Of every channel set the last group is taken away on trial, and
the network that is left is measured on a fixed batch; the removal with the least error is made, and
so on. The order of removal is a score of every channel, by which any budget selects. Networks on
the way are nested.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwdna.errors import TrainingError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.io.checksummed_csv import write_csv
from lwdna.rivals.measuring import Measure, Measured, keep, kept, measuring
from lwdna.rivals.widths import Counts, Grid


@dataclass(frozen=True)
class Removal:
    """A step of a slimming, and what is left then; the first one removes nothing."""

    set: int
    """Number of the channel set; -1 for none."""
    left: int
    """How many of its channels are left."""
    flops: int
    error: float
    loss: float


@dataclass(frozen=True)
class Trajectory:
    """The removals of a slimming, in order."""

    graph: ChannelGraph
    removals: tuple[Removal, ...]

    def until(self, target_flops: float) -> Trajectory:
        """As far as a budget asks: to the first network that meets it."""
        end = next(
            (i for i, r in enumerate(self.removals) if r.flops <= target_flops),
            len(self.removals) - 1,
        )
        return Trajectory(self.graph, self.removals[: end + 1])

    def counts(self, grid: Grid) -> Counts:
        """What is left at the end: ``(sets,)``."""
        counts = grid.widths.full.copy()
        for removal in self.removals[1:]:
            counts[removal.set] = removal.left
        return counts

    def scores(self, grid: Grid) -> NDArray[np.float64]:
        """For each element the later it went, the more; the most for what never went.

        Of a group that went at once, and of what is left, the first channels have the most.

        Returns:
            ``(elements,)``.
        """
        widths = grid.widths
        whole = widths.full[widths.set_of]
        scores: NDArray[np.float64] = len(self.removals) - widths.place / whole
        counts = widths.full.copy()
        for step, removal in enumerate(self.removals[1:]):
            group = (widths.set_of == removal.set) & (widths.place >= removal.left)
            group &= widths.place < counts[removal.set]
            scores[group] = step - widths.place[group] / whole[group]
            counts[removal.set] = removal.left
        return scores

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a row for each step as CSV, atomically; equal trajectories give equal bytes.

        Raises:
            LwdnaError: if the file cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", "channels", "before", "left", "flops", "error", "loss"])
        left = [len(channels) for channels in self.graph.sets]
        for step, r in enumerate(self.removals):
            name, before = ("", "") if r.set < 0 else (self.graph.sets[r.set].name, left[r.set])
            writer.writerow([step, name, before, r.left if name else "", r.flops, r.error, r.loss])
            if r.set >= 0:
                left[r.set] = r.left
        write_csv(path, text.getvalue())


class Slimming:
    """A slimming that can be left at any moment, and goes on to the same removals.

    Args:
        graph: the channel graph of the network.
        complexity: of the graph.
        grid: the groups of channels.
        measure: of a sub-network; must always give the same.
        path: where the removals are kept, after each of them; a file of this search alone.
        description: name of the progress bar.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        complexity: MaskedComplexity,
        grid: Grid,
        measure: Measure,
        *,
        path: Path,
        description: str,
    ) -> None:
        self.graph, self.complexity, self.grid = graph, complexity, grid
        self.measure, self.path, self.description = measure, path, description
        self.removals = kept(path, _removal)

    def to(self, target_flops: float) -> Trajectory:
        """Remove channels until a budget is met.

        Raises:
            TrainingError: if nothing more may go before it is met.
            SystemExit: with 128 + the number of the signal, after a signal.
        """
        with measuring(self.measure, self.description, self.path, self._done) as measure:
            if not self.removals:
                full = self.grid.widths.full
                flops = self._flops(full)
                measures = measure(self.grid.widths.mask(full), flops, "all channels")
                self._note(Removal(-1, -1, flops, *measures))
            counts = Trajectory(self.graph, tuple(self.removals)).counts(self.grid)
            while self.removals[-1].flops > target_flops:
                removal = self._next(counts, measure, target_flops)
                counts[removal.set] = removal.left
                self._note(removal)
        return Trajectory(self.graph, tuple(self.removals)).until(target_flops)

    def _next(self, counts: Counts, measure: Measured, target: float) -> Removal:
        """The removal that is missed the least; of several the cheapest, and then the first."""
        now = self.removals[-1].flops
        found = []
        for number, channels in enumerate(self.graph.sets):
            fewer = self.grid.lower(counts, number)
            if fewer is None or (flops := self._flops(fewer)) >= now:
                continue
            left = int(fewer[number])
            tried = f"{channels.name} {counts[number]} to {left}"
            error, loss = measure(self.grid.widths.mask(fewer), flops, tried)
            found.append(Removal(number, left, flops, error, loss))
        if not found:
            raise TrainingError(
                f"No more channels may go at {now:,} FLOPs, above the target of {target:,.0f}; "
                "give a target of that or more, or a smaller least share."
            )
        return min(found, key=lambda r: (r.error, r.loss, r.flops, r.set))

    def _flops(self, counts: Counts) -> int:
        return self.complexity.flops(self.grid.widths.mask(counts))

    def _note(self, removal: Removal) -> None:
        self.removals.append(removal)
        keep(self.path, [asdict(removal) for removal in self.removals])

    def _done(self) -> str:
        return f"{len(self.removals) - 1} removals"


def _removal(row: list[float]) -> Removal:
    number, left, flops, error, loss = row
    return Removal(int(number), int(left), int(flops), error, loss)
