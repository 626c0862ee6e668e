"""Trainings of benchmarks/gpu.py: by the package, by a bare loop, and side by side.

As a script: one of several trainings side by side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils.data.dataloader import _BaseDataLoaderIter

from lwdna.io.hdf5 import create_store
from lwdna.networks.build import build_seeded
from lwdna.networks.registry import input_shape
from lwdna.tasks.task import task_for, train_dataset
from lwdna.training.companion import Companion
from lwdna.training.loop import train
from lwdna.training.protocol import Protocol

Row = dict[str, Any]
"""What was measured, by name."""

SGD = {"kind": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
ADAM = {"kind": "adam", "lr": 1e-4}
COLOURS = {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26], "pad": 4, "flip": True}
CLASSES = {"kind": "classification", **COLOURS}
NOISE = {"kind": "denoising", "sigma": 70, "patch_size": 64}


@dataclass(frozen=True)
class Case:
    """A network, what it learns, and in which batches."""

    network: Mapping[str, Any]
    task: Mapping[str, Any]
    batch_size: int
    optimizer: Mapping[str, Any] = field(default_factory=lambda: SGD)


CASES = {
    "ResNet56": Case({"name": "ResNet56", "dataset": "cifar10", "options": {}}, CLASSES, 64),
    "MobileNetV1": Case({"name": "MobileNetV1", "dataset": "cifar10", "options": {}}, CLASSES, 128),
    "DnCNN": Case(
        {"name": "DnCNN"}, {"kind": "denoising", "sigma": 70, "patch_size": 64}, 64, ADAM
    ),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16, channels last": {"precision": "bf16-mixed", "channels_last": True},
    "bf16, channels last, compiled": {
        **{"precision": "bf16-mixed", "channels_last": True},
        "compile": True,
    },
}


@dataclass(frozen=True)
class Options:
    """How much is done."""

    device: str
    workers: int
    seconds: float
    samples: int
    steps: int
    """Of a training before it is timed."""
    small: bool
    """Narrow networks and small batches, on a CPU."""

    def case(self, name: str) -> Case:
        """A network as it is measured."""
        case = CASES[name]
        if not self.small:
            return case
        shrunk = {"options": {"blocks": 3, "channels": 8}} if name == "DnCNN" else {"width": 0.125}
        return Case({**case.network, **shrunk}, case.task, 8, case.optimizer)

    def protocol(self, case: Case, changes: Mapping[str, Any]) -> Any:
        """That of a training."""
        about = {"epochs": 1000, "batch_size": case.batch_size, "workers": self.workers}
        schedule = {"schedule": {"kind": "cosine"}, "test_every": 1000}
        return {**about, **schedule, "optimizer": case.optimizer, **changes}


def wait_for(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock(Companion):
    """Times the steps of a training after the first ones, and ends it when time is over."""

    def __init__(self, options: Options, batch_size: int, ready: Callable[[], None]) -> None:
        self.record: dict[str, Tensor] = {}
        self.options, self.batch_size, self.ready = options, batch_size, ready
        self.device = torch.device(options.device)
        self.waited = self.began = self.waited_before = 0.0
        self.images = 0
        self.seconds: float | None = None

    @property
    def complete(self) -> bool:
        """Whether time is over."""
        return self.seconds is not None

    def after_step(self, epoch: int, step: int, rate: float, *, last: bool) -> None:
        """Begin, count or end."""
        if step == self.options.steps:
            wait_for(self.device)
            self.ready()
            self.began, self.waited_before = time.perf_counter(), self.waited
        elif step > self.options.steps:
            self.images += self.batch_size
            if time.perf_counter() - self.began > self.options.seconds:
                wait_for(self.device)
                self.seconds = time.perf_counter() - self.began

    @contextmanager
    def noting_waits(self) -> Iterator[None]:
        """Add up how long batches are waited for."""
        following = _BaseDataLoaderIter.__next__

        def timed(loader: Any) -> Any:
            begin = time.perf_counter()
            try:
                return following(loader)
            finally:
                self.waited += time.perf_counter() - begin

        with patch.object(_BaseDataLoaderIter, "__next__", timed):
            yield


def store(case: Case, folder: Path, samples: int) -> Path:
    """Noise as training images, of the size of CIFAR's or gray sub-images of 128 x 128."""
    gray = case.task["kind"] == "denoising"
    path = folder / ("gray.h5" if gray else "images.h5")
    if path.exists():
        return path
    shape = (256, 128, 128, 1) if gray else (samples, 32, 32, 3)
    rng = np.random.default_rng(0)
    tables = {"labels": np.arange(shape[0]) % 10, "classes": [str(c) for c in range(10)]}
    with create_store(
        path, images={"images": shape}, tables={} if gray else tables, attributes={}
    ) as writer:
        for index in range(shape[0]):
            writer.put("images", index, rng.integers(0, 256, shape[1:], dtype=np.uint8))
    return path


