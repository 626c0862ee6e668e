"""The settings of shrinkage: their defaults, what they may be, and what a network's file says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lwdna.errors import ConfigError, nearest
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.labels import Groups, check_groups
from lwdna.shrinkage.gradients import LossFunction
from lwdna.shrinkage.latents import EMBEDDING
from lwdna.shrinkage.starts import START, STARTS, Start

Criterion = Literal["gradient", "magnitude", "random", "uniform"]
CRITERIA: tuple[str, ...] = get_args(Criterion)

Scorer: TypeAlias = Callable[
    [ChannelGraph, nn.Module, LossFunction | None, "Settings"], NDArray[np.float64]
]
"""A criterion of one's own: called with the channel graph of the widened network, a copy of that
with the weights that the latent vectors generate, the loss if one was given, and the settings. It
returns ``(elements,)`` scores: the higher, the rather kept."""


@dataclass(frozen=True)
class Settings:
    """Of shrinkage at initialisation; :func:`lwdna.shrink` says what they mean.

    Raises:
        ConfigError: if a value is out of range.
    """

    target_flops: float
    rho: float = 0.2
    tau: float = 0.45
    criterion: Criterion | Scorer = "gradient"
    warmup_steps: int = 0
    batches: int = 2
    seed: int = 0
    embedding: int = field(default=EMBEDDING, metadata={"min": 1})
    batch_norm: bool = True
    start: Start = field(
        default=START,
        metadata={
            "help": "The weights to train from: as generated, rescaled layer by layer, or drawn "
            "anew."
        },
    )

    groups: Groups = field(
        default="whole",
        metadata={
            "help": "What grouped convolutions lose: whole groups, or equal positions of each."
        },
    )

    def __post_init__(self) -> None:
        check_groups(self.groups)
        for name in ("rho", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a share between 0 and 1.")
        if not callable(self.criterion) and self.criterion not in CRITERIA:
            raise ConfigError(
                f"There is no criterion '{self.criterion}': {nearest(self.criterion, CRITERIA)}"
            )
        if self.start not in STARTS:
            raise ConfigError(f"There is no start '{self.start}': {nearest(self.start, STARTS)}")
        if self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps is {self.warmup_steps}; give 0 or more.")
        for name in ("batches", "embedding"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1.")

    @property
    def needs_loss(self) -> bool:
        """Whether gradients are taken before channels are scored."""
        return self.criterion == "gradient" or self.warmup_steps > 0

    def noted(self) -> dict[str, Any]:
        """What the file of a shrunk network says of them, as plain numbers and text."""
        criterion: Any = self.criterion
        if callable(criterion):
            criterion = f"{criterion.__module__}:{criterion.__qualname__}"
        return {
            "target_flops": float(self.target_flops),
            "rho": float(self.rho),
            "tau": float(self.tau),
            "criterion": criterion,
            "warmup_steps": int(self.warmup_steps),
            "batches": int(self.batches),
            "seed": int(self.seed),
            "embedding": int(self.embedding),
            "batch_norm": bool(self.batch_norm),
            "start": self.start,
            **({} if self.groups == "whole" else {"groups": self.groups}),
        }
