"""Measure what networks are compared with: the noisy input, or bicubic interpolation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.io.checksummed_csv import write_rows
from lwdna.steps._options import READ, output, task
from lwdna.steps.evaluate import columns_of, say
from lwdna.tasks.references import reference_network
from lwdna.tasks.task import test_dataset
from lwdna.training.evaluation import evaluate


@click.command()
@task
@click.option("--test", type=(str, READ), required=True, help="Name of a test set, and its images.")
@click.option("--convention", help="How PSNR is taken.")
@output
def main(
    *, task: dict[str, Any], test: tuple[str, Path], convention: str | None, output: Path
) -> None:
    """Measure on a test set what restoration without a network gives."""
    name, path = test
    network = reference_network(task)
    result = evaluate(network, test_dataset(task, path), task=task, convention=convention)
    row = {"test_set": name, **columns_of(result), "flops": 0, "params": 0}
    say("The reference", row)
    write_rows(output, [row])
