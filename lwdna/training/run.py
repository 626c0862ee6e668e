"""The epochs of one training: steps, looks at the losses, tests, checkpoints, and leaving early."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from torch import nn
from torch.utils.data import Dataset
from tqdm import tqdm

from lwdna.data.batches import batch_loader
from lwdna.data.workers import workers_ended
from lwdna.errors import TrainingError
from lwdna.io.logs import progress
from lwdna.tasks.task import Measuring, Task
from lwdna.training import checkpoints
from lwdna.training.checkpoints import Checkpoint, Row
from lwdna.training.companion import Companion
from lwdna.training.devices import agreed, seed_model, summed
from lwdna.training.evaluation import evaluate
from lwdna.training.live import Live
from lwdna.training.passes import Passes
from lwdna.training.protocol import Protocol, set_rate
from lwdna.training.sampler import EpochBatches, length
from lwdna.training.schedules import learning_rate
from lwdna.training.signals import StopRequest, ignore_stop_signals
from lwdna.training.step import Learner
from lwdna.training.tally import Tally

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

_GPU_LOOK_EVERY = 16
"""Steps between two looks at the losses on a GPU, where each look waits for the device."""


class _StopRequestedError(Exception):
    """A signal came during a test, which is then not finished."""


@dataclass
class Run:
    """One call of :func:`lwdna.training.loop.train`: its arguments, and ``state``.

    The state is always current.
    """

    fabric: Fabric
    plan: Protocol
    task: Task
    seed: int
    path: Path
    description: str
    model: nn.Module
    teacher: nn.Module | None
    companion: Companion | None
    passes: Passes
    train_data: Dataset[Any]
    test_data: Dataset[Any] | None
    test_options: Measuring
    stop: StopRequest
    live: Live | None
    """What is seen of it; the first rank's."""
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
        loader = batch_loader(
            self.train_data,
            batches,
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
                tally = Tally(("loss", *task.metric_names), state.sums if rank == 0 else {})
                batches.seek(state.epoch, state.step)
                self.learner.network.train()
                for batch in () if state.step == steps or self._complete else loader:
                    inputs, targets = fabric.to_device(tuple(batch))
                    number = state.epoch * steps + state.step
                    seed_model(fabric.device, [self.seed, number, rank])
                    passes, size = self.passes(number), batches.size(state.step)
                    for part in self.learner.step(inputs, targets, size, passes):
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
                bar.set_postfix(self._short(tally), refresh=False)
                if self.live is not None:
                    self.live.after_epoch(state.history)
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

    def _look(self, tally: Tally) -> None:
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

    def _short(self, tally: Tally) -> dict[str, str]:
        """Loss and main metric of the epoch so far, and of the last test, for the progress bar."""
        main = self.task.metric_names[0]
        shown = {name: tally.sums[name] / tally.sums["n"] for name in ("loss", main)}
        tests = [row[f"test_{main}"] for row in self.state.history]
        last = next((value for value in reversed(tests) if value is not None), None)
        if last is not None:
            shown[f"test_{main}"] = last
        return {name: f"{value:.4g}" for name, value in shown.items()}
