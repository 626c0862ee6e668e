"""What tables compare: methods, each a way to train a network, and references without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Method:
    """How a network comes about and is trained; the protocol is always the experiment's."""

    title: str
    """In tables and figures; the paper's name where it has the method."""
    shrinkage: str | None = None
    """How the network is shrunk, one of :data:`SHRINKAGES`; None for the baseline itself."""
    distils: bool = False
    """Whether it learns from the teacher, where the experiment has one."""
    note: str = ""
    """What it is, at the foot of a table; of those that the paper does not have."""


METHODS: Mapping[str, Method] = {
    "baseline": Method("Baseline"),
    "baseline-kd": Method("Baseline KD", distils=True),
    "dhp": Method("DHP", "dhp", note="the DHP version trained without knowledge distillation"),
    "dhp-kd": Method("DHP KD", "dhp", distils=True),
    "lw-dna": Method("LW-DNA", "lw-dna", distils=True),
    "no-kd": Method(
        "LW-DNA without KD",
        "lw-dna",
        note="the LW-DNA network trained without knowledge distillation",
    ),
    "from-scratch": Method(
        "LW-DNA from scratch",
        "from-scratch",
        distils=True,
        note="the shape of the LW-DNA network, trained from weights drawn anew",
    ),
    "generated": Method(
        "LW-DNA as generated",
        "generated",
        distils=True,
        note="the LW-DNA network, trained from the weights that the latent vectors generate",
    ),
    "rescaled": Method(
        "LW-DNA rescaled",
        "rescaled",
        distils=True,
        note="as generated, with the weights of each layer scaled to the size of fresh ones",
    ),
    "width-1": Method(
        "Not widened", "width-1", distils=True, note="as LW-DNA, but from the baseline at its width"
    ),
    "magnitude": Method(
        "Magnitude",
        "magnitude",
        distils=True,
        note="as LW-DNA, but the largest latent elements stay",
    ),
    "random": Method(
        "Random", "random", distils=True, note="as LW-DNA, but channels that stay are drawn by lot"
    ),
    "uniform": Method(
        "Uniform",
        "uniform",
        distils=True,
        note="as LW-DNA, but every layer keeps the same share of its channels",
    ),
}
"""By name in the configuration, in the order of a table."""


DHP = "dhp"
"""The shrinkage that is a search; the others are made at initialisation."""

SHRINKAGES: Mapping[str, Mapping[str, Any]] = {
    "lw-dna": {},
    DHP: {},
    "from-scratch": {"start": "fresh"},
    "generated": {"start": "generated"},
    "rescaled": {"start": "rescaled"},
    "width-1": {"widen": 1},
    "magnitude": {"criterion": "magnitude"},
    "random": {"criterion": "random"},
    "uniform": {"criterion": "uniform"},
}
"""By name, what differs from the experiment's section ``shrink``."""

COMPARABLE = tuple(
    name for name, changes in SHRINKAGES.items() if not {"widen", "start"} & set(changes)
)
"""Shrinkages of the same widened network that choose other channels, which can be compared."""

BASELINES = ("baseline", "baseline-kd")
"""Methods that train the network of the paper itself, so that its complexity is known untrained."""


NEED_TEACHER = ("baseline-kd", "dhp-kd", "no-kd")
"""Methods that without a teacher would be another method."""


def shrinkages_of(methods: Iterable[str]) -> list[str]:
    """The shrinkages that some methods start from, each once."""
    asked = {METHODS[method].shrinkage for method in methods}
    return [name for name in SHRINKAGES if name in asked]


def shrink_settings(section: Mapping[str, Any], shrinkage: str) -> dict[str, Any]:
    """The settings of a shrinkage of an experiment: its section ``shrink``, and what differs.

    The search by DHP takes from it the width, the budget and the floors, unless its own section
    has them.
    """
    settings = {**section["shrink"], **SHRINKAGES[shrinkage]}
    if shrinkage != DHP:
        return settings
    own = section["dhp"]
    if "target_flops" in own or "flops_ratio" in own:
        settings = {k: v for k, v in settings.items() if k not in ("target_flops", "flops_ratio")}
    shared = ("widen", "target_flops", "flops_ratio", "rho", "tau", "embedding")
    return {**{name: settings[name] for name in shared if name in settings}, **own}
