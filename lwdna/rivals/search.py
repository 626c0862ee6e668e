"""What a rival is that finds its network by training: one class, which its method names as home."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Unpack

from torch import Tensor, nn

from lwdna.shrinkage.shrunk import Shrunk
from lwdna.training.checkpoints import Row
from lwdna.training.loop import Training


class Record(Protocol):
    """What was noted on the way of a search."""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it, atomically; equal records give equal bytes."""


@dataclass(frozen=True)
class Found:
    """What a search found, and how it came there."""

    shrunk: Shrunk
    history: list[Row]
    """One row for each epoch, the last one perhaps not whole; see
    :func:`lwdna.training.loop.train`."""
    record: Record
    """What it noted besides."""


@dataclass(frozen=True)
class Effort:
    """What a search takes, for a plan: FLOPs by the paper's convention, forward passes alone."""

    trained: float
    """Of the images that it learns from, each of which is passed backward too."""
    run: float = 0.0
    """Of those that it only looks at."""
    numbers: float = 0.0
    """In its last checkpoint, which stays: weights and what else is trained."""


class Rival(Protocol):
    """A search for a network within a FLOPs budget."""

    Settings: type[Any]
    """A frozen dataclass that checks its values. It has ``target_flops`` and ``batch_norm``; every
    other field is an option of the command: ``metadata`` may hold its ``help`` and its ``min``."""
    help: str
    """Of the command."""

    @staticmethod
    def run(
        model: nn.Module,
        example_input: Tensor | Sequence[Tensor],
        settings: Any,
        **training: Unpack[Training],
    ) -> Found:
        """Search, or go on with a search.

        Args:
            model: the widened network; it is not changed.
            example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
            settings: of this class's ``Settings``.
            training: as of :func:`lwdna.training.loop.train`.

        Raises:
            BudgetError: if the settings and the width cannot reach the target.
            TrainingError: if the search does not come to its end.
        """

    @staticmethod
    def effort(
        model: nn.Module, example_input: Tensor, settings: Any, *, images: float, epochs: int
    ) -> Effort:
        """What a search takes at most, without running it.

        Args:
            model: the widened network, perhaps without data.
            example_input: ``(1, C, H, W)``, a training image.
            settings: of this class's ``Settings``, with the budget for such an image.
            images: for training, in an epoch.
            epochs: of the protocol.
        """
