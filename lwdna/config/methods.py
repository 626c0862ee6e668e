"""What tables compare: methods, each a way to train a network, and how their networks are made.

A rival is one line of :data:`METHODS` and one file in ``lwdna/rivals/``, its home:

- One that scores channels at initialisation has a function ``(graph, model, loss_fn, settings) ->
  scores`` (:data:`lwdna.shrinkage.settings.Scorer`); its line has ``Shrinkage(home=...)``. It goes
  through ``lwdna shrink``, by whose budget and floors the channels of the highest scores stay.
- One that scores the channels of the trained baseline has a function of the same form; its line has
  ``Pruning(home=...)``. It goes through ``lwdna prune``, and what stays is trained on from its
  weights.
- One that trains to find its network has a class (:class:`lwdna.rivals.search.Rival`); its line has
  ``Search(home=...)``. It is a command of its own, ``lwdna NAME``; its settings stand in a section
  of the experiment named after it, which ``config/schema.yaml`` may describe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lwdna.io.homes import at_home

if TYPE_CHECKING:
    from lwdna.config.sections import Experiment


@dataclass(frozen=True)
class Shrinkage:
    """A way to choose the channels of the widened network, by default LW-DNA's."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the experiment's section ``shrink``."""
    home: str | None = None
    """Where its code is, as "module:name" below ``lwdna``, imported on first use; None for a
    criterion of :mod:`lwdna.shrinkage`."""
    latent: bool = True
    """Whether what it leaves are elements of LW-DNA's latent vectors, so that the channels are the
    same ones where the seed is, and not only as many."""

    def load(self) -> Any:
        """What the home names."""
        return at_home(str(self.home))


@dataclass(frozen=True)
class Pruning(Shrinkage):
    """A way to choose the channels of the trained baseline, which keep their weights."""

    latent: bool = False
    shares: tuple[str, ...] = ("target_flops", "flops_ratio", "rho", "tau", "multiple_of", "groups")
    """What it takes from the section ``shrink``."""


@dataclass(frozen=True)
class Search(Shrinkage):
    """A way to find a network by training, with a section of the experiment named after it."""

    about: str = ""
    """What its command does."""
    record: str = "record.h5"
    """What it notes on the way: the name of a file, which begins with :attr:`noted`."""
    shares: tuple[str, ...] = ("widen", "target_flops", "flops_ratio")
    """What it takes from the section ``shrink`` where its own section lacks it."""

    compiles: bool = True
    """Whether its protocol may ask for a compiled network; not where steps run parts of it."""

    @property
    def noted(self) -> str:
        """The name of the option that names that file."""
        return self.record.partition(".")[0]


@dataclass(frozen=True)
class Steps:
    """What a training does in each step, with a section of the experiment named after it."""

    home: str
    """Where its code is, as "module:name" below ``lwdna``, imported on first use: a class that has
    its ``Settings``, what makes its passes, ``passes_of``, and what a step costs, ``cost``."""
    about: str
    """What it does."""

    def load(self) -> Any:
        """What the home names."""
        return at_home(self.home)


@dataclass(frozen=True)
class Method:
    """How a network comes about and is trained; the protocol is always the experiment's."""

    title: str
    """In tables and figures; the paper's name where it has the method."""
    shrinkage: Shrinkage | str | None = None
    """How the network is shrunk, or the name of the method that it shares this with; None for the
    baseline itself."""
    steps: Steps | str | None = None
    """What it does in each step, or the name of the method that it shares this with; None for one
    pass of the network as it is."""
    distils: bool = False
    """Whether it learns from the teacher, where the experiment has one."""
    needs_teacher: bool = False
    """Whether it would be another method where the experiment has none."""
    note: str = ""
    """What it is, at the foot of a table; of those that the paper does not have."""
    colour: str = "#888888"
    """In figures, from the palette of Okabe and Ito, which colour-blind readers can tell apart, but
    for its yellow, which is faint on white; where that ends, from Tol's."""
    marker: str = "P"
    """In figures that compare shrinkages."""


def _control(title: str, changes: Mapping[str, Any], note: str, **look: Any) -> Method:
    """LW-DNA with one thing changed."""
    return Method(title, Shrinkage(changes), distils=True, note=note, **look)


