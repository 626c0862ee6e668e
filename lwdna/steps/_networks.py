"""Networks from what the command line says: a name and options, FILE:FUNCTION, or a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

import lwdna
from lwdna.errors import BudgetError, ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.labels import GROUPS, Groups
from lwdna.graph.widening import check_factor
from lwdna.io.checksummed_csv import write_rows
from lwdna.networks.build import build_seeded
from lwdna.networks.own import builder
from lwdna.networks.provenance import provenance_of
from lwdna.networks.registry import input_shape
from lwdna.networks.user_code import is_own
from lwdna.shrinkage.shrunk import Shrunk
from lwdna.steps._json import Json
from lwdna.steps._options import ToShrink, Written, bundle, check_suffix
from lwdna.tasks.sections import NetworkSection
from lwdna.tasks.task import Task

logger = logging.getLogger(__name__)


groups_lost = click.option(
    "--groups",
    type=click.Choice(GROUPS),
    default="whole",
    show_default=True,
    help="What grouped convolutions lose: whole groups, or equal positions of each.",
)


as_built = bundle(
    "built",
    click.option("--dataset", help="Dataset the network is built for."),
    click.option(
        "--width",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        help="Width multiplier.",
    ),
    click.option(
        "--options", type=Json(), default="{}", help="Other arguments of the network, as JSON."
    ),
)
"""How NETWORK is built, where it is as its authors made it."""


@dataclass(frozen=True)
class Widened:
    """A baseline, made wider to be shrunk to a budget."""

    name: str
    """Of the network."""
    graph: ChannelGraph
    """Of the baseline."""
    model: nn.Module
    """The widened network."""
    width: float
    """Its width."""
    example: tuple[Tensor, ...]
    """Inputs without content, of the size for which FLOPs are meant."""
    target_flops: float
    baseline: tuple[int, int]
    """FLOPs and parameters of the baseline."""


def widen(asked: ToShrink, groups: Groups = "whole") -> Widened:
    """Make a network wider, and say what its budget is in FLOPs.

    Args:
        asked: the options.
        groups: of ``lwdna.widen``, where the network has no argument ``width``.

    Raises:
        ConfigError, click.UsageError: unless there is one budget, and the outputs are different
            files.
    """
    check_outputs(asked)
    target_flops, flops_ratio, seed = asked["target_flops"], asked["flops_ratio"], asked["seed"]
    if (target_flops is None) == (flops_ratio is None):
        raise click.UsageError("Give either --target-flops or --flops-ratio.")
    name, dataset = asked["network"], asked["dataset"]
    example = example_of(name, dataset, asked["shapes"])
    factor = check_factor(2 if asked["widen"] is None else asked["widen"])
    if flops_ratio is not None and flops_ratio > 2 * factor**2:
        raise BudgetError(
            f"A flops_ratio of {flops_ratio:g} is {flops_ratio:g} times the network's own FLOPs, "
            f"and at {factor:g} times its width it has no more than some {factor**2:g} times them; "
            f"give a share, which for {flops_ratio:g} per cent is {flops_ratio / 100:g}."
        )
    width = asked["width"] * factor
    build = builder(example, groups)
    spec: NetworkSection = {"name": name, "width": asked["width"], "options": asked["options"]}
    if dataset is not None:
        spec["dataset"] = dataset
    baseline = build_seeded(spec, seed, build)
    counted = lwdna.complexity(baseline, example, batch_norm=asked["batch_norm"])
    if flops_ratio is not None:
        target_flops = flops_ratio * counted[0]
    return Widened(
        name=name,
        graph=lwdna.ChannelGraph(baseline, example),
        model=build_seeded({**spec, "width": width}, seed, build),
        width=width,
        example=example,
        target_flops=float(target_flops or 0),
        baseline=counted,
    )


def write_shrunk(shrunk: Shrunk, widened: Widened, asked: Written) -> None:
    """Write a shrunk network, its JSON, and if asked for the channels by layer as CSV.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    shrunk = shrunk.beside(*widened.baseline)
    logger.info("Shrunk %s at width %g:\n%s", widened.name, widened.width, shrunk.report())
    shrunk.save(asked["output"])
    if asked["channels"] is not None:
        graph = widened.graph
        made = {layer: graph.layers[layer].outputs for layer in shrunk.kept}
        rows = [
            {
                "layer": name,
                "baseline": len(made[name]),
                "before": shrunk.channels_before[name],
                "after": len(k),
                "frozen": graph.frozen[made[name]].all(),
            }
            for name, k in shrunk.kept.items()
        ]
        write_rows(asked["channels"], rows)


def check_outputs(asked: Written, **others: Path) -> None:
    """Refuse outputs of which one would be written over another, or over what is read.

    Args:
        asked: the options.
        others: by option or argument, what else the step writes, or what it reads.

    Raises:
        ConfigError, click.UsageError: naming them.
    """
    output, channels = asked["output"], asked["channels"]
    check_suffix(output, ".safetensors")
    seen = {path.resolve(): "--output" for path in (output, output.with_suffix(".json"))}
    for name, path in {"--channels": channels, **others}.items():
        other = None if path is None else seen.setdefault(path.resolve(), name)
        if other not in {None, name}:
            raise click.UsageError(f"Give {name} and {other} different files.")


def example_of(
    name: str, dataset: str | None, shapes: Sequence[tuple[int, ...]]
) -> tuple[Tensor, ...]:
    """Inputs without content: of the shapes given, or as the paper has them for the network.

    Raises:
        ConfigError: if no shape is given for a network of a user's own.
    """
    if not shapes:
        if is_own(name):
            raise ConfigError(
                f"The input of '{name}' is not known; give its shape, for example "
                "--input 1x3x32x32."
            )
        shapes = [input_shape(name, dataset)]
    return tuple(torch.empty(shape) for shape in shapes)


def example_for(
    model: nn.Module, path: Path, shapes: Sequence[tuple[int, ...]]
) -> tuple[Tensor, ...]:
    """Inputs without content for a network that was loaded from a file.

    Raises:
        ConfigError: if no shape is given, and the file does not tell.
    """
    provenance = provenance_of(model)
    if not shapes and provenance.shrinkage is not None:
        shapes = [tuple(shape) for shape in provenance.shrinkage.inputs]
    elif not shapes and provenance.spec is not None:
        shapes = [input_shape(provenance.spec.name, provenance.spec.dataset)]
    elif not shapes:
        raise ConfigError(
            f"'{path}' does not say what the input of its network is; give its shape, for example "
            "--input 1x3x32x32."
        )
    return tuple(torch.empty(shape) for shape in shapes)


def check_fits(task: Task, model: nn.Module, data: Any) -> None:
    """Refuse data that the network was not built for.

    Raises:
        ConfigError: naming what differs.
    """
    task.check_fits(model, data, provenance_of(model).spec)
