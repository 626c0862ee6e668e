"""Train a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.networks.build import build_seeded
from lwdna.networks.own import load
from lwdna.networks.user_code import is_own
from lwdna.networks.weights import save
from lwdna.steps._json import Json, Network
from lwdna.steps._options import (
    FILE,
    TrainingRun,
    bundle,
    output,
    seed,
    threads,
    training_run,
)
from lwdna.steps._own import builder_for, input_of
from lwdna.steps._training import steps_for, training
from lwdna.training.loop import train, write_history

_start = bundle(
    "start",
    click.option(
        "--network",
        type=Network(),
        help="Network to build: name or FILE:FUNCTION, or JSON of name, dataset, width, options.",
    ),
    click.option(
        "--weights",
        type=FILE,
        help="Start from this network instead; with --network FILE:FUNCTION where it is your own.",
    ),
    click.option("--teacher", type=FILE, help="Trained network to distil from."),
    click.option(
        "--teacher-network", metavar="FILE:FUNCTION", help="What makes that, where it is your own."
    ),
    click.option(
        "--steps",
        type=Json("steps"),
        help="What is done in each step: JSON of kind, such as mutualnet, and its settings.",
    ),
)


@click.command()
@_start
@training_run("train")
@output
@seed
@threads
def main(*, start: dict[str, Any], run: TrainingRun, output: Path, seed: int) -> None:
    """Train a network on a task by a protocol; the same command again resumes it."""
    network, teacher = start["network"], start["teacher"]
    name = "" if network is None else network["name"]
    if start["weights"] is None and network is not None:
        model = build_seeded(network, seed, builder_for(network))
    elif start["weights"] is not None and (network is None or is_own(name)):
        model = load(start["weights"], name or None)
    else:
        raise click.UsageError("Give either --network or --weights.")
    with training(model, run, seed, name, input_of(model, network)) as arguments:
        guide = None if teacher is None else load(teacher, start["teacher_network"])
        passes = steps_for(start["steps"], model, arguments)
        rows = train(model, teacher=guide, passes=passes, **arguments)
        write_history(rows, run["history"])
        save(model, output)
