"""Train a network."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from lwdna.data.listings import fingerprint
from lwdna.io.locks import lock
from lwdna.networks.build import build_seeded
from lwdna.networks.own import build, load
from lwdna.networks.user_code import is_own
from lwdna.networks.weights import save
from lwdna.steps._networks import check_fits
from lwdna.steps._options import (
    ANY_PATH,
    FILE,
    FOLDER,
    Json,
    Network,
    accelerator,
    devices,
    output,
    seed,
    task,
    threads,
)
from lwdna.steps._own import check_own, input_of, source_key
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for
from lwdna.training.loop import train, write_history


@click.command()
@click.option(
    "--network",
    type=Network(),
    help="Network to build: name or FILE:FUNCTION, or JSON of name, dataset, width, options.",
)
@click.option(
    "--weights",
    type=FILE,
    help="Start from this network instead; with --network FILE:FUNCTION where it is your own.",
)
@click.option("--teacher", type=FILE, help="Trained network to distil from.")
@click.option(
    "--teacher-network", metavar="FILE:FUNCTION", help="What makes that, where it is your own."
)
@task
@click.option("--protocol", type=Json(), required=True, help="How to train.")
@click.option("--train", "train_path", type=ANY_PATH, required=True, help="Training images.")
@click.option("--test", "test_path", type=ANY_PATH, required=True, help="Test images.")
@click.option("--checkpoints", type=FOLDER, required=True, help="Where an interrupted run goes on.")
@click.option("--history", type=FILE, required=True, help="CSV to write: one row an epoch.")
@click.option("--convention", help="How PSNR is taken after each epoch.")
@click.option("--description", default="train", help="Name on the progress bar.")
@accelerator
@devices
@output
@seed
@threads
def main(
    *,
    network: dict[str, Any] | None,
    weights: Path | None,
    teacher: Path | None,
    teacher_network: str | None,
    task: dict[str, Any],
    protocol: dict[str, Any],
    train_path: Path,
    test_path: Path,
    checkpoints: Path,
    history: Path,
    output: Path,
    seed: int,
    **run: Any,
) -> None:
    """Train a network on a task by a protocol; the same command again resumes it."""
    name = "" if network is None else network["name"]
    if weights is None and network is not None:
        model = build_seeded(network, seed, build)
    elif weights is not None and (network is None or is_own(name)):
        model = load(weights, name or None)
    else:
        raise click.UsageError("Give either --network or --weights.")
    objective = task_for(task)
    images = objective.train_data(train_path, seed=seed)
    check_fits(objective, model, images)
    check_own(objective, model, images, input_of(model, network))
    tests = objective.test_data(test_path)
    objective.check_tests(images, tests)
    key = {"data": task, "train": fingerprint(train_path), "test": fingerprint(test_path)}
    with ExitStack() as stack:
        if "LOCAL_RANK" not in os.environ:  # not in the helper processes of several devices
            # Until the files are written: an orphan of a killed run with other settings may
            # still be at work, and must not have the last word.
            stack.enter_context(lock(checkpoints / "lock", wait=True))
        rows = train(
            model,
            images,
            tests,
            task=task,
            protocol=protocol,
            seed=seed,
            checkpoint_dir=checkpoints,
            keyed=True,
            teacher=None if teacher is None else load(teacher, teacher_network),
            multiple=input_multiple(model),
            key=key | source_key(name),
            **run,
        )
        write_history(rows, history)
        save(model, output)
