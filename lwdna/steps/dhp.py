"""Search for a network within a FLOPs budget by DHP."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from lwdna.data.listings import fingerprint
from lwdna.io.locks import lock
from lwdna.rivals.dhp import Settings, search
from lwdna.rivals.dhp_record import write_latents
from lwdna.shrinkage.latents import EMBEDDING
from lwdna.steps._networks import check_fits, check_outputs, write_shrunk
from lwdna.steps._networks import widen as widen_network
from lwdna.steps._options import (
    ANY_PATH,
    FILE,
    FOLDER,
    Json,
    accelerator,
    devices,
    network_to_shrink,
    output,
    seed,
    task,
    threads,
)
from lwdna.steps._own import check_own, source_key
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for
from lwdna.training.loop import write_history


@click.command()
@network_to_shrink
@task
@click.option("--protocol", type=Json(), required=True, help="How the hypernetworks learn.")
@click.option("--train", "train_path", type=ANY_PATH, required=True, help="Training images.")
@click.option("--test", "test_path", type=ANY_PATH, required=True, help="Test images.")
@click.option("--lambda", "lambda_", type=float, required=True, help="Regularisation factor.")
@click.option("--threshold", type=float, default=5e-3, show_default=True, help="T.")
@click.option("--rho", type=float, default=0.0, show_default=True)
@click.option("--tau", type=float, default=0.45, show_default=True)
@click.option("--least", type=int, default=1, show_default=True, help="Channels that always stay.")
@click.option("--stop-limit", type=float, default=0.02, show_default=True, help="Of the budget.")
@click.option("--check-every", type=int, default=100, show_default=True, help="Steps.")
@click.option("--embedding", type=click.IntRange(min=1), default=EMBEDDING, show_default=True)
@click.option("--checkpoints", type=FOLDER, required=True, help="Where an interrupted run goes on.")
@click.option("--history", type=FILE, required=True, help="CSV to write: one row an epoch.")
@click.option("--latents", type=FILE, required=True, help="HDF5 to write: latent vectors.")
@click.option("--convention", help="How PSNR is taken after each epoch.")
@click.option("--description", default="search", help="Name on the progress bar.")
@accelerator
@devices
@output
@seed
@threads
def main(
    *,
    network: str,
    dataset: str | None,
    width: float,
    widen: float | None,
    options: dict[str, Any],
    shapes: tuple[tuple[int, ...], ...],
    task: dict[str, Any],
    protocol: dict[str, Any],
    train_path: Path,
    test_path: Path,
    target_flops: float | None,
    flops_ratio: float | None,
    checkpoints: Path,
    history: Path,
    latents: Path,
    channels: Path | None,
    convention: str | None,
    description: str,
    accelerator: str,
    devices: int,
    output: Path,
    seed: int,
    **settings: Any,
) -> None:
    """Widen NETWORK and make its latent vectors sparse by DHP; the same command again resumes."""
    check_outputs(output, channels)
    widened = widen_network(
        {"name": network, "dataset": dataset, "width": width, "options": options},
        widen,
        shapes,
        seed=seed,
        target_flops=target_flops,
        flops_ratio=flops_ratio,
        batch_norm=settings["batch_norm"],
    )
    objective = task_for(task)
    images = objective.train_data(train_path, seed=seed)
    check_fits(objective, widened.model, images)
    check_own(objective, widened.model, images, widened.example[0].shape)
    tests = objective.test_data(test_path)
    objective.check_tests(images, tests)
    key = {"data": task, "train": fingerprint(train_path), "test": fingerprint(test_path)}
    with ExitStack() as stack:
        if "LOCAL_RANK" not in os.environ:  # as in `train`
            stack.enter_context(lock(checkpoints / "lock", wait=True))
        found = search(
            widened.model,
            widened.example,
            images,
            tests,
            Settings(target_flops=widened.target_flops, **settings),
            task=task,
            protocol=protocol,
            seed=seed,
            checkpoint_dir=checkpoints,
            keyed=True,
            key=key | source_key(network),
            multiple=input_multiple(widened.model),
            convention=convention,
            description=description,
            accelerator=accelerator,
            devices=devices,
        )
        write_history(found.history, history)
        write_latents(found.record, latents)
        write_shrunk(found.shrunk, widened, output, channels)
