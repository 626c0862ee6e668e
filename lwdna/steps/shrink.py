"""Shrink a network to a FLOPs budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import lwdna
from lwdna.errors import ConfigError
from lwdna.networks.user_code import Own
from lwdna.shrinkage.gradients import LossFunction
from lwdna.shrinkage.latents import EMBEDDING
from lwdna.shrinkage.shrink import CRITERIA
from lwdna.shrinkage.starts import START, STARTS
from lwdna.steps._networks import check_fits, check_outputs, write_shrunk
from lwdna.steps._networks import widen as widen_network
from lwdna.steps._options import ANY_PATH, Json, network_to_shrink, output, seed, threads
from lwdna.steps._own import check_own
from lwdna.tasks.task import task_for
from lwdna.training.sampler import batch_losses


@click.command()
@network_to_shrink
@click.option(
    "--loss",
    "loss_function",
    metavar="FILE:FUNCTION",
    help="Gives the loss of the network it is called with on the next batch, for gradients.",
)
@click.option("--task", type=Json(), help="The experiment's task section.")
@click.option("--train", "path", type=ANY_PATH, help="Training images, for gradients.")
@click.option("--rho", type=float, default=0.2, show_default=True)
@click.option("--tau", type=float, default=0.45, show_default=True)
@click.option("--criterion", type=click.Choice(CRITERIA), default="gradient", show_default=True)
@click.option("--warmup-steps", type=int, default=0, show_default=True)
@click.option("--batches", type=int, default=2, show_default=True)
@click.option("--embedding", type=click.IntRange(min=1), default=EMBEDDING, show_default=True)
@click.option(
    "--start",
    type=click.Choice(STARTS),
    default=START,
    show_default=True,
    help="The weights to train from: as generated, rescaled layer by layer, or drawn anew.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@output
@seed
@threads
def main(
    *,
    network: str,
    dataset: str | None,
    width: float,
    widen: float | None,
    options: dict[str, Any],
    shapes: tuple[tuple[int, ...], ...],
    loss_function: str | None,
    task: dict[str, Any] | None,
    path: Path | None,
    target_flops: float | None,
    flops_ratio: float | None,
    batch_size: int,
    channels: Path | None,
    output: Path,
    **settings: Any,
) -> None:
    """Widen NETWORK and shrink it by its latent vectors to a FLOPs budget.

    NETWORK is a name, or FILE:FUNCTION for a function that makes a network of your own; it is
    widened by the function's argument 'width'. The channels go into a JSON beside the output.
    """
    if (task is None) != (path is None):
        raise click.UsageError("Give --task and --train together.")
    if path is not None and loss_function is not None:
        raise click.UsageError("Give either --loss, or --task and --train.")
    check_outputs(output, channels)
    widened = widen_network(
        {"name": network, "dataset": dataset, "width": width, "options": options},
        widen,
        shapes,
        seed=settings["seed"],
        target_flops=target_flops,
        flops_ratio=flops_ratio,
        batch_norm=settings["batch_norm"],
    )
    loss: LossFunction | None = None if loss_function is None else Own(loss_function)
    if task is not None and path is not None:
        objective = task_for(task)
        images = objective.train_data(path, seed=settings["seed"])
        check_fits(objective, widened.model, images)
        check_own(objective, widened.model, images, widened.example[0].shape)
        loss = batch_losses(task, images, batch_size, settings["seed"])
    if loss is None and (settings["criterion"] == "gradient" or settings["warmup_steps"] > 0):
        raise ConfigError(
            "Gradients need a loss, but none was given; give --loss FILE:FUNCTION, or --task and "
            "--train, or shrink without gradients by --criterion magnitude."
        )
    shrunk = lwdna.shrink(
        widened.model, widened.example, loss, target_flops=widened.target_flops, **settings
    )
    write_shrunk(shrunk, widened, output, channels)
