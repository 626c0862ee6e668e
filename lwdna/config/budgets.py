"""What is asked of a shrinkage of an experiment: one budget, which can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lwdna.config.demands import demand, known
from lwdna.config.methods import OURS, SEARCHES, SHRINKAGES, Pruning, shrink_settings
from lwdna.config.sections import Experiment
from lwdna.tasks.sections import ProtocolSection

_PER_CENT = 100
"""What is less is no number of FLOPs, but a share of some."""


def check_shrinkage(
    where: str,
    experiment: Experiment,
    method: str,
    shrinkage: str,
    protocols: Mapping[str, ProtocolSection],
) -> None:
    """A shrinkage needs one budget that can be reached, and a search a protocol."""
    demand("shrink" in experiment, where, f"has the method {method} but no section 'shrink'")
    budget = "shrink"
    if shrinkage in SEARCHES:
        demand(
            shrinkage in experiment, where, f"has the method {method} but no section '{shrinkage}'"
        )
        own = experiment[shrinkage]
        known(own["protocol"], protocols, f"{where}.{shrinkage}.protocol")
        if {"target_flops", "flops_ratio"} & set(own):
            budget = shrinkage
    settings = shrink_settings(experiment, shrinkage)
    demand(
        ("target_flops" in settings) != ("flops_ratio" in settings),
        f"{where}.{budget}",
        "must have either 'target_flops' or 'flops_ratio'",
    )
    _check_reach(f"{where}.{budget}", method, settings, shrinkage)
    _check_histograms(where, settings, shrinkage, protocols)
    changed = ", ".join(f"{key}: {value}" for key, value in SHRINKAGES[shrinkage].changes.items())
    demand(
        shrinkage in (OURS, *SEARCHES)
        or OURS not in experiment["methods"]
        or settings != shrink_settings(experiment, OURS),
        f"{where}.methods",
        f"has {method}, which is lw-dna itself where shrink has {changed}: leave it out",
    )


def _check_reach(where: str, method: str, settings: Mapping[str, Any], shrinkage: str) -> None:
    """Refuse a share above the widened network's FLOPs, which grow by the square of its width at
    most, and one that is a share or per cent where FLOPs are meant."""
    target, ratio = settings.get("target_flops"), settings.get("flops_ratio")
    demand(
        target is None or target > _PER_CENT,
        f"{where}.target_flops",
        f"is {target}, but FLOPs are counted one by one, such as 5.4e+9; a share is 'flops_ratio'",
    )
    widen = 1 if isinstance(SHRINKAGES[shrinkage], Pruning) else settings.get("widen")
    if ratio is None or widen is None:
        return  # a search of its own kind may say what it likes
    most = widen**2
    per_cent = f"; a share and not per cent, such as {ratio / 100:g}" if ratio >= 10 else ""
    demand(
        ratio <= most,
        f"{where}.flops_ratio",
        f"is {ratio}, more than {method} can reach: of a network widened by {widen:g} the FLOPs "
        f"are {most:g} times as many at most{per_cent}",
    )


def _check_histograms(
    where: str,
    settings: Mapping[str, Any],
    shrinkage: str,
    protocols: Mapping[str, ProtocolSection],
) -> None:
    """A figure of a search shows epochs that there are."""
    shown = settings.get("histograms", {}).get("epochs", [])
    if shown:
        epochs = protocols[settings["protocol"]]["epochs"]
        demand(
            max(shown) <= epochs,
            f"{where}.{shrinkage}.histograms.epochs",
            f"has {max(shown)}, but the search takes at most {epochs} epochs, as its protocol says",
        )
