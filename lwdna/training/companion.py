"""What goes along with a training: the form of a search, which changes the network as it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Companion(ABC):
    """Goes along with a training: looks at, or changes, the network after each step.

    What it does must depend on the network, its arguments and ``record`` alone, so that a resumed
    training goes on to the same bits; on several devices it is asked on each of them.
    """

    record: dict[str, Tensor]
    """What it has observed, by name; saved and put back with each checkpoint."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the training is to end with the step last made; a function of ``record``."""

    @abstractmethod
    def after_step(self, epoch: int, step: int, rate: float, *, last: bool) -> None:
        """Called after a step of the optimiser.

        Args:
            epoch: finished epochs, counting this one if the step is its last.
            step: steps made in all.
            rate: the learning rate of the step.
            last: whether it is the last step of the protocol.
        """
