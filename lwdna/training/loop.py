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
import io
import logging
import math
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lwdna.data.workers import worker_errors, workers_ended
from lwdna.errors import ConfigError, TrainingError
from lwdna.io import tensors
from lwdna.io.checksummed_csv import write_csv
from lwdna.io.locks import lock
from lwdna.io.logs import progress
from lwdna.tasks.task import Task, task_for
from lwdna.training import checkpoints
from lwdna.training.checkpoints import Checkpoint, Row
from lwdna.training.devices import agreed, make_fabric, own_randomness, seed_model, summed
from lwdna.training.evaluation import evaluate
from lwdna.training.protocol import Protocol, set_rate
from lwdna.training.sampler import EpochBatches, length
from lwdna.training.schedules import learning_rate
from lwdna.training.signals import StopRequest, ignore_stop_signals
from lwdna.training.step import Learner

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""Name of the newest checkpoint in its folder."""

LOCK = "lock"
"""Name of the file that a process holds a lock on while it trains in a folder. The process of a
killed run may still be at work when the run is started again, which then waits for it."""

_GPU_LOOK_EVERY = 16
"""Steps between two looks at the losses on a GPU, where each look waits for the device."""


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


class Companion(ABC):
    """Goes along with a training: looks at, or changes, the network after each step.

    What it does must depend on the network, its arguments and ``record`` alone, so that a resumed
    training goes on to the same bits; on several devices it is asked on each of them.
    """

    record: dict[str, Tensor]
    """What it has observed, by name; saved and put back with each checkpoint."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the training is to end with the step last made; a function of ``record``."""

    @abstractmethod
    def after_step(self, epoch: int, step: int, rate: float, *, last: bool) -> None:
        """Called after a step of the optimiser.

        Args:
            epoch: finished epochs, counting this one if the step is its last.
            step: steps made in all.
            rate: the learning rate of the step.
            last: whether it is the last step of the protocol.
        """


class _StopRequestedError(Exception):
    """A signal came during a test, which is then not finished."""