METHODS: Mapping[str, Method] = {
    "baseline": Method("Baseline", colour="#0072B2"),
    "baseline-kd": Method("Baseline KD", distils=True, needs_teacher=True, colour="#009E73"),
    "mutualnet": Method(
        "MutualNet",
        steps=Steps(
            "rivals.mutualnet:MutualNet",
            about="Training at several widths and sizes of the image, as MutualNet, a rival of "
            "Table 1.",
        ),
    ),
    "mutualnet-kd": Method(
        "MutualNet KD",
        steps="mutualnet",
        distils=True,
        needs_teacher=True,
        note="the MutualNet version trained with knowledge distillation",
    ),
    "dhp": Method(
        "DHP",
        Search(
            home="rivals.dhp:DHP",
            about="Search for a network within a FLOPs budget by DHP, the rival of Table 1.",
            record="latents.h5",
            shares=("widen", "target_flops", "flops_ratio", "rho", "tau", "embedding"),
        ),
        note="the DHP version trained without knowledge distillation",
        colour="#CC79A7",
        marker="s",
    ),
    "dhp-kd": Method("DHP KD", "dhp", distils=True, needs_teacher=True),
    "autoslim": Method(
        "AutoSlim",
        Search(
            home="rivals.autoslim:AutoSlim",
            latent=False,
            about="Search for a network within a FLOPs budget by AutoSlim, a rival of Table 1.",
            record="trajectory.csv",
            compiles=False,
            # How wide the largest network is, its own section says.
            shares=("target_flops", "flops_ratio"),
        ),
        colour="#332288",
        marker="X",
    ),
    "autoslim-kd": Method(
        "AutoSlim KD",
        "autoslim",
        distils=True,
        needs_teacher=True,
        note="the AutoSlim network trained with knowledge distillation",
    ),
    "metapruning": Method(
        "MetaPruning",
        Search(
            home="rivals.metapruning:MetaPruning",
            latent=False,
            about="Search for a network within a FLOPs budget by MetaPruning, a rival of Table 1.",
            record="evolution.csv",
            compiles=False,
            # How wide the largest network is, its own section says.
            shares=("target_flops", "flops_ratio"),
        ),
        colour="#882255",
        marker="*",
    ),
    "metapruning-kd": Method(
        "MetaPruning KD",
        "metapruning",
        distils=True,
        needs_teacher=True,
        note="the MetaPruning network trained with knowledge distillation",
    ),
    "l1": Method(
        "L1",
        Pruning(home="rivals.l1:score"),
        note="the trained Baseline without the channels of the smallest L1 norms, trained once "
        "more from its weights, so that it is trained twice as long as the others",
        colour="#999999",
        marker="<",
    ),
    "l1-kd": Method("L1 KD", "l1", distils=True, needs_teacher=True),
    "lw-dna": Method("LW-DNA", Shrinkage(), distils=True, colour="#D55E00", marker="o"),
    "no-kd": Method(
        "LW-DNA without KD",
        "lw-dna",
        needs_teacher=True,
        note="the LW-DNA network trained without knowledge distillation",
    ),
    "from-scratch": _control(
        "LW-DNA from scratch",
        {"start": "fresh"},
        "the shape of the LW-DNA network, trained from weights drawn anew",
    ),
    "generated": _control(
        "LW-DNA as generated",
        {"start": "generated"},
        "the LW-DNA network, trained from the weights that the latent vectors generate",
    ),
    "rescaled": _control(
        "LW-DNA rescaled",
        {"start": "rescaled"},
        "as generated, with the weights of each layer scaled to the size of fresh ones",
    ),
    "width-1": _control(
        "Not widened",
        {"widen": 1},
        "as LW-DNA, but from the baseline at its width",
    ),
    "magnitude": _control(
        "Magnitude",
        {"criterion": "magnitude"},
        "as LW-DNA, but the largest latent elements stay",
        colour="#56B4E9",
        marker="^",
    ),
    "random": _control(
        "Random",
        {"criterion": "random"},
        "as LW-DNA, but channels that stay are drawn by lot",
        colour="#E69F00",
        marker="v",
    ),
    "uniform": _control(
        "Uniform",
        {"criterion": "uniform"},
        "as LW-DNA, but every layer keeps the same share of its channels",
        colour="#222222",
        marker="D",
    ),
}
"""By name in the configuration, in the order of a table."""

