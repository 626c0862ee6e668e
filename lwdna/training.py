"""The training loop: one step for every task, exact to the bit after a kill and a rerun.

Everything random is a function of the seed and of a position: the order of the data of (seed,
epoch), augmentation and noise of (seed, epoch, index), dropout of (seed, step, rank). With the
learning rate a function of the epoch, a checkpoint needs no generator state, and a run that was
killed at any moment goes on as if nothing had happened: on the CPU, for the same number of
threads and versions of the libraries, weights and history are equal bit for bit. On a GPU the
same code runs, but some kernels of cuDNN add in varying order, so that two runs agree up to
rounding only. No global switch is touched (TF32 and cuDNN autotuning stay as PyTorch has them).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate
from tqdm import tqdm

from lwdna import checkpoints
from lwdna.checked import write_csv
from lwdna.checkpoints import Checkpoint, Row
from lwdna.data.workers import worker_errors
from lwdna.errors import ConfigError, TrainingError, nearest
from lwdna.evaluation import evaluate, pick_accelerator
from lwdna.files import lock
from lwdna.logs import progress
from lwdna.losses import Task, task_for
from lwdna.schedules import learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

PRECISIONS = ("32-true", "bf16-mixed")
"""Arithmetic of the training. Both need no loss scaling, so there is no scaler to checkpoint."""

CHECKPOINT = "checkpoint.safetensors"
"""Name of the newest checkpoint in its folder."""

LOCK = "lock"
"""Name of the file that a process holds a lock on while it trains in a folder. The process of a
killed run may still be at work when the run is started again, which then waits for it."""

# Words that keep apart the random streams which are seeded with the same numbers.
_DATA_ORDER = 0x6F72646572
_MODEL = 0x6D6F64656C

_GPU_LOOK_EVERY = 16
"""Steps between two looks at the losses on a GPU, where each look waits for the device."""

_OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"lr": None, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
    "adam": {"lr": None, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
}


@dataclass(frozen=True)
class Protocol:
    """How a network is trained: the ``protocol`` section of the configuration.

    Weight decay is the L2 term of ``torch.optim.SGD`` and ``torch.optim.Adam``, on every
    parameter, as in the authors' code.
    """

    epochs: int
    """Length of the training."""
    batch_size: int
    """Images in a step, over all devices together."""
    optimizer: Mapping[str, Any]
    """``kind`` (sgd or adam), ``lr`` and what else torch's optimiser takes."""
    schedule: Mapping[str, Any]
    """See :func:`lwdna.schedules.learning_rate`."""
    test_every: int = 1
    """Epochs between two tests; the last epoch is always tested."""
    distillation: Mapping[str, Any] | None = None
    """``temperature`` and ``weight``, used where there is a teacher."""
    workers: int = 0
    """Processes that load data; no influence on the result."""
    checkpoint_minutes: float = 15.0
    """Time between two checkpoints inside an epoch; no influence on the result."""

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Protocol:
        """Check a section of the configuration.

        Raises:
            ConfigError: if a setting is unknown, missing or out of range.
        """
        known = {entry.name: entry for entry in dataclasses.fields(cls)}
        for name in settings:
            if name not in known:
                raise ConfigError(
                    f"The training protocol has no setting '{name}'; {nearest(name, known)}"
                )
        for name, entry in known.items():
            if entry.default is dataclasses.MISSING and name not in settings:
                raise ConfigError(f"The training protocol lacks '{name}'; add it.")
        protocol = cls(**settings)
        for name in ("epochs", "batch_size", "test_every"):
            if getattr(protocol, name) < 1:
                raise ConfigError(
                    f"'{name}' of the training protocol is {getattr(protocol, name)}; "
                    "it must be 1 or more."
                )
        learning_rate(protocol.schedule, 1.0, 0, protocol.epochs)
        protocol.make_optimizer([nn.Parameter(torch.zeros(1))])
        return protocol

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Torch's optimiser for these parameters.

        Raises:
            ConfigError: if the kind or a setting does not exist or cannot be.
        """
        settings = dict(self.optimizer)
        kind = settings.pop("kind", None)
        if kind not in _OPTIMIZERS:
            raise ConfigError(
                f"The optimizer {kind!r} does not exist; {nearest(str(kind), _OPTIMIZERS)}"
            )
        for name in settings:
            if name not in _OPTIMIZERS[kind]:
                raise ConfigError(
                    f"The optimizer '{kind}' has no setting '{name}'; "
                    f"{nearest(name, _OPTIMIZERS[kind])}"
                )
        if "lr" not in settings:
            raise ConfigError(f"The optimizer '{kind}' lacks 'lr', the learning rate; add it.")
        arguments = {**_OPTIMIZERS[kind], **settings}
        try:
            if kind == "sgd":
                return torch.optim.SGD(parameters, **arguments)
            return torch.optim.Adam(parameters, **{**arguments, "betas": tuple(arguments["betas"])})
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"The settings of the optimizer '{kind}' are not possible: {error}; correct them."
            ) from error

    def science(self, *, with_teacher: bool) -> dict[str, Any]:
        """The settings that the result depends on."""
        settings = dataclasses.asdict(self)
        del settings["workers"], settings["checkpoint_minutes"]
        if not with_teacher:
            del settings["distillation"]
        return settings


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index), in an order that depends on (seed, epoch) only.

    Every index comes once in an epoch, over all ranks together. The last, incomplete batch is
    kept; only if it has less than two images per rank, on which BatchNorm cannot normalise a
    1 x 1 map, it is added to the batch before.

    Args:
        samples: number of training images.
        batch_size: images in a batch, over all ranks together.
        seed: of the run.
        rank, world: this process, and how many share each batch.

    Raises:
        ConfigError: if there are too few images, or more ranks than images in a batch.
    """

    def __init__(
        self, samples: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if samples < 1:
            raise ConfigError("The training set has no image; give at least one.")
        if min(batch_size, samples) < world:
            raise ConfigError(
                f"A batch of {min(batch_size, samples)} cannot be shared by {world} devices; "
                "use fewer devices or larger batches."
            )
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch, self.start = 0, 0
        self._samples = samples
        self._edges: list[int] = [*range(0, samples, batch_size), samples]
        last = self._edges[-1] - self._edges[-2]
        if len(self._edges) > 2 and last < min(batch_size, 2 * world):
            del self._edges[-2]

    def seek(self, epoch: int, start: int = 0) -> None:
        """Let the next iteration give the batches of ``epoch`` from number ``start`` on."""
        self.epoch, self.start = epoch, start

    def size(self, step: int) -> int:
        """Number of images in a batch, over all ranks."""
        return self._edges[step + 1] - self._edges[step]

    def __len__(self) -> int:
        return len(self._edges) - 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([_DATA_ORDER, self.seed, self.epoch])
        indices = order.permutation(self._samples).tolist()
        for step in range(self.start, len(self)):
            batch = indices[self._edges[step] : self._edges[step + 1]]
            yield [(self.epoch, index) for index in batch[self.rank :: self.world]]


def batch_losses(
    task: str, data: Dataset[Any], batch_size: int, seed: int
) -> Callable[[nn.Module], Tensor]:
    """The loss of a network on the next batch of training data, in the order of a training.

    Args:
        task: a name of :data:`lwdna.losses.TASKS`.
        data: as for :func:`train`.
        batch_size: images in a batch; all of them where there are fewer.
        seed: of the order.

    Returns:
        A function for :func:`lwdna.shrink`; epochs follow one another without end.
    """
    objective = task_for(task)
    samples = _length(data)
    sampler = EpochBatches(samples, min(batch_size, samples), seed=seed)

    def draw() -> Iterator[list[tuple[int, int]]]:
        for epoch in itertools.count():
            sampler.seek(epoch)
            yield from sampler

    batches = draw()

    def loss(model: nn.Module) -> Tensor:
        device = next(model.parameters()).device
        inputs, targets = default_collate([data[key] for key in next(batches)])
        return objective.loss(model(inputs.to(device)), targets.to(device))

    return loss


class _Tally:
    """Running sums of an epoch. Values stay on the device until they are collected."""

    def __init__(self, names: tuple[str, ...], before: Mapping[str, float]) -> None:
        self.names = names
        self.sums = {name: before.get(name, 0.0) for name in ("n", *names)}
        self._pending: list[tuple[int, int, Tensor]] = []

    def add(self, step: int, n: int, loss: Tensor, metrics: Mapping[str, Tensor]) -> None:
        """Note the mean loss and the summed metrics of the ``n`` images of a step."""
        values = [loss * n, *(metrics[name] for name in self.names[1:])]
        stacked = torch.stack([value.detach().float() for value in values])
        self._pending.append((step, n, stacked))

    def collect(self) -> int | None:
        """Add up what is pending; the number of the first step with a loss that is not finite."""
        bad = None
        for step, n, stacked in self._pending:
            values = dict(zip(self.names, stacked.tolist(), strict=True))
            if bad is None and not math.isfinite(values["loss"]):
                bad = step
            for name, value in {"n": float(n), **values}.items():
                self.sums[name] += value
        self._pending.clear()
        return bad


class _StopRequestedError(Exception):
    """A signal came during a test, which is then not finished."""


def train(
    model: nn.Module,
    train_data: Dataset[Any],
    test_data: Dataset[Any] | None,
    *,
    task: str,
    protocol: Mapping[str, Any],
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    keyed: bool = False,
    teacher: nn.Module | None = None,
    key: Mapping[str, Any] | None = None,
    convention: str | Mapping[str, Any] | None = None,
    multiple: int = 1,
    description: str = "training",
    accelerator: str = "auto",
    devices: int = 1,
    precision: str = "32-true",
) -> list[Row]:
    """Train a network, or go on with a training, and leave the trained weights in it.

    Each call with the same arguments continues from the checkpoint in ``checkpoint_dir``; a
    complete training is not repeated, its weights and history are read from there. On SIGTERM,
    SIGUSR1 and SIGINT the step at work is completed and saved. Implements the training of
    Sec. 2.1 and 2.3 of the supplement; with a teacher, knowledge distillation as the authors' code
    has it, but with the teacher in evaluation mode.

    BatchNorm statistics are those of one device's share of the batch. On several devices the
    other processes end inside this call; only the first returns.

    Args:
        model: the network, freshly initialised.
        train_data: a map-style dataset, indexed by (epoch, index), of (input, target).
        test_data: a map-style dataset, indexed by int, tested every ``test_every`` epochs; or None.
        task: a name of :data:`lwdna.losses.TASKS`.
        protocol: see :class:`Protocol`.
        seed: of data order and dropout, from 0.
        checkpoint_dir: a folder for this run alone.
        keyed: use a subfolder named after everything the result depends on instead, so that a run
            with other settings, or on other data, finds no checkpoint rather than a wrong one.
        teacher: a trained network for distillation; it is moved to the device and set to
            evaluation mode, and does not change otherwise.
        key: nested JSON of what else the result depends on, such as a checksum of the data. A
            checkpoint with another key is refused.
        convention, multiple: of the tests, see :func:`lwdna.evaluation.evaluate`.
        description: name of the progress bar.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: number of devices, or of processes on the CPU.
        precision: one of :data:`PRECISIONS`; tests are made in float32.

    Returns:
        One row per epoch: ``epoch`` (from 1), ``lr``, ``train_loss``, ``train_<metric>``,
        ``test_loss``, ``test_<metric>``; the test columns are None where there was no test.

    Raises:
        ConfigError: if a setting is not possible.
        CheckpointError: if the folder holds a checkpoint of another run.
        TrainingError: if the loss or the weights are no longer finite; the last good checkpoint
            remains.
        SystemExit: with 128 + the number of the signal, after a signal.
    """
    plan = Protocol.read(protocol)
    objective = task_for(task, plan.distillation)
    if teacher is not None and not objective.distils:
        raise ConfigError(f"There is no distillation for the task '{task}'; leave the teacher out.")
    if seed < 0:
        raise ConfigError(f"The seed is {seed}; it must be 0 or more.")
    identity = {
        "task": task,
        "seed": seed,
        "precision": precision,
        "protocol": plan.science(with_teacher=teacher is not None),
        "tests": {"convention": convention, "multiple": multiple},
        "network": checkpoints.digest(model.state_dict()),
        "teacher": None if teacher is None else checkpoints.digest(teacher.state_dict()),
        "training images": _length(train_data),
        "test images": 0 if test_data is None else _length(test_data),
        **(key or {}),
    }
    folder = Path(checkpoint_dir)
    path = (folder / checkpoints.name_of(identity) if keyed else folder) / CHECKPOINT
    home = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    fabric = _fabric(accelerator, devices, precision)

    with ExitStack() as stack:
        # The lock comes first: with several devices, `launch` starts the other processes.
        if fabric.is_global_zero:
            stack.enter_context(lock(path.parent / LOCK, wait=True))
        fabric.launch()
        state = _restore(fabric, path, identity)
        if state.finished:
            logger.info("%s: already complete, read from '%s'.", description, path)
            model.load_state_dict(state.model)
        else:
            run = _Run(
                fabric=fabric,
                plan=plan,
                task=objective,
                seed=seed,
                path=path,
                description=description,
                model=model,
                teacher=teacher,
                train_data=train_data,
                test_data=test_data,
                test_options={"convention": convention, "multiple": multiple},
                stop=stack.enter_context(StopRequest()),
                state=state,
            )
            stack.enter_context(_own_randomness(fabric.device))
            stack.enter_context(worker_errors())
            run.fit()
            model.to(home)
    if fabric.world_size > 1:
        fabric.barrier()
        torch.distributed.destroy_process_group()
        if not fabric.is_global_zero:
            raise SystemExit(0)
    return state.history


@dataclass
class _Run:
    """One call of :func:`train`: its arguments, and ``state``, which is always current."""

    fabric: Fabric
    plan: Protocol
    task: Task
    seed: int
    path: Path
    description: str
    model: nn.Module
    teacher: nn.Module | None
    train_data: Dataset[Any]
    test_data: Dataset[Any] | None
    test_options: Mapping[str, Any]
    stop: StopRequest
    state: Checkpoint

    def fit(self) -> None:
        """Train from ``state`` to the end."""
        fabric, plan, task, state = self.fabric, self.plan, self.task, self.state
        rank, world = fabric.global_rank, fabric.world_size

        if state.model:
            self.model.load_state_dict(state.model)
        self.optimizer = plan.make_optimizer(list(self.model.parameters()))
        network, _ = fabric.setup(self.model, self.optimizer)
        if state.optimizer:
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state.optimizer, "param_groups": groups})
        if self.teacher is not None:
            self.teacher.to(fabric.device).eval()

        batches = EpochBatches(
            _length(self.train_data), plan.batch_size, seed=self.seed, rank=rank, world=world
        )
        loader: DataLoader[Any] = DataLoader(
            self.train_data,
            batch_sampler=batches,
            num_workers=plan.workers,
            persistent_workers=plan.workers > 0,
            worker_init_fn=_ignore_stop_signals,
            pin_memory=fabric.device.type == "cuda",
        )
        self.steps = steps = len(batches)
        look_every = 1 if fabric.device.type == "cpu" else _GPU_LOOK_EVERY
        self.saved_at = time.monotonic()
        with self._bar() as bar:
            while state.epoch < plan.epochs:
                self.rate = learning_rate(
                    plan.schedule, float(plan.optimizer["lr"]), state.epoch, plan.epochs
                )
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate
                # The sums of all ranks were saved as one: the first rank takes them over.
                tally = _Tally(("loss", *task.metric_names), state.sums if rank == 0 else {})
                batches.seek(state.epoch, state.step)
                network.train()
                for batch in loader if state.step < steps else ():
                    inputs, targets = fabric.to_device(tuple(batch))
                    _seed_model(fabric.device, [self.seed, state.epoch * steps + state.step, rank])
                    with torch.no_grad(), fabric.autocast():
                        guide = self.teacher(inputs).float() if self.teacher is not None else None
                    output = network(inputs)
                    loss = task.loss(output, targets, guide)
                    self.optimizer.zero_grad()
                    # The ranks' gradients are averaged: weigh each by its share of the images.
                    fabric.backward(loss * (len(inputs) * world / batches.size(state.step)))
                    self.optimizer.step()

                    metrics = task.metrics(output.detach(), targets)
                    tally.add(state.step, len(inputs), loss, metrics)
                    state.step += 1
                    bar.update()
                    if state.step % look_every == 0 or state.step == steps:
                        self._look(tally)
                        bar.set_postfix(self._short(tally), refresh=False)

                state.sums = _summed(fabric, tally.sums)
                row: Row = {"epoch": state.epoch + 1, "lr": self.rate}
                row |= {f"train_{name}": state.sums[name] / state.sums["n"] for name in tally.names}
                row |= self._test()
                state.history.append(row)
                state.epoch, state.step, state.sums = state.epoch + 1, 0, {}
                state.finished = state.epoch == plan.epochs
                self._save()
                if _agreed(fabric, self.stop.requested)[0] and not state.finished:
                    self._leave()

    def _bar(self) -> tqdm[Any]:
        """The progress bar over all steps; only the first rank talks."""
        if not self.fabric.is_global_zero:
            return tqdm(disable=True)
        logger.info(
            "%s: %d epochs of %d steps on %s (%d device(s)); %d epochs and %d steps are done.",
            self.description,
            self.plan.epochs,
            self.steps,
            self.fabric.device,
            self.fabric.world_size,
            self.state.epoch,
            self.state.step,
        )
        return progress(
            total=self.plan.epochs * self.steps,
            initial=self.state.epoch * self.steps + self.state.step,
            description=self.description,
            unit="step",
        )

    def _look(self, tally: _Tally) -> None:
        """After a step: check the losses, save if it is time, end if a signal has come."""
        bad = tally.collect()
        late = time.monotonic() - self.saved_at >= 60 * self.plan.checkpoint_minutes
        failed, stopping, due = _agreed(self.fabric, bad is not None, self.stop.requested, late)
        if failed:
            raise self._not_finite("the loss is not finite", bad)
        if stopping or due:
            self.state.sums = _summed(self.fabric, tally.sums)
            self._save()
        if stopping:
            self._leave()

    def _test(self) -> Row:
        """The test columns of a row. The first rank tests, the others wait at the next step."""
        names = ("loss", *self.task.metric_names)
        epoch = self.state.epoch + 1
        due = epoch % self.plan.test_every == 0 or epoch == self.plan.epochs
        if self.test_data is None or not due or not self.fabric.is_global_zero:
            return {f"test_{name}": None for name in names}

        def check() -> None:
            # A test can take longer than a scheduler waits. Several ranks would have to agree.
            if self.stop.requested and self.fabric.world_size == 1:
                raise _StopRequestedError

        try:
            result = evaluate(
                self.model,
                self.test_data,
                task=self.task,
                with_ssim=False,
                workers=self.plan.workers,
                after_batch=check,
                **self.test_options,
            )
        except _StopRequestedError:
            self._save()
            self._leave()
        return {f"test_{name}": result[name] for name in names}

    def _save(self) -> None:
        """Write a checkpoint, unless the weights are not finite: it would replace a good one."""
        state = self.state
        state.model = dict(self.model.state_dict())
        if not all(
            bool(tensor.isfinite().all())
            for tensor in state.model.values()
            if tensor.is_floating_point()
        ):
            raise self._not_finite("a weight is not finite")
        if self.fabric.is_global_zero:
            state.optimizer = {} if state.finished else self.optimizer.state_dict()["state"]
            checkpoints.save(self.path, state)
        self.saved_at = time.monotonic()
        self.fabric.barrier()

    def _leave(self) -> NoReturn:
        """End the process with a status that tells a scheduler to run it again."""
        if not self.fabric.is_global_zero:
            # Quietly: Fabric kills the first rank when it sees that a helper has failed.
            raise SystemExit(0)
        logger.warning(
            "%s: stopped by a signal; saved to '%s'. Run the command again to go on.",
            self.description,
            self.path,
        )
        raise SystemExit(128 + (self.stop.signum or signal.SIGTERM))

    def _not_finite(self, what: str, step: int | None = None) -> TrainingError:
        """The error for a loss or weight that is not finite in a step, by default the last one."""
        epoch = self.state.epoch
        step = self.state.step - 1 if step is None else step
        if step < 0:
            epoch, step = epoch - 1, self.steps - 1
        last = (
            f"The last good checkpoint is '{self.path}'."
            if self.path.exists()
            else "There is no checkpoint yet."
        )
        return TrainingError(
            f"{self.description}, epoch {epoch + 1}, step {step + 1} of {self.steps}: {what}. "
            f"{last} Lower the learning rate (now {self.rate:g}) in the configuration and delete "
            f"the folder '{self.path.parent}' to train from the start; if the data may be at "
            "fault, look for values that are not numbers."
        )

    def _short(self, tally: _Tally) -> dict[str, str]:
        """Loss and main metric of the epoch so far, for the progress bar."""
        names = ("loss", self.task.metric_names[0])
        return {name: f"{tally.sums[name] / tally.sums['n']:.4g}" for name in names}


