"""The training protocol: the settings of a training, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lwdna.errors import ConfigError, nearest
from lwdna.training.schedules import learning_rate

PRECISIONS = ("32-true", "bf16-mixed")
"""Arithmetic of a training. Both need no loss scaling, so there is no scaler to checkpoint."""

_OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"lr": None, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
    "adam": {"lr": None, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
}


@dataclass(frozen=True)
class Protocol:
    """How a network is trained: the ``protocol`` section of the configuration.

    Weight decay is the L2 term of ``torch.optim.SGD`` and ``torch.optim.Adam``, on every
    parameter, as in the authors' code.
    """

    epochs: int
    """Length of the training."""
    batch_size: int
    """Images in a step, over all devices together."""
    optimizer: Mapping[str, Any]
    """``kind`` (sgd or adam), ``lr`` and what else torch's optimiser takes."""
    schedule: Mapping[str, Any]
    """See :func:`lwdna.training.schedules.learning_rate`."""
    test_every: int = 1
    """Epochs between two tests; the last epoch is always tested."""
    distillation: Mapping[str, Any] | None = None
    """``temperature`` and ``weight``, used where there is a teacher."""
    precision: str = "32-true"
    """Arithmetic of the training, one of :data:`PRECISIONS`; tests are made in float32."""
    accumulate: int = 1
    """Micro-batches that a step is split into, for less memory: the gradients are added up."""
    channels_last: bool = False
    """Whether images lie in memory pixel by pixel, which tensor cores prefer."""
    compile: bool = False
    """Whether the network is compiled by ``torch.compile``."""
    workers: int = 0
    """Processes that load data; no influence on the result."""
    checkpoint_minutes: float = 15.0
    """Time between two checkpoints inside an epoch; no influence on the result."""

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Protocol:
        """Check a section of the configuration.

        Raises:
            ConfigError: if a setting is unknown, missing or out of range.
        """
        known = {entry.name: entry for entry in dataclasses.fields(cls)}
        for name in settings:
            if name not in known:
                raise ConfigError(
                    f"The training protocol has no setting '{name}'; {nearest(name, known)}"
                )
        for name, entry in known.items():
            if entry.default is dataclasses.MISSING and name not in settings:
                raise ConfigError(f"The training protocol lacks '{name}'; add it.")
        protocol = cls(**settings)
        for name in ("epochs", "batch_size", "test_every", "accumulate"):
            if getattr(protocol, name) < 1:
                raise ConfigError(
                    f"'{name}' of the training protocol is {getattr(protocol, name)}; "
                    "it must be 1 or more."
                )
        for name in ("channels_last", "compile"):
            if not isinstance(value := getattr(protocol, name), bool):
                raise ConfigError(
                    f"'{name}' of the training protocol is {value!r}; it must be true or false."
                )
        if protocol.accumulate > protocol.batch_size:
            raise ConfigError(
                f"'accumulate' of the training protocol splits batches of {protocol.batch_size} "
                f"into {protocol.accumulate}; it must be {protocol.batch_size} or less."
            )
        if protocol.precision not in PRECISIONS:
            raise ConfigError(
                f"The precision '{protocol.precision}' does not exist; "
                f"{nearest(protocol.precision, PRECISIONS)}"
            )
        learning_rate(protocol.schedule, 1.0, 0, protocol.epochs)
        protocol.make_optimizer([nn.Parameter(torch.zeros(1))])
        return protocol

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Torch's optimiser for these parameters.

        Raises:
            ConfigError: if the kind or a setting does not exist or cannot be.
        """
        settings = dict(self.optimizer)
        kind = settings.pop("kind", None)
        if kind not in _OPTIMIZERS:
            raise ConfigError(
                f"The optimizer {kind!r} does not exist; {nearest(str(kind), _OPTIMIZERS)}"
            )
        for name in settings:
            if name not in _OPTIMIZERS[kind]:
                raise ConfigError(
                    f"The optimizer '{kind}' has no setting '{name}'; "
                    f"{nearest(name, _OPTIMIZERS[kind])}"
                )
        if "lr" not in settings:
            raise ConfigError(f"The optimizer '{kind}' lacks 'lr', the learning rate; add it.")
        arguments = {**_OPTIMIZERS[kind], **settings}
        try:
            if kind == "sgd":
                return torch.optim.SGD(parameters, **arguments)
            return torch.optim.Adam(parameters, **{**arguments, "betas": tuple(arguments["betas"])})
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"The settings of the optimizer '{kind}' are not possible: {error}; correct them."
            ) from error

    def science(self, *, with_teacher: bool) -> dict[str, Any]:
        """The settings that the result depends on, if only in its last bits."""
        settings = dataclasses.asdict(self)
        del settings["workers"], settings["checkpoint_minutes"]
        if not with_teacher:
            del settings["distillation"]
        return settings
