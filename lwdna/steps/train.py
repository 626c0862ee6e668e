"""Train a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from torch import nn

from lwdna.networks.build import build_seeded
from lwdna.networks.importing import fill
from lwdna.networks.own import load
from lwdna.networks.provenance import note_trained
from lwdna.networks.user_code import is_own
from lwdna.networks.weights import save
from lwdna.steps._json import Json, Network
from lwdna.steps._options import (
    FILE,
    READ,
    TrainingRun,
    bundle,
    output,
    seed,
    threads,
    training_run,
)
from lwdna.steps._own import builder_for, input_of
from lwdna.steps._training import guide_of, steps_for, trained_by, training
from lwdna.tasks.sections import TaskSection
from lwdna.tasks.task import task_for
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
    click.option(
        "--initial", type=FILE, help="Weights of that --network to start from, not random ones."
    ),
    click.option(
        "--backbone",
        type=READ,
        help="Start from a new model of the task on this network; as --weights with --network.",
    ),
    click.option("--teacher", type=READ, help="Trained network to distil from."),
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
    network = start["network"]
    name = "" if network is None else network["name"]
    model = _start_of(start, run["task"], seed)
    with training(model, run, seed, name, input_of(model, network)) as arguments:
        guide = guide_of(start["teacher"], start["teacher_network"], arguments)
        passes = steps_for(start["steps"], model, arguments)
        rows = train(model, teacher=guide, passes=passes, **arguments)
        write_history(rows, run["history"])
        write = task_for(run["task"]).write
        if write is None:
            note_trained(model, trained_by(arguments, run))
            write = save
        write(model, output)


def _start_of(start: dict[str, Any], task: TaskSection, seed: int) -> nn.Module:
    """What training starts from.

    Raises:
        CheckpointError: if initial weights do not fit the network.
        click.UsageError: unless there is one network.
    """
    network, initial = start["network"], start["initial"]
    name = "" if network is None else network["name"]
    files = [path for path in (start["weights"], start["backbone"]) if path is not None]
    if not files and network is not None:
        model = build_seeded(network, seed, builder_for(network))
        if initial is not None:
            given = load(initial, name if is_own(name) else None)
            fill(model, given.state_dict(), f"'{initial}'")
        return model
    if len(files) == 1 and initial is None and (network is None or is_own(name)):
        model = load(files[0], name or None)
        on_it = start["backbone"] is not None
        return task_for(task).model_on(model, seed=seed) if on_it else model
    raise click.UsageError(
        "Give one of --network, perhaps with --initial, --weights, and --backbone."
    )
