"""Write the network in which AutoSlim searches."""

from __future__ import annotations

from typing import Any

import click

from lwdna.networks.weights import save
from lwdna.rivals.autoslim import Settings, shared
from lwdna.steps._networks import check_outputs, widen
from lwdna.steps._options import (
    ToShrink,
    TrainingRun,
    network_to_shrink,
    threads,
    training_run,
)
from lwdna.steps._settings import settings_of
from lwdna.steps._training import training


@click.command()
@network_to_shrink
@training_run("search", history=False)
@settings_of(Settings)
@threads
def main(*, asked: ToShrink, run: TrainingRun, settings: dict[str, Any]) -> None:
    """Train NETWORK at all widths, as AutoSlim does before it slims it; of a search made before,
    with the same options, the network is there already."""
    check_outputs(asked)
    widened = widen(asked)
    budget: dict[str, Any] = {
        "target_flops": widened.target_flops,
        "batch_norm": asked["batch_norm"],
    }
    chosen = Settings(**budget, **settings)
    network, shape = asked["network"], widened.example[0].shape
    with training(widened.model, run, asked["seed"], network, shape) as arguments:
        save(shared(widened.model, widened.example, chosen, **arguments), asked["output"])
