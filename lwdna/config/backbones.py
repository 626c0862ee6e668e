"""Experiments whose models are made on networks that other experiments train, checked."""

from __future__ import annotations

from collections.abc import Mapping

from lwdna.config.demands import demand, known
from lwdna.config.methods import SEARCHES
from lwdna.config.sections import Experiment
from lwdna.tasks.kinds import KINDS


def fill_in_network(
    where: str, experiment: Experiment, experiments: Mapping[str, Experiment]
) -> None:
    """What follows objects has the network of the experiment that trains its backbone."""
    kind = experiment["task"]["kind"]
    if not KINDS[kind].follows:
        demand("network" in experiment, where, "lacks 'network'")
        demand("backbone" not in experiment, where, f"has a backbone, which {kind} does not take")
        return
    demand("backbone" in experiment, where, f"lacks 'backbone', which {kind} needs")
    for key in ("network", *_OF_NETWORKS):
        demand(
            key not in experiment,
            where,
            f"has '{key}', which {kind} does not take: its networks are trained by its backbone",
        )
    name = known(experiment["backbone"]["experiment"], experiments, f"{where}.backbone.experiment")
    other, where = experiments[name], f"{where}.backbone"
    theirs = KINDS[other["task"]["kind"]]
    demand(not theirs.follows, where, f"is '{name}', which trains no network, but trackers")
    if "network" in other:
        experiment["network"] = dict(other["network"])


def check_backbone(
    where: str, experiment: Experiment, experiments: Mapping[str, Experiment]
) -> None:
    """What follows objects has no method that its backbone is not trained by."""
    if "backbone" not in experiment:
        return
    name = experiment["backbone"]["experiment"]
    other, where = experiments[name], f"{where}.backbone"
    lacking = [method for method in experiment["methods"] if method not in other["methods"]]
    demand(
        not lacking,
        where,
        f"is '{name}', which has no {', '.join(lacking)}, methods of this experiment; give it the "
        "same ones or fewer",
    )


_OF_NETWORKS = ("weights", "shrink", "teacher", "strip", *SEARCHES)
"""Sections of an experiment that say how its networks come about."""
