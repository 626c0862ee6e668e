"""The device that a step computes on, which it keeps for itself where that is asked for."""

from __future__ import annotations

import click

from lwdna.training.cards import dealt
from lwdna.training.devices import pick_accelerator


def device_of(accelerator: str) -> str:
    """The device to compute on, ``cuda``, ``mps`` or ``cpu``.

    On a machine where the workflow deals out GPUs, the step has one of its own until it ends.

    Args:
        accelerator: as of :func:`lwdna.training.devices.pick_accelerator`.

    Raises:
        ConfigError: if there is none of the kind.
    """
    click.get_current_context().with_resource(dealt(accelerator, 1))
    return pick_accelerator(accelerator)