TEACHER = "teacher"
"""What is trained like a method, for others to learn from."""

OURS = "lw-dna"
"""The method that the others are compared with."""

DHP = "dhp"
"""The search whose latent vectors are drawn as Figure 3."""

_OWN = {name: m.shrinkage for name, m in METHODS.items() if isinstance(m.shrinkage, Shrinkage)}

SHRINKAGES: Mapping[str, Shrinkage] = {OURS: _OWN[OURS], **_OWN}
"""By name, which is that of a method."""

STEPS: Mapping[str, Steps] = {
    name: method.steps for name, method in METHODS.items() if isinstance(method.steps, Steps)
}
"""Ways to train that are more than one pass of the network a step, by name."""

SEARCHES: Mapping[str, Search] = {
    name: shrinkage for name, shrinkage in SHRINKAGES.items() if isinstance(shrinkage, Search)
}
"""Those that train."""

PRUNINGS: Mapping[str, Pruning] = {
    name: shrinkage for name, shrinkage in SHRINKAGES.items() if isinstance(shrinkage, Pruning)
}
"""Those of the trained baseline."""

SCORERS: Mapping[str, Shrinkage] = {
    name: shrinkage
    for name, shrinkage in SHRINKAGES.items()
    if shrinkage.home is not None and not isinstance(shrinkage, Pruning | Search)
}
"""Those that score channels at initialisation by code of their own: names of criteria."""

COMPARABLE = tuple(
    name
    for name, shrinkage in SHRINKAGES.items()
    if not {"widen", "start"} & set(shrinkage.changes)
)
"""Shrinkages that choose other channels, which can be compared."""

BASELINES = tuple(name for name, method in METHODS.items() if method.shrinkage is None)
"""Methods that train the network of the paper itself, so that its complexity is known untrained."""


def shrinkage_of(method: str) -> str | None:
    """The name of the shrinkage that a method starts from; None for a baseline."""
    shrinkage = METHODS[method].shrinkage
    return method if isinstance(shrinkage, Shrinkage) else shrinkage


def steps_of(method: str) -> str | None:
    """The name of what a method does in each step; None for one pass of the network as it is."""
    steps = METHODS[method].steps
    return method if isinstance(steps, Steps) else steps


def shrinkages_of(methods: Iterable[str]) -> list[str]:
    """The shrinkages that some methods start from, each once."""
    asked = {shrinkage_of(method) for method in methods}
    return [name for name in SHRINKAGES if name in asked]


def uncompiled_protocol(section: Experiment, method: str) -> str | None:
    """The protocol by which a method trains parts of its network, whose sizes change; if any."""
    name = shrinkage_of(method)
    own: Mapping[str, Any] | None = section if steps_of(method) is not None else None
    if name is not None and name in SEARCHES and not SEARCHES[name].compiles:
        own = section[name]
    return None if own is None else str(own["protocol"])


def shrink_settings(section: Experiment, shrinkage: str) -> dict[str, Any]:
    """The settings of a shrinkage of an experiment: its section ``shrink``, and what differs.

    A pruning takes from that what there is to say of a network that is not widened.
    A search has a section of its own, and takes from ``shrink`` what that lacks, if it shares it.
    """
    entry = SHRINKAGES[shrinkage]
    if isinstance(entry, Pruning):
        return {name: section["shrink"][name] for name in entry.shares if name in section["shrink"]}
    settings = {**section["shrink"], **entry.changes}
    if not isinstance(entry, Search):
        return settings | ({"criterion": shrinkage} if shrinkage in SCORERS else {})
    own = section[shrinkage]
    if "target_flops" in own or "flops_ratio" in own:
        settings = {k: v for k, v in settings.items() if k not in ("target_flops", "flops_ratio")}
    return {**{name: settings[name] for name in entry.shares if name in settings}, **own}
