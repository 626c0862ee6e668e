"""Train a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import lwdna
from lwdna.networks.build import build_seeded
from lwdna.networks.weights import save
from lwdna.steps._networks import build
from lwdna.steps._options import FILE, Json, output, seed, threads, training_run
from lwdna.steps._training import training
from lwdna.training.loop import train, write_history


@click.command()
@click.option("--network", type=Json(), help="Network to build: name, dataset, width, options.")
@click.option("--weights", type=FILE, help="Start from this network instead.")
@click.option("--teacher", type=FILE, help="Trained network to distil from.")
@training_run("train")
@output
@seed
@threads
def main(
    *,
    network: dict[str, Any] | None,
    weights: Path | None,
    teacher: Path | None,
    run: dict[str, Any],
    output: Path,
    seed: int,
) -> None:
    """Train a network on a task by a protocol; the same command again resumes it."""
    if weights is None and network is not None:
        model = build_seeded(network, seed, build)
    elif weights is not None and network is None:
        model = lwdna.load(weights)
    else:
        raise click.UsageError("Give either --network or --weights.")
    with training(model, run, seed) as arguments:
        guide = None if teacher is None else lwdna.load(teacher)
        rows = train(model, teacher=guide, **arguments)
        write_history(rows, run["history"])
        save(model, output)