def package(
    name: str,
    changes: Mapping[str, Any],
    options: Options,
    folder: Path,
    ready: Callable[[], None] = lambda: None,
) -> Row:
    """Images a second of a training, and the share of the time that it waits for data."""
    case = options.case(name)
    task = dict(case.task)
    if task["kind"] == "denoising":
        task["samples_per_epoch"] = options.samples
    clock = Clock(options, case.batch_size, ready)
    with tempfile.TemporaryDirectory(dir=folder) as checkpoints, clock.noting_waits():
        train(
            build_seeded(case.network, 0),
            train_dataset(task, store(case, folder, options.samples), seed=0),
            None,
            task=task,
            protocol=options.protocol(case, changes),
            seed=0,
            checkpoint_dir=checkpoints,
            companion=clock,
            description=name,
            accelerator=options.device,
        )
    assert clock.seconds is not None
    waiting = (clock.waited - clock.waited_before) / clock.seconds
    return {"package": clock.images / clock.seconds, "waiting": waiting}


def bare(name: str, changes: Mapping[str, Any], options: Options) -> Row:
    """Images a second of a plain loop: no data set, no loader, nothing looked at."""
    case = options.case(name)
    plan = Protocol.read(options.protocol(case, changes))
    device = torch.device(options.device)
    layout = torch.channels_last if plan.channels_last else torch.contiguous_format
    shape = input_shape(case.network["name"], case.network.get("dataset"))
    shape = (1, 1, 64, 64) if name == "DnCNN" else shape
    task = task_for(dict(case.task))
    inputs, targets = task.random_batch(case.network, case.batch_size, shape)
    inputs, targets = inputs.to(device, memory_format=layout), targets.to(device)
    model: Any = build_seeded(case.network, 0).to(device, memory_format=layout).train()
    optimizer = plan.make_optimizer(plan.parameters_of(model))
    network = torch.compile(model, dynamic=False) if plan.compile else model

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision != "32-true"):
            output = network(inputs)
        task.loss(output.float(), targets, None).backward()
        optimizer.step()

    for _ in range(max(2, options.steps // 4)):
        step()
    wait_for(device)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < options.seconds / 2:
        step()
        steps += 1
    wait_for(device)
    return {"bare": steps * case.batch_size / (time.perf_counter() - begin)}


def one_training(name: str, setting: str, options: Options, folder: Path) -> Row:
    """A training beside the bare loop."""
    changes = SETTINGS[setting]
    row = {**bare(name, changes, options), **package(name, changes, options, folder)}
    return {**row, "ratio": row["package"] / row["bare"], "workers": options.workers}


def child(number: int, name: str, options: Options, folder: Path) -> None:
    """A training among others, which begins to be timed when all are ready."""
    go = folder / "go"

    def ready() -> None:
        (folder / f"ready{number}").touch()
        while not go.exists():
            time.sleep(0.005)

    row = package(name, SETTINGS["fp32"], options, folder, ready)
    if options.device == "cuda":
        row["memory_gb"] = torch.cuda.max_memory_reserved() / 1e9
    (folder / f"row{number}.json").write_text(json.dumps(row))


def side_by_side(name: str, count: int, options: Options, folder: Path) -> Row:
    """Images a second of so many trainings on one device at a time, in all."""
    workers = max(1, min(2, (os.cpu_count() or 1) // count))
    own = Options(**{**vars(options), "workers": workers})
    with tempfile.TemporaryDirectory(dir=folder) as name_:
        shared = Path(name_)
        store(options.case(name), shared, options.samples)
        command = [sys.executable, __file__]
        given = [json.dumps([number, name, vars(own), name_]) for number in range(count)]
        processes = [
            subprocess.Popen([*command, arguments], stderr=(shared / f"said{n}").open("w"))
            for n, arguments in enumerate(given)
        ]
        try:
            while not all((shared / f"ready{n}").exists() for n in range(count)):
                if any(process.poll() is not None for process in processes):
                    break
                time.sleep(0.05)
            (shared / "go").touch()
            ended = [process.wait(timeout=120 + options.seconds) for process in processes]
            if any(ended):
                last = shared / f"said{next(n for n, code in enumerate(ended) if code)}"
                raise RuntimeError(last.read_text().strip().splitlines()[-1])
        finally:
            for process in processes:
                process.kill()
                process.wait()
        rows = [json.loads((shared / f"row{n}.json").read_text()) for n in range(count)]
    row = {"trainings": count, "package": sum(r["package"] for r in rows), "workers": workers}
    row["waiting"] = sum(r["waiting"] for r in rows) / count
    return row | {"memory_gb": sum(r.get("memory_gb", 0) for r in rows)}


if __name__ == "__main__":
    number, name, about, folder = json.loads(sys.argv[1])
    child(number, name, Options(**about), Path(folder))
