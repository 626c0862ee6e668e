"""Shrink a network to a FLOPs budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import click

import lwdna
from lwdna.config.methods import SCORERS
from lwdna.errors import ConfigError
from lwdna.networks.user_code import Own
from lwdna.shrinkage.gradients import LossFunction
from lwdna.shrinkage.settings import Settings
from lwdna.steps._json import Json
from lwdna.steps._networks import Widened, check_fits, widen, write_shrunk
from lwdna.steps._options import (
    READ,
    ToShrink,
    bundle,
    network_to_shrink,
    threads,
)
from lwdna.steps._own import check_own
from lwdna.steps._settings import settings_of
from lwdna.tasks.sections import TaskSection
from lwdna.tasks.task import task_for
from lwdna.training.sampler import batch_losses


class _Loss(TypedDict):
    function: str | None
    task: TaskSection | None
    path: Path | None
    batch_size: int


_loss = bundle(
    "loss",
    click.option(
        "--loss",
        "function",
        metavar="FILE:FUNCTION",
        help="Gives the loss of the network it is called with on the next batch, for gradients.",
    ),
    click.option("--task", type=Json("task"), help="The experiment's task section."),
    click.option("--train", "path", type=READ, help="Training images, for gradients."),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="Images in a batch of --train.",
    ),
)


@click.command()
@network_to_shrink
@_loss
@settings_of(Settings, criterion=SCORERS)
@threads
def main(*, asked: ToShrink, loss: _Loss, settings: dict[str, Any]) -> None:
    """Widen NETWORK and shrink it by its latent vectors to a FLOPs budget.

    NETWORK is a name, or FILE:FUNCTION for a function that makes one of your own, which is widened
    by its argument 'width', or else by its channels. The channels go into a JSON beside the output.
    """
    if (loss["task"] is None) != (loss["path"] is None):
        raise click.UsageError("Give --task and --train together.")
    if loss["path"] is not None and loss["function"] is not None:
        raise click.UsageError("Give either --loss, or --task and --train.")
    widened, seed = widen(asked, settings["groups"]), asked["seed"]
    if settings["criterion"] in SCORERS:
        settings["criterion"] = SCORERS[settings["criterion"]].load()
    settings |= {"target_flops": widened.target_flops, "batch_norm": asked["batch_norm"]}
    chosen = Settings(**settings, seed=seed)
    loss_fn = _loss_of(widened, loss, seed)
    if loss_fn is None and chosen.needs_loss:
        without = chosen.without_loss.items()
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in without)
        raise ConfigError(
            f"No loss was given, but {chosen.needs_loss} needs one; give --loss FILE:FUNCTION, or "
            f"--task and --train, or shrink without gradients, by {options}."
        )
    found = lwdna.shrink(widened.model, widened.example, loss_fn, **vars(chosen))
    write_shrunk(found, widened, asked)


def _loss_of(widened: Widened, loss: _Loss, seed: int) -> LossFunction | None:
    """The loss that the options name, if they name one."""
    if loss["function"] is not None:
        return Own(loss["function"])
    if loss["task"] is None or loss["path"] is None:
        return None
    objective = task_for(loss["task"])
    images = objective.train_data(loss["path"], seed=seed)
    check_fits(objective, widened.model, images)
    check_own(objective, widened.model, images, widened.example[0].shape)
    return batch_losses(loss["task"], images, loss["batch_size"], seed)
