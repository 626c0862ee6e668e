"""Learning rates as pure functions of the epoch, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from lwdna.errors import ConfigError, require_known
from lwdna.tasks.sections import Schedule

_SETTINGS = {"step": {"kind", "milestones", "gamma"}, "cosine": {"kind"}}


def learning_rate(schedule: Schedule, base: float, epoch: int, epochs: int) -> float:
    """The learning rate of one epoch.

    ``{"kind": "step", "milestones": [150, 225], "gamma": 0.1}`` multiplies ``base`` by ``gamma``
    once for each milestone reached (the CIFAR protocol of Sec. 2.1 of the supplement);
    ``{"kind": "cosine"}`` falls from ``base`` at epoch 0 towards 0 at epoch ``epochs`` (ImageNet).
    The values are those of torch's ``MultiStepLR`` and ``CosineAnnealingLR(T_max=epochs)``,
    stepped once per epoch.

    Args:
        schedule: the ``schedule`` section of a training protocol.
        base: the learning rate of the first epoch.
        epoch: epochs already finished, from 0.
        epochs: length of the whole training.

    Raises:
        ConfigError: if the schedule is of an unknown kind or has an unknown or missing setting.
    """
    kind = schedule.get("kind")
    require_known(kind, _SETTINGS, f"The learning rate schedule {kind!r} does not exist;")
    for name in schedule:
        require_known(name, _SETTINGS[str(kind)], f"The {kind} schedule has no setting '{name}';")
    if kind == "cosine":
        return base * (1 + math.cos(math.pi * epoch / epochs)) / 2
    if "milestones" not in schedule:
        raise ConfigError(
            "A step schedule needs 'milestones', the epochs at which the learning rate falls, "
            "for example [150, 225]; add them."
        )
    reached = sum(1 for milestone in schedule["milestones"] if epoch >= milestone)
    return base * float(schedule.get("gamma", 0.1)) ** reached
