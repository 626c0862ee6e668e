"""Train a network."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import lwdna
from lwdna.data.listings import fingerprint
from lwdna.io.locks import lock
from lwdna.networks.build import build_seeded
from lwdna.networks.weights import save
from lwdna.steps._networks import build, check_fits
from lwdna.steps._options import (
    ANY_PATH,
    FILE,
    FOLDER,
    Json,
    accelerator,
    devices,
    output,
    seed,
    task,
    threads,
)
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for
from lwdna.training.loop import train, write_history


@click.command()
@click.option("--network", type=Json(), help="Network to build: name, dataset, width, options.")
@click.option("--weights", type=FILE, help="Start from this network instead.")
@click.option("--teacher", type=FILE, help="Trained network to distil from.")
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
    if weights is None and network is not None:
        model = build_seeded(network, seed, build)
    elif weights is not None and network is None:
        model = lwdna.load(weights)
    else:
        raise click.UsageError("Give either --network or --weights.")
    objective = task_for(task)
    images = objective.train_data(train_path, seed=seed)
    check_fits(objective, model, images)
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
            teacher=None if teacher is None else lwdna.load(teacher),
            multiple=input_multiple(model),
            key=key,
            **run,
        )
        write_history(rows, history)
        save(model, output)
