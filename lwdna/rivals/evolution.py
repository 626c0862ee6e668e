"""Evolution: widths of layers found by mutation and crossover, within a window of FLOPs.

So searches MetaPruning (Liu et al., arXiv:1903.10258). The genes of a candidate are the counts of
its channel sets. Each iteration measures a population; the best of all that were ever measured are
the parents of the next one. Every candidate is within the window, and none is measured twice.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lwdna.errors import BudgetError, ConfigError, require_least
from lwdna.graph.complexity import MaskedComplexity
from lwdna.io.checksummed_csv import write_csv
from lwdna.rivals.measuring import Measure, Measured, keep, kept, measuring
from lwdna.rivals.widths import Counts, Grid

logger = logging.getLogger(__name__)

# Keeps this random stream apart from others that are seeded with the same numbers.
_EVOLUTION = 0x65766F6C7665

_HALVINGS = 50
"""Of the interval of exponents, until a candidate is given up."""


@dataclass(frozen=True)
class Plan:
    """What is tried in each iteration; the defaults are those of MetaPruning's authors.

    Raises:
        ConfigError: if a value is out of range.
    """

    population: int = 50
    """Candidates in an iteration."""
    iterations: int = 20
    """Populations that are measured."""
    parents: int = 10
    """The best candidates so far, which the next ones come from."""
    mutants: int = 25
    """Candidates that differ from a parent in some genes."""
    crossovers: int = 25
    """Candidates that have each gene from one of two parents."""
    probability: float = 0.1
    """That a gene of a mutant changes."""
    tries: int = 10
    """Draws for each candidate wanted, most of which may miss the window."""

    def __post_init__(self) -> None:
        require_least(self, population=1, iterations=1, parents=1, tries=1, mutants=0, crossovers=0)
        if self.mutants + self.crossovers > self.population:
            raise ConfigError(
                f"mutants and crossovers are {self.mutants + self.crossovers} together, more than "
                f"the population of {self.population}; give less, or a larger population."
            )
        if not 0 < self.probability <= 1:
            raise ConfigError(f"probability is {self.probability}; give more than 0, at most 1.")


@dataclass(frozen=True)
class Candidate:
    """A network that was measured."""

    iteration: int
    """From 0."""
    flops: int
    error: float
    loss: float
    counts: tuple[int, ...]
    """Its genes: of each set of the graph, how many elements it keeps."""

    @property
    def rank(self) -> tuple[float, float, int]:
        """By what candidates are ordered: the best has the least."""
        return self.error, self.loss, self.flops


@dataclass(frozen=True)
class Evolved:
    """All candidates, in the order in which they were measured."""

    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The best of all; of several the first."""
        return min(self.candidates, key=lambda candidate: candidate.rank)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a row for each iteration as CSV, atomically; equal records give equal bytes.

        ``best`` and ``flops`` are of the best candidate so far; ``mean`` is the mean error of those
        of the iteration.

        Raises:
            LwdnaError: if the file cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["iteration", "candidates", "best", "mean", "flops"])
        for iteration in range(self.candidates[-1].iteration + 1):
            errors = [c.error for c in self.candidates if c.iteration == iteration]
            best = Evolved(tuple(c for c in self.candidates if c.iteration <= iteration)).best
            mean = sum(errors) / len(errors)
            writer.writerow([iteration, len(errors), best.error, mean, best.flops])
        write_csv(path, text.getvalue())


