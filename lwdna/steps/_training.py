"""What every step that trains does before and after: images, identity, and being alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn

from lwdna.data.listings import fingerprint
from lwdna.io.locks import lock
from lwdna.steps._networks import check_fits
from lwdna.steps._options import TrainingRun
from lwdna.steps._own import check_own, source_key
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for
from lwdna.training.loop import Training


@contextmanager
def training(
    model: nn.Module,
    run: TrainingRun,
    seed: int,
    network: str,
    shape: Sequence[int] | None,
) -> Iterator[Training]:
    """Read and check the images of a run, and be alone at its checkpoints until it is written.

    Args:
        model: what is to be trained.
        run: the options ``training_run``.
        seed: of the training.
        network: its name, or FILE:FUNCTION; "" where the weights tell.
        shape: ``(1, C, H, W)`` for which its FLOPs are counted, where it is known.

    Yields:
        Arguments of :func:`lwdna.training.loop.train`, but the model and what one step alone has.

    Raises:
        ConfigError, DataError: if the images do not fit the network or each other.
    """
    task = run["task"]
    objective = task_for(task)
    images = objective.train_data(run["train_path"], seed=seed)
    check_fits(objective, model, images)
    check_own(objective, model, images, shape)
    tests = objective.test_data(run["test_path"])
    objective.check_tests(images, tests)
    arguments: Training = {
        "train_data": images,
        "test_data": tests,
        "task": task,
        "protocol": run["protocol"],
        "seed": seed,
        "checkpoint_dir": run["checkpoints"],
        "keyed": True,
        "key": {
            "data": task,
            "train": fingerprint(run["train_path"]),
            "test": fingerprint(run["test_path"]),
        }
        | source_key(network),
        "multiple": input_multiple(model),
        "convention": run["convention"],
        "description": run["description"],
        "accelerator": run["accelerator"],
        "devices": run["devices"],
    }
    with ExitStack() as stack:
        if "LOCAL_RANK" not in os.environ:  # not in the helper processes of several devices
            # Until the files are written: an orphan of a killed run with other settings may
            # still be at work, and must not have the last word.
            stack.enter_context(lock(run["checkpoints"] / "lock", wait=True))
        yield arguments
