"""Search for a network within a FLOPs budget, as a rival does: a command for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.config.methods import SEARCHES
from lwdna.rivals.search import Rival
from lwdna.steps._networks import check_outputs, widen, write_shrunk
from lwdna.steps._options import (
    WRITTEN,
    ToShrink,
    TrainingRun,
    network_to_shrink,
    threads,
    training_run,
)
from lwdna.steps._settings import settings_of
from lwdna.steps._training import training
from lwdna.training.loop import write_history


def command(shrinkage: str) -> click.Command:
    """The command of a search."""
    noted = SEARCHES[shrinkage].noted
    rival: Rival = SEARCHES[shrinkage].load()

    @click.command(help=rival.help)
    @network_to_shrink
    @training_run("search")
    @settings_of(rival.Settings)
    @click.option(
        f"--{noted}",
        "record",
        type=WRITTEN,
        required=True,
        help="File to write: what is noted on the way.",
    )
    @threads
    def main(*, asked: ToShrink, run: TrainingRun, settings: dict[str, Any], record: Path) -> None:
        check_outputs(asked, **{"--history": run["history"], f"--{noted}": record})
        widened = widen(asked)
        budget = {"target_flops": widened.target_flops, "batch_norm": asked["batch_norm"]}
        chosen = rival.Settings(**budget, **settings)
        network, shape = asked["network"], widened.example[0].shape
        with training(widened.model, run, asked["seed"], network, shape) as arguments:
            found = rival.run(widened.model, widened.example, settings=chosen, **arguments)
            write_history(found.history, run["history"])
            found.record.write(record)
            write_shrunk(found.shrunk, widened, asked)

    return main
