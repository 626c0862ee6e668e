"""What every step that trains does before and after: images, identity, and being alone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import nn

import lwdna
from lwdna.config.methods import STEPS
from lwdna.data.listings import fingerprint
from lwdna.errors import ConfigError, require_known
from lwdna.io.locks import lock
from lwdna.networks.own import load
from lwdna.networks.provenance import Trained
from lwdna.networks.weights import read_provenance
from lwdna.steps._networks import check_fits
from lwdna.steps._options import TrainingRun
from lwdna.steps._own import check_own, source_key
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import task_for
from lwdna.training.cards import dealt
from lwdna.training.loop import Training
from lwdna.training.passes import Passes, ordinary


@contextmanager
def training(
    model: nn.Module,
    run: TrainingRun,
    seed: int,
    network: str,
    shape: Sequence[int] | None,
) -> Iterator[Training]:
    """Read and check the images of a run, and be alone at its checkpoints until it is written.

    On a machine where the workflow deals out GPUs, it has its own in the meantime.

    Args:
        model: what is to be trained.
        run: the options ``training_run``.
        seed: of the training.
        network: its name, or FILE:FUNCTION; "" where the weights tell.
        shape: ``(1, C, H, W)`` for which its FLOPs are counted, where it is known.

    Yields:
        Arguments of :func:`lwdna.training.loop.train`, but the model and what one step alone has.

    Raises:
        ConfigError, DataError: if the images do not fit the network or each other, or there are
            too few GPUs.
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
        "tensorboard": run["tensorboard"],
        "accelerator": run["accelerator"],
        "devices": run["devices"],
    }
    with ExitStack() as stack:
        if "LOCAL_RANK" not in os.environ:  # not in the helper processes of several devices
            # Until the files are written: an orphan of a killed run with other settings may
            # still be at work, and must not have the last word.
            stack.enter_context(lock(run["checkpoints"] / "lock", wait=True))
        stack.enter_context(dealt(run["accelerator"], run["devices"]))
        yield arguments


def guide_of(teacher: Path | None, network: str | None, arguments: Training) -> nn.Module | None:
    """The trained network to learn from, which must know what to make of the images.

    Args:
        teacher: its file, if there is one.
        network: FILE:FUNCTION that makes it, where ``lwdna.build`` does not.
        arguments: of the training.

    Raises:
        CheckpointError, ConfigError: if it cannot be loaded, or is for other images.
    """
    if teacher is None:
        return None
    named = read_provenance(teacher).spec is not None
    guide = load(teacher, None if named else network)
    task, images = task_for(arguments["task"]), arguments["train_data"]
    try:
        check_fits(task, guide, images)
        check_own(task, guide, images, None)
    except ConfigError as error:
        raise ConfigError(f"The teacher '{teacher}' cannot be learned from: {error}") from error
    return guide


def trained_by(arguments: Training, run: TrainingRun) -> Trained:
    """What the weights of a training say of what they are for, and where they come from.

    Args:
        arguments: of the training.
        run: the options ``training_run``.
    """
    task, images = task_for(run["task"]), arguments["train_data"]
    classes = getattr(images, "classes", None)
    source = {
        "by": "lwdna train",
        "version": lwdna.__version__,
        "run": run["description"],
        "seed": arguments["seed"],
        "images": str(run["train_path"]),
    }
    names = None if classes is None else list(classes)
    return Trained(dict(run["task"]), task.takes(images), names, source)


def steps_for(steps: Mapping[str, Any] | None, model: nn.Module, arguments: Training) -> Passes:
    """What a training does in each step; it becomes part of the training's key.

    Args:
        steps: its ``kind`` and settings; None for one pass of the network as it is.
        model: what is trained.
        arguments: of the training.

    Raises:
        ConfigError: if there are no such steps or settings, or the network does not allow them.
    """
    if steps is None:
        return ordinary
    kind = steps.get("kind")
    require_known(str(kind), STEPS, f"There are no steps of the kind {kind!r};")
    home = STEPS[str(kind)].load()
    given = {name: value for name, value in steps.items() if name != "kind"}
    known = {field.name: field for field in dataclasses.fields(home.Settings)}
    for name in given:
        require_known(name, known, f"Steps of the kind '{kind}' have no setting '{name}';")
    for name, field in known.items():
        if name not in given and field.default is dataclasses.MISSING:
            raise ConfigError(f"Steps of the kind '{kind}' lack '{name}'; add it.")
    arguments["key"] = {**(arguments.get("key") or {}), "steps": dict(steps)}
    image, _ = arguments["train_data"][0, 0]
    task = task_for(arguments["task"])
    seed = arguments["seed"]
    passes: Passes = home.passes_of(
        model, image[None], home.Settings(**given), task=task, seed=seed
    )
    return passes