class Evolution:
    """A search that can be left at any moment, and goes on to the same candidates.

    Args:
        complexity: of the channel graph.
        grid: what each set may keep.
        window: the least and the most FLOPs of a candidate.
        plan: what is tried.
        seed: of all draws.
    """

    def __init__(
        self,
        complexity: MaskedComplexity,
        grid: Grid,
        window: tuple[float, float],
        plan: Plan,
        *,
        seed: int,
    ) -> None:
        self.complexity, self.grid, self.window = complexity, grid, window
        self.plan, self.seed = plan, seed
        self.candidates: list[Candidate] = []

    def check(self) -> None:
        """Draw the first population, and measure nothing.

        Raises:
            BudgetError: if no network within the window is found.
        """
        self.candidates = []
        self._population(0)

    def run(self, measure: Measure, *, path: Path, description: str) -> Evolved:
        """Measure all populations; less where no new candidates are found any more.

        Args:
            measure: of a candidate; must always give the same.
            path: where candidates are kept, after each of them; a file of this search alone.
            description: name of the progress bar.

        Raises:
            BudgetError: if no network within the window is found at all.
            SystemExit: with 128 + the number of the signal, after a signal.
        """
        had, self.candidates = kept(path, _candidate), []
        with measuring(measure, description, path, self._done) as measured:
            for iteration in range(self.plan.iterations):
                population = self._population(iteration)
                if not population:
                    logger.warning(
                        "%s: no new candidates are found in iteration %d; the search ends.",
                        description,
                        iteration,
                    )
                    break
                for number, counts in enumerate(population, 1):
                    tried = f"{number} of {len(population)} in iteration {iteration}"
                    if not self._had(had, iteration, counts):
                        self._note(iteration, counts, measured, tried)
                        self._keep(path)
        return Evolved(tuple(self.candidates))

    def _had(self, before: Sequence[Candidate], iteration: int, counts: Counts) -> bool:
        """Take a candidate that was measured before the search was left, if it was."""
        number, genes = len(self.candidates), tuple(counts.tolist())
        had = number < len(before) and before[number].iteration == iteration
        if had and before[number].counts == genes:
            self.candidates.append(before[number])
            return True
        return False

    def _note(self, iteration: int, counts: Counts, measure: Measured, tried: str) -> None:
        """Measure a candidate."""
        flops = self._flops(counts)
        error, loss = measure(self.grid.widths.mask(counts), flops, tried)
        genes = tuple(counts.tolist())
        self.candidates.append(Candidate(iteration, flops, error, loss, genes))

    def _keep(self, path: Path) -> None:
        rows = []
        for candidate in self.candidates:
            row = asdict(candidate)
            genes = row.pop("counts")
            rows.append(row | {f"set {number}": count for number, count in enumerate(genes)})
        keep(path, rows)

    def _population(self, iteration: int) -> list[Counts]:
        """The candidates of an iteration: a function of the seed and of those before."""
        generator = np.random.default_rng([_EVOLUTION, self.seed, iteration])
        plan, seen = self.plan, {candidate.counts for candidate in self.candidates}
        found: list[Counts] = []
        if iteration:
            best = sorted(self.candidates, key=lambda candidate: candidate.rank)[: plan.parents]
            parents = [np.array(candidate.counts, np.int64) for candidate in best]
            found += self._new(plan.mutants, lambda: self._mutant(parents, generator), seen)
            if len(parents) > 1:
                found += self._new(plan.crossovers, lambda: _crossover(parents, generator), seen)
        found += self._new(plan.population - len(found), lambda: self._random(generator), seen)
        if not found and not iteration:
            low, high = self.window
            raise BudgetError(
                f"In {plan.population * plan.tries} draws no network was found within the window "
                f"of {low:,.0f} to {high:,.0f} FLOPs; give a wider window, smaller groups of "
                "channels, or another target."
            )
        return found

    def _new(
        self, wanted: int, draw: Callable[[], Counts], seen: set[tuple[int, ...]]
    ) -> list[Counts]:
        """As many candidates as are wanted, or as are found: within the window, and not seen."""
        found: list[Counts] = []
        for _ in range(wanted * self.plan.tries):
            if len(found) == wanted:
                break
            counts = draw()
            genes = tuple(counts.tolist())
            if genes not in seen and self._within(counts):
                seen.add(genes)
                found.append(counts)
        return found

    def _mutant(self, parents: Sequence[Counts], generator: np.random.Generator) -> Counts:
        """A parent some of whose genes have become others."""
        counts: Counts = parents[int(generator.integers(len(parents)))].copy()
        changes = generator.random(len(counts)) < self.plan.probability
        for number in np.flatnonzero(changes).tolist():
            others = self.grid.choices(number)
            others = others[others != counts[number]]
            if len(others):
                counts[number] = generator.choice(others)
        return counts

    def _random(self, generator: np.random.Generator) -> Counts:
        """A candidate at random, made wider or narrower as a whole until it is within the window.

        Shares drawn at random are raised to a common power: of independent shares alone hardly any
        network would be of the size that is asked for.
        """
        shares = self.grid.draw(generator) / self.grid.widths.full
        low, high = -10.0, 10.0  # of the exponent's binary logarithm
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            counts = self.grid.nearest(shares**2**middle)
            flops = self._flops(counts)
            if flops > self.window[1]:
                low = middle
            elif flops < self.window[0]:
                high = middle
            else:
                break
        return counts

    def _within(self, counts: Counts) -> bool:
        return self.window[0] <= self._flops(counts) <= self.window[1]

    def _flops(self, counts: Counts) -> int:
        return self.complexity.flops(self.grid.widths.mask(counts))

    def _done(self) -> str:
        return f"{len(self.candidates)} candidates"


def _crossover(parents: Sequence[Counts], generator: np.random.Generator) -> Counts:
    """Each gene of one of two parents."""
    first, second = generator.choice(len(parents), 2, replace=False)
    chosen = generator.random(len(parents[first])) < 0.5
    child: Counts = np.where(chosen, parents[first], parents[second])
    return child


def _candidate(row: list[float]) -> Candidate:
    iteration, flops, error, loss, *counts = row
    return Candidate(int(iteration), int(flops), error, loss, tuple(map(int, counts)))
