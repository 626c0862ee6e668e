"""Measure what networks are compared with, such as the noisy input, or bicubic interpolation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.io.checksummed_csv import write_rows
from lwdna.steps._options import READ, output, task
from lwdna.steps.evaluate import columns_of, say
from lwdna.tasks.references import reference_network
from lwdna.tasks.task import task_for, test_dataset
from lwdna.training.evaluation import evaluate


@click.command()
@task
@click.option(
    "--test",
    type=(str, READ),
    required=True,
    help="Name of a test set, and its images or videos.",
)
@click.option("--convention", help="How it is measured.")
@output
def main(
    *, task: dict[str, Any], test: tuple[str, Path], convention: str | None, output: Path
) -> None:
    """Measure on a test set what is had without a network."""
    name, path = test
    result = dict(task_for(task).measure_reference(path, convention))
    if not result:
        network = reference_network(task)
        result = evaluate(network, test_dataset(task, path), task=task, convention=convention)
    row = {"test_set": name, **columns_of(result), "flops": 0, "params": 0}
    say("The reference", row)
    write_rows(output, [row])
