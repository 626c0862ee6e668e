"""Measure a trained network at several widths and sizes of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.io.checksummed_csv import write_rows
from lwdna.networks.own import load
from lwdna.rivals.adaptive import measured_at
from lwdna.steps._device import device_of
from lwdna.steps._networks import check_fits, example_for
from lwdna.steps._options import (
    FILE,
    READ,
    accelerator,
    batch_norm,
    bundle,
    output,
    own_network,
    seed,
    shapes,
    task,
    threads,
)
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for

_network = bundle(
    "network", click.argument("weights", type=FILE), own_network, shapes, batch_norm, accelerator
)
_images = bundle(
    "images",
    task,
    click.option("--train", type=READ, required=True, help="Images for batch norm."),
    click.option("--test", type=READ, required=True, help="Test images."),
    click.option("--convention", help="How PSNR is taken."),
)
_grid = bundle(
    "grid",
    click.option(
        "--widths",
        type=click.FloatRange(0, 1, min_open=True),
        multiple=True,
        required=True,
        help="Share of channels; again.",
    ),
    click.option("--sizes", type=click.IntRange(1), multiple=True, help="Of images; again."),
    click.option("--divisor", type=click.IntRange(1), default=1, help="Of numbers of channels."),
    click.option(
        "--calibration", type=click.IntRange(1), default=9, show_default=True,
        help="Batches of 128 training images for batch norm.",
    ),
    seed,
)  # fmt: skip


@click.command()
@_network
@_images
@_grid
@output
@threads
def main(
    *, network: dict[str, Any], images: dict[str, Any], grid: dict[str, Any], output: Path
) -> None:
    """Measure the network in WEIGHTS at widths and sizes, with batch norm recalibrated for each;
    write one row for each of them."""
    task = task_for(images["task"])
    model = load(network["weights"], network["network"])
    (example,) = example_for(model, network["weights"], network["shapes"])
    tests = task.test_data(images["test"])
    check_fits(task, model, tests)
    rows = measured_at(
        model.to(device_of(network["accelerator"])),
        example,
        task=task,
        train_data=task.train_data(images["train"], seed=grid["seed"]),
        test_data=tests,
        batch_norm=network["batch_norm"],
        convention=images["convention"],
        multiple=input_multiple(model),
        **grid,
    )
    write_rows(output, rows)
