"""Cut a trained network down to a FLOPs budget."""

from __future__ import annotations

from typing import Any

import click

import lwdna
from lwdna.config.methods import PRUNINGS
from lwdna.graph.channels import ChannelGraph
from lwdna.networks.own import load
from lwdna.networks.provenance import provenance_of
from lwdna.shrinkage.settings import Settings
from lwdna.steps._networks import Widened, check_outputs, example_for, groups_lost, write_shrunk
from lwdna.steps._options import ToPrune, bundle, network_to_prune, seed, threads

_settings = bundle(
    "settings",
    click.option(
        "--rho",
        type=click.FloatRange(0, 1),
        default=Settings.rho,
        show_default=True,
        help="Least share of each channel set that stays.",
    ),
    click.option(
        "--tau",
        type=click.FloatRange(0, 1),
        default=Settings.tau,
        show_default=True,
        help="The same of channel sets that feed the classifier.",
    ),
    click.option(
        "--multiple-of",
        type=click.IntRange(min=1),
        default=Settings.multiple_of,
        show_default=True,
        help="Keep a multiple of so many channels of every set.",
    ),
    groups_lost,
    seed,
)


@click.command()
@network_to_prune
@click.option(
    "--criterion", type=click.Choice(list(PRUNINGS)), required=True, help="What ranks channels."
)
@_settings
@threads
def main(*, asked: ToPrune, criterion: str, settings: dict[str, Any]) -> None:
    """Cut the trained network in WEIGHTS down to a FLOPs budget; what stays keeps its weights.

    The channels go into a JSON beside the output.
    """
    check_outputs(asked, WEIGHTS=asked["weights"])
    model = load(asked["weights"], asked["network"])
    example = example_for(model, asked["weights"], asked["shapes"])
    found = lwdna.prune(
        model,
        example,
        PRUNINGS[criterion].load(),
        target_flops=asked["target_flops"],
        flops_ratio=asked["flops_ratio"],
        batch_norm=asked["batch_norm"],
        **settings,
    )
    spec = provenance_of(model).spec
    whole = Widened(
        name=type(model).__name__ if spec is None else spec.name,
        graph=ChannelGraph(model, example, groups=settings["groups"]),
        model=model,
        width=1.0 if spec is None else spec.width,
        example=example,
        target_flops=found.flops,
        baseline=(found.flops_before, found.params_before),
    )
    write_shrunk(found, whole, asked)
