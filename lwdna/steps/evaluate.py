"""Measure a trained network on test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

import lwdna
from lwdna.data.datasets import test_dataset
from lwdna.errors import CheckpointError
from lwdna.evaluation import evaluate, input_multiple, pick_accelerator
from lwdna.files import atomic
from lwdna.networks import input_shape
from lwdna.provenance import provenance_of
from lwdna.steps._build import check_fits
from lwdna.steps._options import ANY_PATH, FILE, Json, output, task, threads

COLUMNS = {
    "n": "images",
    "top1_error": "top1_error_percent",
    "top5_error": "top5_error_percent",
    "psnr": "psnr_db",
    "ssim": "ssim",
}
"""Names in the metrics table of what an evaluation returns."""


@click.command()
@click.argument("weights", type=FILE)
@task
@click.option("--labels", type=Json(), default="{}", help="Columns to add: experiment, seed, ...")
@click.option("--conventions", type=Json(), default="{}", help="By test set, how PSNR is taken.")
@click.option(
    "--test",
    "tests",
    type=(str, ANY_PATH),
    multiple=True,
    required=True,
    help="Name and path of a test set; may be given several times.",
)
@click.option(
    "--count-batch-norm/--no-count-batch-norm",
    default=True,
    help="Count batch norm in the FLOPs, as Table 1 does and Table 2 does not.",
)
@click.option("--accelerator", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@output
@threads
def main(
    *,
    weights: Path,
    task: dict[str, Any],
    labels: dict[str, Any],
    conventions: dict[str, Any],
    tests: tuple[tuple[str, Path], ...],
    count_batch_norm: bool,
    accelerator: str,
    output: Path,
) -> None:
    """Measure the network in WEIGHTS; write one row a test set."""
    model = lwdna.load(weights)
    spec = provenance_of(model).spec
    if spec is None:
        raise CheckpointError(
            f"'{weights}' does not say which network it is; evaluate files that the pipeline wrote."
        )
    example = torch.empty(input_shape(spec.name, spec.dataset))
    flops, params = lwdna.complexity(model, example, batch_norm=count_batch_norm)
    model.to(pick_accelerator(accelerator))
    rows = []
    for name, path in tests:
        data = test_dataset(task, path)
        check_fits(model, data)
        result = evaluate(
            model,
            data,
            task=task["kind"],
            convention=conventions.get(name),
            multiple=input_multiple(model),
        )
        values = {column: result.get(key) for key, column in COLUMNS.items()}
        rows.append({**labels, "test_set": name, **values, "flops": flops, "params": params})
    with atomic(output) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
