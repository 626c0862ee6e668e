"""How fast a device trains: measured by training steps, kept in a small file, read by plans."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lwdna.config.sections import Config, Experiment
from lwdna.errors import ConfigError, DataError
from lwdna.io.atomic import write_text
from lwdna.networks.build import build_seeded
from lwdna.networks.own import builder
from lwdna.tasks.sections import ProtocolSection
from lwdna.tasks.task import task_for
from lwdna.tasks.trees import Tree, batch_length
from lwdna.training.devices import make_fabric
from lwdna.training.protocol import Protocol
from lwdna.training.step import Learner
from lwdna.workflow.cost import PASSES, THROUGHPUT, networks_of
from lwdna.workflow.experiment import count, label, shape_of

if TYPE_CHECKING:
    from lwdna.workflow.snakemake import DryRun

logger = logging.getLogger(__name__)

_CPU_STEP_FLOPS = 5e10
"""What a step on a CPU may take at most, about a second: its batch is cut down to that."""

_SECONDS = 1.0
"""How long steps of a network are repeated, at least."""


@dataclass
class Throughput:
    """What a device was measured to do."""

    device: str
    networks: dict[str, float] = field(default_factory=dict)
    """FLOPs a second, by the label of a network."""

    @property
    def flops_per_second(self) -> float:
        """Of the networks that were not measured: the harmonic mean of those that were."""
        return len(self.networks) / sum(1 / rate for rate in self.networks.values())

    def of(self, network: str) -> float:
        """FLOPs a second of a network."""
        return self.networks.get(network, self.flops_per_second)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, atomically."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def load_throughput(path: str | os.PathLike[str]) -> Throughput:
    """Read what :meth:`Throughput.save` wrote.

    Raises:
        DataError: if the file cannot be read or is something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rates = {str(name): float(rate) for name, rate in content["networks"].items()}
        if not rates or min(rates.values()) <= 0:
            raise ValueError("no network has a rate above 0")
        return Throughput(str(content["device"]), rates)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"'{path}' does not hold a measured throughput ({error!r}); measure it again with "
            "`lwdna plan --calibrate`."
        ) from error


def rate_of(
    given: float | None, measured: Throughput | None, path: Path
) -> tuple[str, Callable[[str], float]]:
    """The throughput of a plan, in words and as FLOPs a second by the label of a network.

    Args:
        given: FLOPs a second of every network, if they are known.
        measured: what counts otherwise; without it the throughput is assumed.
        path: where what was measured is kept.
    """
    if given is not None:
        return f"{given:.4g} FLOPs a second, as given", lambda _: given
    if measured is not None:
        return _told(measured, path), measured.of
    said = f"{THROUGHPUT:.4g} FLOPs a second, assumed; measure it with --calibrate"
    return said, lambda _: THROUGHPUT


def _told(measured: Throughput, path: Path) -> str:
    networks = ", ".join(
        f"{name} {rate:.4g}" for name, rate in sorted(measured.networks.items(), key=lambda x: x[1])
    )
    return (
        f"{measured.flops_per_second:.4g} FLOPs a second of {measured.device}, measured "
        f"({networks}; '{path}')"
    )


def measure_networks(config: Config, dry_run: DryRun, accelerator: str) -> Throughput:
    """Measure the smallest, the middle and the largest of the networks to be trained.

    Raises:
        ConfigError: if none is to be trained.
    """
    names = networks_of(config, dry_run)
    if not names:
        raise ConfigError("No network is to be trained, so there is none to measure.")
    chosen = sorted({0, len(names) // 2, len(names) - 1})
    found = Throughput(device_name(accelerator))
    for index in chosen:
        section = config["experiments"][names[index]]
        protocol = config["protocols"][section["protocol"]]
        found.networks[label(section)] = measure(section, protocol, accelerator)
    return found


def measure(section: Experiment, protocol: ProtocolSection, accelerator: str) -> float:
    """FLOPs a second of training steps, forward and backward, on random images.

    The step is that of a training without a teacher: precision, memory format and compiler of the
    protocol, one micro-batch. Reading the images is not part of it.

    Args:
        section: of an experiment, whose baseline is measured.
        protocol: of its training.
        accelerator: ``auto``, ``gpu``, ``cpu``, ``cuda`` or ``mps``.
    """
    settings = Protocol.read({**protocol, "accumulate": 1})
    shape = shape_of(section)
    flops, _ = count(section["network"], shape)
    fabric = make_fabric(accelerator, 1, settings.precision)
    images = max(2, settings.batch_size // int(protocol.get("accumulate", 1)))
    if fabric.device.type == "cpu":
        images = max(2, min(images, int(_CPU_STEP_FLOPS / (PASSES * flops))))
    network = build_seeded(section["network"], 0, builder((torch.empty(shape),)))
    task = task_for(section["task"])
    learner = Learner(fabric, settings, task, network)
    learner.network.train()
    while True:
        batch = task.random_batch(section["network"], images, shape)
        inputs, targets = (fabric.to_device(x) for x in batch)
        try:
            seconds = _time_steps(learner, inputs, targets)
            break
        except torch.OutOfMemoryError:
            if images <= 2:
                raise
            images = max(2, images // 2)
    rate = PASSES * flops * images / seconds
    logger.info(
        "%s: %d images in %.3f s, %.4g GFLOP/s.", label(section), images, seconds, rate / 1e9
    )
    return rate


def _time_steps(learner: Learner, inputs: Tree, targets: Tree) -> float:
    """Seconds of a step."""
    images, device = batch_length(inputs), learner.fabric.device
    learner.step(inputs, targets, images)  # allocates, compiles, chooses algorithms
    _wait_for(device)
    steps, begin = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - begin < _SECONDS:
        learner.step(inputs, targets, images)
        _wait_for(device)
        steps += 1
    return (time.perf_counter() - begin) / steps


def device_name(accelerator: str) -> str:
    """What a throughput is of, for people."""
    device = make_fabric(accelerator, 1, "32-true").device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
