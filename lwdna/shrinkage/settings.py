"""The settings of shrinkage: their defaults, what they may be, and what a network's file says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lwdna.errors import (
    ConfigError,
    is_number,
    require_function,
    require_known,
    require_numbers,
    require_shares,
)
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
    rho: float = field(
        default=0.2, metadata={"help": "Least share of each channel set that stays."}
    )
    tau: float = field(
        default=0.45, metadata={"help": "The same of channel sets that feed the classifier."}
    )
    criterion: Criterion | Scorer = field(
        default="gradient", metadata={"help": "By what channels are ranked; LW-DNA's is gradient."}
    )
    warmup_steps: int = field(
        default=0, metadata={"help": "Steps of the hypernetwork before gradients are taken."}
    )
    batches: int = field(default=2, metadata={"help": "Batches whose gradients are added up."})
    seed: int = 0
    embedding: int = field(
        default=EMBEDDING, metadata={"min": 1, "help": "Embedding dimension m of the hypernetwork."}
    )
    batch_norm: bool = True
    multiple_of: int = field(
        default=1,
        metadata={
            "min": 1,
            "help": "Keep a multiple of so many channels of every set, or all of its own.",
        },
    )
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
        self._check_types()
        check_groups(self.groups)
        require_shares(self, "rho", "tau")
        if callable(self.criterion):
            require_scorer(self.criterion)
        else:
            require_known(self.criterion, CRITERIA, f"There is no criterion '{self.criterion}':")
        require_known(self.start, STARTS, f"There is no start '{self.start}':")
        for name in ("warmup_steps", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 or more.")
        for name in ("batches", "embedding", "multiple_of"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1.")

    def _check_types(self) -> None:
        """Refuse what is no number, or no name, where one is expected."""
        require_numbers(self)
        for name in ("warmup_steps", "batches", "seed", "embedding", "multiple_of"):
            object.__setattr__(self, name, int(getattr(self, name)))  # NumPy's are not PyTorch's
        if self.seed >= 2**63:
            raise ConfigError(f"seed is {self.seed}; give a number of at most 63 bits.")
        for name in ("criterion", "start"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "criterion" and callable(value)):
                raise ConfigError(f"{name} is {value!r}; give a name.")
        if not isinstance(self.batch_norm, bool):
            raise ConfigError(f"batch_norm is {self.batch_norm!r}; give True or False.")

    @property
    def needs_loss(self) -> str:
        """What takes gradients before channels are scored, in words; empty if nothing does."""
        if self.criterion == "gradient":
            return "the criterion 'gradient'"
        return f"warm-up (warmup_steps is {self.warmup_steps})" if self.warmup_steps else ""

    @property
    def reads_weights(self) -> bool:
        """Whether the weights that latent vectors generate are read, without a loss, or kept."""
        return callable(self.criterion) or self.start != "fresh"

    @property
    def without_loss(self) -> dict[str, Any]:
        """Other settings by which no loss would be needed."""
        criterion = {"criterion": "magnitude"} if self.criterion == "gradient" else {}
        return {**criterion, **({"warmup_steps": 0} if self.warmup_steps else {})}

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
            **({} if self.multiple_of == 1 else {"multiple_of": int(self.multiple_of)}),
            **({} if self.groups == "whole" else {"groups": self.groups}),
        }


def require_scorer(criterion: object) -> None:
    """Refuse what cannot be called as a :data:`Scorer`.

    Raises:
        ConfigError: if it cannot.
    """
    require_function(
        criterion,
        4,
        "The criterion",
        "a function that is called with the channel graph, the network, the loss function and the "
        "settings, and returns a score for each element, such as lwdna.rivals.l1.score",
    )


def asked_budget(target_flops: float | None, flops_ratio: float | None) -> float:
    """The one of two ways to name a budget that was given: FLOPs, or a share of them.

    Raises:
        ConfigError: unless exactly one is given, and a share is above 0.
    """
    if (target_flops is None) == (flops_ratio is None):
        raise ConfigError(
            ("No budget was given" if target_flops is None else "Two budgets were given")
            + "; give either target_flops, or flops_ratio, the share of the network's own FLOPs."
        )
    if target_flops is not None:
        return target_flops
    if not is_number(flops_ratio) or not 0 < flops_ratio < math.inf:  # type: ignore
        raise ConfigError(f"flops_ratio is {flops_ratio!r}; give a share above 0, such as 0.5.")
    return flops_ratio  # type: ignore[return-value]