class StopRequest:
    """Notes SIGTERM, SIGUSR1 and SIGINT instead of dying of them; a second Ctrl-C acts at once.

    A context manager that puts the former handlers back. Outside the main thread, where Python
    cannot handle signals, it does nothing.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self.signum: int | None = None
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signum is not None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self.requested:
            signal.default_int_handler(signum, frame)
        self.signum = signum


def write_history(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write a history of at least one row as CSV, atomically; equal histories give equal bytes.

    Numbers are written so that they read back exactly; None is an empty cell.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_csv(path, text.getvalue())


def _fabric(accelerator: str, devices: int, precision: str) -> Fabric:
    """Lightning Fabric for the devices asked for."""
    # Imported here because it loads the whole of torch._dynamo: two seconds.
    from lightning_fabric import Fabric  # noqa: PLC0415
    from lightning_fabric.plugins.environments.lightning import (  # noqa: PLC0415
        LightningEnvironment,
    )

    if precision not in PRECISIONS:
        raise ConfigError(
            f"The precision '{precision}' does not exist; {nearest(precision, PRECISIONS)}"
        )
    kind = pick_accelerator(accelerator)
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, devices)
    if not 1 <= devices <= present:
        raise ConfigError(
            f"{devices} devices were asked for, but this machine has {present} of the kind "
            f"'{kind}'; set 'devices' to a number from 1 to {max(present, 1)}."
        )
    # In a Slurm job of one task, Fabric would wait for Slurm to start the other processes.
    one_task = os.environ.get("SLURM_NTASKS") == "1" or devices == 1
    return Fabric(
        accelerator=kind,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        plugins=[LightningEnvironment()] if one_task else None,
    )


def _restore(fabric: Fabric, path: Path, key: Mapping[str, Any]) -> Checkpoint:
    """The state to go on from: the first rank sorts out damaged files before the others read."""
    state = checkpoints.load_latest(path, key) if fabric.is_global_zero else None
    fabric.barrier()
    if not fabric.is_global_zero:
        state = checkpoints.load_latest(path, key)
    return state or Checkpoint(key)


def _own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Leave the caller's random state as it was; the loop seeds torch at every step."""
    cuda = [device.index or 0] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=cuda)


