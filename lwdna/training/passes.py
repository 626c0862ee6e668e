"""What a step of a training consists of: forward and backward passes, ordinarily one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lwdna.tasks.trees import Tree


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass of a step, whose gradients are added to those of the others."""

    run: Callable[[Tree], Tree] | None = None
    """What the parameters that are trained make of a batch, say with a part of each or at another
    size of the input; None for the network as it is."""
    soft: bool = False
    """Whether it learns from what the first pass said of the batch, in place of the targets
    (:meth:`lwdna.tasks.task.Task.soft_loss`)."""


Passes: TypeAlias = Callable[[int], Sequence[Pass]]
"""The passes of a step, given its number from 0 over all epochs. They must depend on nothing else
but settings and a seed: so they are the same on every device, for every micro-batch, and in a run
that was killed and goes on. The first has targets and is what history is of."""

ORDINARY: Sequence[Pass] = (Pass(),)


def ordinary(step: int) -> Sequence[Pass]:
    """The network as it is, once."""
    return ORDINARY
