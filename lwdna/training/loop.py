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

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import torch
from torch import nn
from torch.utils.data import Dataset

from lwdna.data.workers import worker_errors
from lwdna.errors import ConfigError
from lwdna.io import tensors
from lwdna.io.checksummed_csv import write_rows
from lwdna.io.locks import lock
from lwdna.tasks.sections import Convention, ProtocolSection, TaskSection
from lwdna.tasks.task import task_for
from lwdna.training import checkpoints
from lwdna.training.checkpoints import Checkpoint, Key, Row
from lwdna.training.companion import Companion
from lwdna.training.devices import make_fabric, own_randomness
from lwdna.training.live import Live
from lwdna.training.passes import Passes, ordinary
from lwdna.training.protocol import Protocol
from lwdna.training.run import Run
from lwdna.training.sampler import length
from lwdna.training.signals import StopRequest

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""Name of the newest checkpoint in its folder."""

LOCK = "lock"
"""Name of the file that a process holds a lock on while it trains in a folder. The process of a
killed run may still be at work when the run is started again, which then waits for it."""


class Training(TypedDict):
    """Arguments of :func:`train` that a search passes on to it."""

    train_data: Dataset[Any]
    test_data: Dataset[Any] | None
    task: str | TaskSection
    protocol: ProtocolSection
    seed: int
    checkpoint_dir: str | os.PathLike[str]
    keyed: NotRequired[bool]
    key: NotRequired[Key | None]
    convention: NotRequired[str | Convention | None]
    multiple: NotRequired[int]
    description: NotRequired[str]
    tensorboard: NotRequired[bool]
    accelerator: NotRequired[str]
    devices: NotRequired[int]


def train(
    model: nn.Module,
    train_data: Dataset[Any],
    test_data: Dataset[Any] | None,
    *,
    task: str | TaskSection,
    protocol: ProtocolSection,
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    keyed: bool = False,
    teacher: nn.Module | None = None,
    companion: Companion | None = None,
    passes: Passes = ordinary,
    key: Key | None = None,
    convention: str | Convention | None = None,
    multiple: int = 1,
    description: str = "training",
    tensorboard: bool = False,
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
            be trees of tensors (:mod:`lwdna.tasks.trees`). Its length is that of an epoch. A
            :class:`lwdna.data.batches.Batched` is asked for whole batches.
        test_data: a map-style dataset, indexed by int, tested every ``test_every`` epochs; or None.
        task: the section ``task`` of an experiment, which becomes part of ``key`` as ``data``; or
            a name of :data:`lwdna.tasks.kinds.KINDS`, for tasks that need no more.
        protocol: see :class:`lwdna.training.protocol.Protocol`.
        seed: of data order and dropout, from 0.
        checkpoint_dir: a folder for this run alone, where there is also the history so far, whole
            after every epoch: :data:`lwdna.training.live.HISTORY`.
        keyed: use a subfolder named after everything the result depends on instead, so that a run
            with other settings, or on other data, finds no checkpoint rather than a wrong one.
        teacher: a trained network for distillation; it is moved to the device and set to
            evaluation mode, and does not change otherwise.
        companion: goes along, and may end the training before the last epoch.
        passes: of each step, where it is more than one pass of the network as it is; what they
            depend on belongs into ``key``.
        key: nested JSON of what else the result depends on, such as a checksum of the data. A
            checkpoint with another key is refused.
        convention, multiple: of the tests, see :func:`lwdna.training.evaluation.evaluate`.
        description: name of the progress bar, and in the lines of the log.
        tensorboard: write events for TensorBoard into ``checkpoint_dir``, at every epoch.
        accelerator: ``auto``, ``gpu``, ``cpu``, ``cuda`` or ``mps``.
        devices: number of devices, or of processes on the CPU.

    Returns:
        One row per epoch: ``epoch`` (from 1), ``lr``, ``train_loss``, ``train_<metric>``,
        ``test_loss``, ``test_<metric>``; the test columns are None where there was no test.

    Raises:
        ConfigError: if a setting is not possible, or TensorBoard is not there.
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
    if plan.compile and passes is not ordinary:
        raise ConfigError(
            "A training whose steps run parts of the network cannot be compiled, since their sizes "
            "change from step to step; set 'compile' of the protocol to false."
        )
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
        live = None
        if fabric.is_global_zero:
            seen = state.history
            live = Live(folder, description, plan.epochs, seen, tensorboard=tensorboard)
        if state.finished:
            logger.info("%s: already complete, read from '%s'.", description, path)
            model.load_state_dict(state.model)
            if companion is not None:
                companion.record = state.record
        else:
            run = Run(
                fabric=fabric,
                plan=plan,
                task=objective,
                seed=seed,
                path=path,
                description=description,
                model=model,
                teacher=teacher,
                companion=companion,
                passes=passes,
                train_data=train_data,
                test_data=test_data,
                test_options={"convention": convention, "multiple": multiple, "full": False},
                stop=stack.enter_context(StopRequest()),
                live=live,
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


def write_history(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write a history of at least one row as CSV, atomically; equal histories give equal bytes.

    Numbers are written so that they read back exactly; None and NaN are empty cells.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    write_rows(path, rows)


def _restore(fabric: Fabric, path: Path, key: Key) -> Checkpoint:
    """The state to go on from: the first rank sorts out damaged files before the others read."""
    state = checkpoints.load_latest(path, key) if fabric.is_global_zero else None
    fabric.barrier()
    if not fabric.is_global_zero:
        state = checkpoints.load_latest(path, key)
    return state or Checkpoint(key)