def _seed_model(device: torch.device, position: Sequence[int]) -> None:
    """Seed dropout and the like from (seed, step, rank), on the CPU and on the device at work.

    ``torch.manual_seed`` would do the same for every kind of device that PyTorch knows, which
    takes milliseconds at each step where they are not in use.
    """
    sequence = np.random.SeedSequence([_MODEL, *position])
    seed = int(sequence.generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _agreed(fabric: Fabric, *flags: bool) -> list[bool]:
    """Each flag, true if it is on any rank, so that all ranks take the same turn."""
    if fabric.world_size == 1:
        return list(flags)
    numbers = torch.tensor([float(flag) for flag in flags], device=fabric.device)
    total = cast(Tensor, fabric.all_reduce(numbers, reduce_op="sum"))
    return [number > 0 for number in total.tolist()]


def _summed(fabric: Fabric, sums: Mapping[str, float]) -> dict[str, float]:
    """Sums over all ranks; every rank has the same names."""
    if fabric.world_size == 1:
        return dict(sums)
    numbers = torch.tensor(list(sums.values()), dtype=torch.float64, device=fabric.device)
    total = cast(Tensor, fabric.all_reduce(numbers, reduce_op="sum"))
    return dict(zip(sums, total.tolist(), strict=True))


def _ignore_stop_signals(worker: int) -> None:
    """Leave signals that reach the whole process group to the process that trains.

    A worker that died of one would break the step that is to be completed.
    """
    for number in StopRequest.SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _length(data: Dataset[Any]) -> int:
    return len(data)  # type: ignore[arg-type]
