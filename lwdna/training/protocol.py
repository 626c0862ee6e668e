"""The training protocol: the settings of a training, checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import torch
from torch import nn

from lwdna.errors import ConfigError, require_known
from lwdna.tasks.sections import Distillation, Group, Optimizer, ProtocolSection, Schedule
from lwdna.training.schedules import learning_rate
from lwdna.training.uncompiled import uncompiled

PRECISIONS = ("32-true", "bf16-mixed")
"""Arithmetic of a training. Both need no loss scaling, so there is no scaler to checkpoint."""

_OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"lr": None, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
    "adam": {"lr": None, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
}

_SGD, _Adam = uncompiled(torch.optim.SGD), uncompiled(torch.optim.Adam)

_FACTOR = "lr_factor"
"""Of a group of parameters, beside its learning rate."""


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
    optimizer: Optimizer
    """``kind`` (sgd or adam), ``lr`` and what else torch's optimiser takes."""
    schedule: Schedule
    """See :func:`lwdna.training.schedules.learning_rate`."""
    test_every: int = 1
    """Epochs between two tests; the last epoch is always tested."""
    groups: Sequence[Group] = ()
    """Parameters with a learning rate of their own: ``parameters``, a pattern of their names such
    as ``backbone.*``, and ``lr``, a factor. The first pattern that fits counts."""
    distillation: Distillation | None = None
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
    def read(cls, settings: ProtocolSection) -> Protocol:
        """Check a section of the configuration.

        Raises:
            ConfigError: if a setting is unknown, missing or out of range.
        """
        known = {entry.name: entry for entry in dataclasses.fields(cls)}
        for name in settings:
            require_known(name, known, f"The training protocol has no setting '{name}';")
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
        require_known(
            protocol.precision, PRECISIONS, f"The precision '{protocol.precision}' does not exist;"
        )
        for group in protocol.groups:
            _check_group(group)
        learning_rate(protocol.schedule, 1.0, 0, protocol.epochs)
        protocol.make_optimizer([nn.Parameter(torch.zeros(1))])
        return protocol

    def parameters_of(self, model: nn.Module) -> list[nn.Parameter] | list[dict[str, Any]]:
        """The parameters of a network for :meth:`make_optimizer`, in groups where there are any.

        Raises:
            ConfigError: if a group has no parameter.
        """
        if not self.groups:
            return list(model.parameters())
        patterns = [str(group["parameters"]) for group in self.groups]
        found: list[list[nn.Parameter]] = [[] for _ in range(len(patterns) + 1)]
        for name, parameter in model.named_parameters():
            fits = (i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern))
            found[next(fits, -1)].append(parameter)
        for pattern, parameters in zip(patterns, found, strict=False):
            if not parameters:
                names = ", ".join(name for name, _ in islice(model.named_parameters(), 3))
                raise ConfigError(
                    f"The group '{pattern}' of the training protocol has no parameter of this "
                    f"network that no earlier group has; its parameters are {names}, ..."
                )
        factors = [*(float(group["lr"]) for group in self.groups), 1.0]
        return [
            {"params": parameters, _FACTOR: factor}
            for parameters, factor in zip(found, factors, strict=True)
            if parameters
        ]

    def make_optimizer(
        self, parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]]
    ) -> torch.optim.Optimizer:
        """Torch's optimiser for these parameters, or groups of them.

        Raises:
            ConfigError: if the kind or a setting does not exist or cannot be.
        """
        settings: dict[str, Any] = {**self.optimizer}
        kind = settings.pop("kind", None)
        require_known(kind, _OPTIMIZERS, f"The optimizer {kind!r} does not exist;")
        for name in settings:
            require_known(
                name, _OPTIMIZERS[kind], f"The optimizer '{kind}' has no setting '{name}';"
            )
        if "lr" not in settings:
            raise ConfigError(f"The optimizer '{kind}' lacks 'lr', the learning rate; add it.")
        arguments = {**_OPTIMIZERS[kind], **settings}
        try:
            if kind == "sgd":
                return _SGD(parameters, **arguments)
            return _Adam(parameters, **{**arguments, "betas": tuple(arguments["betas"])})
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"The settings of the optimizer '{kind}' are not possible: {error}; correct them."
            ) from error

    def science(self, *, with_teacher: bool) -> dict[str, Any]:
        """The settings that the result depends on, if only in its last bits."""
        settings = dataclasses.asdict(self)
        del settings["workers"], settings["checkpoint_minutes"]
        if not self.groups:  # as in trainings from before there were any
            del settings["groups"]
        if not with_teacher:
            del settings["distillation"]
        return settings


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group of parameters its learning rate: ``rate``, times its factor if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_FACTOR, 1.0)


def _check_group(group: Group) -> None:
    if set(group) != {"parameters", "lr"}:
        raise ConfigError(
            f"The group {dict(group)} of the training protocol must have 'parameters', a pattern "
            "of names, and 'lr', a factor of the learning rate, and nothing else."
        )
    if not 0 <= float(group["lr"]) < math.inf:
        raise ConfigError(
            f"'lr' of the group '{group['parameters']}' of the training protocol is "
            f"{group['lr']}; it must be a finite number of 0 or more."
        )