def train(
    model: nn.Module,
    train_data: Dataset[Any],
    test_data: Dataset[Any] | None,
    *,
    task: str | Mapping[str, Any],
    protocol: Mapping[str, Any],
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    keyed: bool = False,
    teacher: nn.Module | None = None,
    companion: Companion | None = None,
    key: Mapping[str, Any] | None = None,
    convention: str | Mapping[str, Any] | None = None,
    multiple: int = 1,
    description: str = "training",
    accelerator: str = "auto",
    devices: int = 1,
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
        train_data: a map-style dataset, indexed by (epoch, index), of (input, target), which may
            be trees of tensors (:mod:`lwdna.tasks.trees`). Its length is that of an epoch.
        test_data: a map-style dataset, indexed by int, tested every ``test_every`` epochs; or None.
        task: the section ``task`` of an experiment, which becomes part of ``key`` as ``data``; or
            a name of :data:`lwdna.tasks.kinds.KINDS`, for tasks that need no more.
        protocol: see :class:`lwdna.training.protocol.Protocol`.
        seed: of data order and dropout, from 0.
        checkpoint_dir: a folder for this run alone.
        keyed: use a subfolder named after everything the result depends on instead, so that a run
            with other settings, or on other data, finds no checkpoint rather than a wrong one.
        teacher: a trained network for distillation; it is moved to the device and set to
            evaluation mode, and does not change otherwise.
        companion: goes along, and may end the training before the last epoch.
        key: nested JSON of what else the result depends on, such as a checksum of the data. A
            checkpoint with another key is refused.
        convention, multiple: of the tests, see :func:`lwdna.training.evaluation.evaluate`.
        description: name of the progress bar.
        accelerator: ``auto``, ``gpu``, ``cpu``, ``cuda`` or ``mps``.
        devices: number of devices, or of processes on the CPU.

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
    name = objective.section["kind"]
    if teacher is not None and not objective.kind.distils:
        raise ConfigError(f"There is no distillation for the task '{name}'; leave the teacher out.")
    if seed < 0:
        raise ConfigError(f"The seed is {seed}; it must be 0 or more.")
    identity = {
        "task": name,
        "seed": seed,
        # Each device normalises and drops out on its own: more than rounding depends on it.
        "devices": devices,
        "protocol": plan.science(with_teacher=teacher is not None),
        "tests": {"convention": convention, "multiple": multiple},
        "network": tensors.digest(model.state_dict()),
        "teacher": None if teacher is None else tensors.digest(teacher.state_dict()),
        "training images": length(train_data),
        "test images": 0 if test_data is None else length(test_data),
        **({} if isinstance(task, str) else {"data": dict(task)}),
        **(key or {}),
    }
    folder = Path(checkpoint_dir)
    path = (folder / checkpoints.name_of(identity) if keyed else folder) / CHECKPOINT
    home = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    fabric = make_fabric(accelerator, devices, plan.precision)

    with ExitStack() as stack:
        if devices > 1:
            # Else Fabric shares out the machine's cores, and the bits would depend on their number.
            os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
        # The lock comes first: with several devices, `launch` starts the other processes.
        if fabric.is_global_zero:
            stack.enter_context(lock(path.parent / LOCK, wait=True))
        fabric.launch()
        state = _restore(fabric, path, identity)
        if state.finished:
            logger.info("%s: already complete, read from '%s'.", description, path)
            model.load_state_dict(state.model)
            if companion is not None:
                companion.record = state.record
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
                companion=companion,
                train_data=train_data,
                test_data=test_data,
                test_options={"convention": convention, "multiple": multiple},
                stop=stack.enter_context(StopRequest()),
                state=state,
            )
            stack.enter_context(own_randomness(fabric.device))
            stack.enter_context(worker_errors())
            run.fit()
            model.to(home, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
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
    companion: Companion | None
    train_data: Dataset[Any]
    test_data: Dataset[Any] | None
    test_options: Mapping[str, Any]
    stop: StopRequest
    state: Checkpoint

    def fit(self) -> None:
        """Train from ``state`` to the end."""
        fabric, plan, task, state = self.fabric, self.plan, self.task, self.state
        rank, world = fabric.global_rank, fabric.world_size

        self.learner = Learner(fabric, plan, task, self.model, self.teacher)
        if state.model:
            self.learner.load(state.model, state.optimizer)
            if self.companion is not None:
                self.companion.record = state.record

        batches = EpochBatches(
            length(self.train_data), plan.batch_size, seed=self.seed, rank=rank, world=world
        )
        loader: DataLoader[Any] = DataLoader(
            self.train_data,
            batch_sampler=batches,
            num_workers=plan.workers,
            persistent_workers=plan.workers > 0,
            worker_init_fn=ignore_stop_signals,
            pin_memory=fabric.device.type == "cuda",
        )
        self.steps = steps = len(batches)
        look_every = 1 if fabric.device.type == "cpu" else _GPU_LOOK_EVERY
        self.saved_at = time.monotonic()
        with self._bar() as bar, workers_ended(loader):
            while not state.finished:
                self.rate = learning_rate(
                    plan.schedule, float(plan.optimizer["lr"]), state.epoch, plan.epochs
                )
                set_rate(self.learner.optimizer, self.rate)
                # The sums of all ranks were saved as one: the first rank takes them over.
                tally = _Tally(("loss", *task.metric_names), state.sums if rank == 0 else {})
                batches.seek(state.epoch, state.step)
                self.learner.network.train()
                for batch in () if state.step == steps or self._complete else loader:
                    inputs, targets = fabric.to_device(tuple(batch))
                    seed_model(fabric.device, [self.seed, state.epoch * steps + state.step, rank])
                    for part in self.learner.step(inputs, targets, batches.size(state.step)):
                        tally.add(state.step, part.images, part.loss, part.metrics)
                    state.step += 1
                    bar.update()
                    self._accompany()
                    if state.step % look_every == 0 or state.step == steps or self._complete:
                        self._look(tally)
                        bar.set_postfix(self._short(tally), refresh=False)
                    if self._complete:
                        break

                state.sums = summed(fabric, tally.sums)
                row: Row = {"epoch": state.epoch + 1, "lr": self.rate}
                row |= {f"train_{name}": state.sums[name] / state.sums["n"] for name in tally.names}
                row |= self._test()
                state.history.append(row)
                state.epoch, state.step, state.sums = state.epoch + 1, 0, {}
                state.finished = state.epoch == plan.epochs or self._complete
                self._save()
                if agreed(fabric, self.stop.requested)[0] and not state.finished:
                    self._leave()

    def _accompany(self) -> None:
        """Let the companion, if there is one, look at the step just made."""
        if self.companion is not None:
            epoch = self.state.epoch + (self.state.step == self.steps)
            made = self.state.epoch * self.steps + self.state.step
            last = made == self.plan.epochs * self.steps
            self.companion.after_step(epoch, made, self.rate, last=last)

    @property
    def _complete(self) -> bool:
        """Whether a companion ends the training before the last epoch."""
        return self.companion is not None and self.companion.complete

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
        failed, stopping, due = agreed(self.fabric, bad is not None, self.stop.requested, late)
        if failed:
            raise self._not_finite("the loss is not finite", bad)
        if stopping or due:
            self.state.sums = summed(self.fabric, tally.sums)
            self._save()
        if stopping:
            self._leave()

    def _test(self) -> Row:
        """The test columns of a row. The first rank tests, the others wait at the next step."""
        names = ("loss", *self.task.metric_names)
        epoch = self.state.epoch + 1
        last = epoch == self.plan.epochs or self._complete
        due = last or epoch % self.plan.test_every == 0
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
                full=False,
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
        state.record = {} if self.companion is None else self.companion.record
        finite = all(
            bool(tensor.isfinite().all())
            for tensor in state.model.values()
            if tensor.is_floating_point()
        )
        # The statistics of batch norm are each rank's own.
        if agreed(self.fabric, not finite)[0]:
            raise self._not_finite("a weight is not finite")
        if self.fabric.is_global_zero:
            state.optimizer = {} if state.finished else self.learner.optimizer.state_dict()["state"]
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
        if not self.fabric.is_global_zero:
            raise SystemExit(0)  # as in `_leave`: the first rank tells
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


def _restore(fabric: Fabric, path: Path, key: Mapping[str, Any]) -> Checkpoint:
    """The state to go on from: the first rank sorts out damaged files before the others read."""
    state = checkpoints.load_latest(path, key) if fabric.is_global_zero else None
    fabric.barrier()
    if not fabric.is_global_zero:
        state = checkpoints.load_latest(path, key)
    return state or Checkpoint(key)
