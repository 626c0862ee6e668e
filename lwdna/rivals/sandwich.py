"""The sandwich rule: each step trains the largest, the smallest and some random sub-networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from lwdna.graph.slicing import SlicedNetwork
from lwdna.rivals.widths import Grid
from lwdna.training.passes import Pass

# Keeps this random stream apart from others that are seeded with the same numbers.
_WIDTHS = 0x776964746873


class Sandwich:
    """The passes of a step, a function of (seed, step): Yu and Huang, arXiv:1903.05134.

    The full network learns from the targets, the others from what it says of the same images
    (in-place distillation). Gradients are added as they are.

    Args:
        sliced: runs the sub-networks.
        grid: the counts to draw from; each set by itself, as AutoSlim has it.
        passes: of a step, from 1: the full network, the least one, and what is left at random.
        seed: of the widths.
        soft: whether there is distillation; else all learn from the targets.
    """

    def __init__(
        self, sliced: SlicedNetwork, grid: Grid, *, passes: int, seed: int, soft: bool
    ) -> None:
        self.sliced, self.grid = sliced, grid
        self.passes, self.seed, self.soft = passes, seed, soft

    def __call__(self, step: int) -> Sequence[Pass]:
        """The passes of a step, by its number."""
        generator = np.random.default_rng([_WIDTHS, self.seed, step])
        counts = [self.grid.least]
        counts += [self.grid.draw(generator) for _ in range(self.passes - 2)]
        masks = map(self.grid.widths.mask, counts[: self.passes - 1])
        return [Pass(), *(Pass(partial(self.sliced, mask), self.soft) for mask in masks)]
