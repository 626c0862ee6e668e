"""Search for a network within a FLOPs budget, as a rival does: a command for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.config.methods import SEARCHES
from lwdna.rivals.search import Rival
from lwdna.steps._networks import check_outputs, widen_from, write_shrunk
from lwdna.steps._options import (
    FILE,
    channels,
    network_to_shrink,
    output,
    seed,
    settings_of,
    threads,
    training_run,
)
from lwdna.steps._training import training
from lwdna.training.loop import write_history


def command(shrinkage: str) -> click.Command:
    """The command of a search."""
    record = SEARCHES[shrinkage].record
    rival: Rival = SEARCHES[shrinkage].load()

    @click.command(help=rival.help)
    @network_to_shrink
    @channels
    @training_run("search")
    @settings_of(rival.Settings)
    @click.option(
        f"--{record}",
        "record",
        type=FILE,
        required=True,
        help="HDF5 to write: what is noted on the way.",
    )
    @output
    @seed
    @threads
    def main(
        *,
        baseline: dict[str, Any],
        channels: Path | None,
        run: dict[str, Any],
        settings: dict[str, Any],
        record: Path,
        output: Path,
        seed: int,
    ) -> None:
        check_outputs(output, channels)
        widened = widen_from(baseline, seed)
        budget = {"target_flops": widened.target_flops, "batch_norm": baseline["batch_norm"]}
        asked = rival.Settings(**budget, **settings)
        network, shape = baseline["network"], widened.example[0].shape
        with training(widened.model, run, seed, network, shape) as arguments:
            found = rival.run(widened.model, widened.example, settings=asked, **arguments)
            write_history(found.history, run["history"])
            found.record.write(record)
            write_shrunk(found.shrunk, widened, output, channels)

    return main
