"""Measure a trained network on test sets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

import lwdna
from lwdna.io.checksummed_csv import write_rows
from lwdna.networks.own import load
from lwdna.networks.provenance import provenance_of
from lwdna.networks.registry import input_shape
from lwdna.steps._device import device_of
from lwdna.steps._measuring import runs_if_known, sets_to_test
from lwdna.steps._networks import check_fits, example_for
from lwdna.steps._options import (
    FILE,
    READ,
    accelerator,
    batch_norm,
    bundle,
    output,
    own_network,
    shapes,
    threads,
)
from lwdna.steps._own import check_own
from lwdna.tasks.kinds import measures
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for
from lwdna.training.evaluation import evaluate

logger = logging.getLogger(__name__)

_networks = bundle(
    "networks",
    click.argument("weights", type=FILE, nargs=-1, required=True),
    runs_if_known,
    own_network,
    shapes,
    batch_norm,
)


@click.command()
@_networks
@sets_to_test(READ, "By test set, how PSNR is taken.")
@accelerator
@output
@threads
def main(
    *, networks: dict[str, Any], tests: dict[str, Any], accelerator: str, output: Path
) -> None:
    """Measure the networks in WEIGHTS; write one row for each of them and test set."""
    write_rows(output, _rows(networks, tests, device_of(accelerator)))


def _rows(networks: dict[str, Any], tests: dict[str, Any], device: str) -> list[dict[str, Any]]:
    """A row for each network and test set."""
    task = task_for(tests["task"])
    sets = {name: task.test_data(path) for name, path in tests["sets"]}
    rows = []
    for path in networks["weights"]:
        model = load(path, networks["network"])
        example = _example(model, path, networks["shapes"])
        counts = _complexity(model, example, batch_norm=networks["batch_norm"])
        model.to(device)
        for name, data in sets.items():
            check_fits(task, model, data)
            check_own(task, model, data, example[0].shape)
            result = evaluate(
                model,
                data,
                task=task,
                convention=tests["conventions"].get(name),
                multiple=input_multiple(model),
            )
            known = networks["runs"].get(str(path), {})
            rows.append({**known, "test_set": name, **columns_of(result), **counts})
            say(path, rows[-1])
    return rows


def say(what: object, row: Mapping[str, Any]) -> None:
    """Tell the result of a test, as in the table."""
    measured = {name: row[name] for name in ("images", *measures().values(), "flops", "params")}
    told = [f"{name} {value:,.6g}" for name, value in measured.items() if value is not None]
    logger.info("%s on %s: %s.", what, row["test_set"], ", ".join(told))


def columns_of(result: dict[str, float]) -> dict[str, float | None]:
    """What an evaluation returns, under its names in the metrics table."""
    columns = {"n": "images"} | measures()
    return {column: result.get(key) for key, column in columns.items()}


def _example(model: nn.Module, path: Path, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Inputs without content, of the size for which the network was built, shrunk or not."""
    spec = provenance_of(model).spec
    if spec is None or shapes:
        return example_for(model, path, shapes)
    return (torch.empty(input_shape(spec.name, spec.dataset)),)


def _complexity(
    model: nn.Module, example: tuple[Tensor, ...], *, batch_norm: bool
) -> dict[str, int]:
    """FLOPs and parameters, for inputs of these sizes."""
    flops, params = lwdna.complexity(model, example, batch_norm=batch_norm)
    return {"flops": flops, "params": params}
