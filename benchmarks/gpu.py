"""What a GPU makes of the package: training beside a bare loop, waiting for data, side by side.

For ResNet56 and MobileNetV1 on images of the size of CIFAR's and DnCNN on patches of 64 x 64, by
precision, memory format and compiler: images a second of ``lwdna.training.loop.train``, which reads
a store by workers, and of a bare PyTorch loop over one batch that lies on the device; and the share
of the time in which the training waits for its next batch. (The device may still be busy then, so
that this is the most it can be idle for want of data.) Then several trainings on one card side by
side, what ``lwdna plan --calibrate`` measures, and shrinkage on the device beside the CPU.

``python benchmarks/gpu.py`` is meant to take four minutes on an H100. With ``--device cpu --quick``
it proves that it runs. Every row is written to ``gpu.jsonl`` in the folder as it comes, and to
``gpu.csv`` in the end; what is there is not measured again.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch
from gpu_training import CASES, SETTINGS, Options, Row, one_training, side_by_side, store, wait_for

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.networks.build import build_seeded
from lwdna.networks.registry import input_shape
from lwdna.shrinkage.hypernetwork import attach_hypernetwork
from lwdna.shrinkage.latents import draw_latents
from lwdna.tasks.task import task_for, train_dataset
from lwdna.training.devices import make_fabric
from lwdna.training.protocol import Protocol
from lwdna.training.sampler import batch_losses
from lwdna.training.step import Learner
from lwdna.workflow.throughput import device_name, measure

COMPILED = "DnCNN"
"""The network that is compiled too, which takes long."""


def calibrated(name: str, options: Options) -> Row:
    """What ``lwdna plan --calibrate`` measures, in FLOPs a second."""
    case = options.case(name)
    section: Any = {"label": name, "network": case.network, "task": case.task, "train": "noise"}
    rate = measure(section, options.protocol(case, {}), options.device)
    return {"gflops": rate / 1e9}


def shrinkage(name: str, options: Options, folder: Path) -> Row:
    """Seconds to shrink a widened network on the device and on the CPU, and whether alike."""
    case = options.case(name)
    wide = {**case.network, "width": 2 * case.network.get("width", 1.0)}
    data = train_dataset(dict(case.task), store(case, folder, options.samples), seed=0)
    shape = input_shape(case.network["name"], case.network.get("dataset"))
    row: Row = {}
    kept = {}
    for device in dict.fromkeys(("cpu", options.device)):
        for _ in range(2):  # the first also starts cuDNN
            model = build_seeded(wide, 0).to(device)
            losses = batch_losses(case.task["kind"], data, case.batch_size, 0)
            begin = time.perf_counter()
            shrunk = lwdna.shrink(model, torch.empty(shape), losses, flops_ratio=0.5, seed=0)
            row[f"{device}_seconds"] = time.perf_counter() - begin
        kept[device] = {(layer, c) for layer, channels in shrunk.kept.items() for c in channels}
    return row | {"differ": len(kept["cpu"] ^ kept[options.device]) / len(kept["cpu"])}


def search_step(name: str, options: Options) -> Row:
    """Milliseconds of a step of a widened network through its hypernetwork, as DHP makes them."""
    case = options.case(name)
    shape = input_shape(case.network["name"], case.network.get("dataset"))
    wide = build_seeded({**case.network, "width": 2 * case.network.get("width", 1.0)}, 0)
    task = task_for(dict(case.task))
    inputs, targets = task.random_batch(case.network, case.batch_size, shape)
    graph = ChannelGraph(wide, torch.empty(shape))
    attach_hypernetwork(graph, wide, draw_latents(graph, 0), seed=0)
    fabric = make_fabric(options.device, 1, "32-true")
    learner = Learner(fabric, Protocol.read(options.protocol(case, {})), task, wide)
    x, y = fabric.to_device((inputs, targets))
    steps, begin = 0, 0.0
    while steps < 4 or time.perf_counter() - begin < options.seconds / 2:
        if steps == 3:
            wait_for(fabric.device)
            begin = time.perf_counter()
        learner.step(x, y, case.batch_size)
        steps += 1
    wait_for(fabric.device)
    return {"milliseconds": 1000 * (time.perf_counter() - begin) / (steps - 3)}


def units(options: Options, folder: Path, most: int) -> dict[str, Callable[[], Row]]:
    """Everything to be measured, by a name for each, what matters most first."""
    found: dict[str, Callable[[], Row]] = {}
    for setting, changes in SETTINGS.items():
        for name in [COMPILED] if changes.get("compile") else CASES:
            found[f"training: {name}: {setting}"] = lambda name=name, setting=setting: one_training(
                name, setting, options, folder
            )
        if setting == "fp32":
            for count in (n for n in (1, 2, 4, 8) if n <= most):
                found[f"side by side: ResNet56: {count}"] = lambda count=count: side_by_side(
                    "ResNet56", count, options, folder
                )
    for name in CASES:
        found[f"calibrate: {name}"] = lambda name=name: calibrated(name, options)
    for name in ("ResNet56", "MobileNetV1"):
        found[f"shrinkage: {name}"] = lambda name=name: shrinkage(name, options, folder)
    found["search step: ResNet56"] = lambda: search_step("ResNet56", options)
    return found


TABLES = {
    "training": ("bare", "package", "ratio", "waiting", "workers", "error"),
    "side by side": ("trainings", "package", "waiting", "workers", "memory_gb", "error"),
    "calibrate": ("gflops", "error"),
    "shrinkage": ("cpu_seconds", "cuda_seconds", "differ", "error"),
    "search step": ("milliseconds", "error"),
}


def report(rows: list[Row]) -> str:
    """The tables of all rows."""
    parts = []
    for title, columns in TABLES.items():
        last = {row["what"]: row for row in rows}  # of what failed before
        ours = [row for what, row in last.items() if what.startswith(f"{title}: ")]
        shown = [c for c in columns if any(c in row for row in ours)]
        frame = pd.DataFrame(
            {c: [row.get(c) for row in ours] for c in shown},
            index=[row["what"].partition(": ")[2] for row in ours],
        )
        if ours:
            table = frame.to_string(float_format=lambda x: f"{x:,.4g}", na_rep="")
            parts.append(f"{title}\n{table}")
    return "\n\n".join(parts)


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--quick", is_flag=True, help="Small networks, a moment each: does it run?")
@click.option("--workers", type=click.IntRange(0), default=8, show_default=True)
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Of a training.")
@click.option("--only", default="", help="What to measure: the beginning of its name.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/gpu"))
def main(
    *, device: str, quick: bool, workers: int, seconds: float, only: str, output: Path
) -> None:
    """Measure, write every row as it comes, and print the tables."""
    logging.getLogger("lwdna").setLevel(logging.ERROR)
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(
            f"PyTorch {torch.__version__} sees no GPU of NVIDIA; `--device cpu --quick` proves "
            "that this runs."
        )
    options = Options(device, workers, seconds, 25_600, 50, small=False)
    if quick:
        options = Options(device, min(workers, 1), 0.5, 320, 4, small=True)
    about = {"device": device_name(device), "torch": torch.__version__, "quick": quick}
    about |= {"python": platform.python_version(), "cores": os.cpu_count()}
    output.mkdir(parents=True, exist_ok=True)
    path = output / "gpu.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [row for row in map(json.loads, lines) if about.items() <= row.items()]
    done = {row["what"] for row in rows if "error" not in row}
    with tempfile.TemporaryDirectory() as folder:
        for what, run in units(options, Path(folder), 2 if quick else 8).items():
            if what in done or not what.startswith(only):
                continue
            begin = time.monotonic()
            try:
                # Progress bars are for people who wait.
                with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
                    found = run()
            except Exception as error:  # what follows is worth having
                found = {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:300]}
            row = {"what": what, **found, "took": round(time.monotonic() - begin, 1), **about}
            rows.append(row)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            click.echo(f"{what}: {json.dumps(found)}")
    pd.DataFrame(rows).to_csv(output / "gpu.csv", index=False)
    click.echo(f"\n{about}\n\n{report(rows)}")


if __name__ == "__main__":
    main()
