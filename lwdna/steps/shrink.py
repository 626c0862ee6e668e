"""Shrink a network to a FLOPs budget."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import pandas as pd

import lwdna
from lwdna.batches import batch_losses
from lwdna.checked import write_csv
from lwdna.data.datasets import train_dataset
from lwdna.errors import ConfigError
from lwdna.hypernet import EMBEDDING, LossFunction
from lwdna.networks import build_seeded
from lwdna.shrink import CRITERIA
from lwdna.steps._build import build, check_fits, example_of, widening
from lwdna.steps._options import ANY_PATH, FILE, Json, check_suffix, output, seed, shapes, threads
from lwdna.steps._own import Own

logger = logging.getLogger(__name__)


@click.command()
@click.argument("network")
@click.option("--dataset", help="Dataset the network is built for.")
@click.option("--width", type=float, default=1.0, show_default=True, help="Of the baseline.")
@click.option(
    "--widen",
    type=float,
    help="Width multiplier w.  [default: 2; 1 for a function without an argument 'width']",
)
@click.option("--options", type=Json(), default="{}", help="Other options of the network.")
@shapes
@click.option(
    "--loss",
    "loss_function",
    metavar="FILE:FUNCTION",
    help="Gives the loss of the network it is called with on the next batch, for gradients.",
)
@click.option("--task", type=Json(), help="The experiment's task section.")
@click.option("--train", "path", type=ANY_PATH, help="Training images, for gradients.")
@click.option("--target-flops", type=float, help="Budget in FLOPs.")
@click.option("--flops-ratio", type=float, help="Budget as a share of the FLOPs before widening.")
@click.option("--rho", type=float, default=0.2, show_default=True)
@click.option("--tau", type=float, default=0.45, show_default=True)
@click.option("--criterion", type=click.Choice(CRITERIA), default="gradient", show_default=True)
@click.option("--warmup-steps", type=int, default=0, show_default=True)
@click.option("--batches", type=int, default=2, show_default=True)
@click.option("--embedding", type=click.IntRange(min=1), default=EMBEDDING, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--count-batch-norm/--no-count-batch-norm",
    "batch_norm",
    default=True,
    help="Count batch norm in the FLOPs, as Table 1 does and Table 2 does not.",
)
@click.option("--channels", type=FILE, help="CSV to write: channels by layer.")
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
    if (target_flops is None) == (flops_ratio is None):
        raise click.UsageError("Give either --target-flops or --flops-ratio.")
    if (task is None) != (path is None):
        raise click.UsageError("Give --task and --train together.")
    if path is not None and loss_function is not None:
        raise click.UsageError("Give either --loss, or --task and --train.")
    check_suffix(output, ".safetensors")
    if channels in {output, output.with_suffix(".json")}:
        raise click.UsageError("Give --channels and --output different files.")
    spec: dict[str, Any] = {"name": network, "dataset": dataset, "width": width, "options": options}
    example = example_of(network, dataset, shapes)
    wider = width * widening(network, widen)
    baseline = build_seeded(spec, settings["seed"], build)
    graph = lwdna.ChannelGraph(baseline, example)
    if flops_ratio is not None:
        flops, _ = lwdna.complexity(baseline, example, batch_norm=settings["batch_norm"])
        target_flops = flops_ratio * flops
    wide = build_seeded(spec | {"width": wider}, settings["seed"], build)
    loss: LossFunction | None = None if loss_function is None else Own(loss_function)
    if task is not None and path is not None:
        images = train_dataset(task, path, seed=settings["seed"])
        check_fits(wide, images, task.get("patch_size", 0))
        loss = batch_losses(task["kind"], images, batch_size, settings["seed"])
    if loss is None and (settings["criterion"] == "gradient" or settings["warmup_steps"] > 0):
        raise ConfigError(
            "Gradients need a loss, but none was given; give --loss FILE:FUNCTION, or --task and "
            "--train, or shrink without gradients by --criterion magnitude."
        )
    shrunk = lwdna.shrink(wide, example, loss, target_flops=float(target_flops or 0), **settings)
    logger.info("Shrunk %s at width %g:\n%s", network, wider, shrunk.report())
    shrunk.save(output)
    if channels is not None:
        rows = [
            (layer, len(graph.layers[layer].outputs), shrunk.channels_before[layer], len(kept))
            for layer, kept in shrunk.kept.items()
        ]
        frame = pd.DataFrame(rows, columns=["layer", "baseline", "before", "after"])
        write_csv(channels, frame.to_csv(index=False, lineterminator="\n"))
