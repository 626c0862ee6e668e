"""The FLOPs budget: what may be kept, and the channels of the highest scores that fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwdna.errors import BudgetError
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.sets import ChannelSet
from lwdna.shrinkage.portions import Scores, portions, round_up

_A_SHARE = 1000
"""A target that is so many times below what can be reached is no number of FLOPs, but a share."""


def floors(sets: list[ChannelSet], rho: float, tau: float) -> list[int]:
    """How many elements of each latent vector survive at least: floor(rho n), at least 1."""
    # The tiny addend keeps 0.29 * 100 = 28.999999999999996 at 29.
    return [max(1, math.floor((tau if s.feeds_classifier else rho) * len(s) + 1e-9)) for s in sets]


@dataclass(frozen=True)
class Budget:
    """What a shrunk network may have at most, and what it keeps at least."""

    target_flops: float
    """Upper bound of the FLOPs."""
    floor: list[int]
    """For each set of the graph, how many elements always stay."""
    multiple_of: int = 1
    """Every set that is not frozen keeps a multiple of so many channels, or all."""
    limits: str = "rho or tau"
    """The settings that make :attr:`floor`, for errors."""


def select(
    graph: ChannelGraph, complexity: MaskedComplexity, scores: Scores, budget: Budget
) -> Mask:
    """The channels to keep: those of the highest scores, best first, wherever one still fits.

    That is one threshold for all latent vectors, the lowest that meets the target; and below it,
    where a channel that many layers share does not fit, cheaper ones that do, in the order of
    their scores, until none fits any more. Where numbers of channels are to be multiples, as many
    channels as that takes are added at once, by their mean score.

    Args:
        scores: ``(elements,)``; what has an infinite score is never dropped.
        budget: what may be kept, and what must.

    Raises:
        BudgetError: if the target cannot be reached.
    """
    mask, target_flops = check_target(graph, complexity, scores, budget), budget.target_flops
    rest = portions(graph, mask, scores, budget.multiple_of)
    while True:
        # What does not fit now never will: channels only become dearer as others come in.
        slack = target_flops - complexity.flops(mask)
        rest = rest.only(rest.sums(complexity.extra_flops(mask, rest.elements)) <= slack)
        if not len(rest):
            return mask
        # All of these fit one by one if they fit together.
        fitting, too_many = 0, len(rest) + 1
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            if complexity.flops(_with(mask, rest.first(middle))) <= target_flops:
                fitting = middle
            else:
                too_many = middle
        mask = _with(mask, rest.first(fitting))
        # The channels of a portion may be too dear together, though their sum is not.
        rest = rest.after(fitting) if fitting else rest.without_first()


def _with(mask: Mask, elements: NDArray[np.int64]) -> Mask:
    mask = mask.copy()
    mask[elements] = True
    return mask


def check_target(
    graph: ChannelGraph, complexity: MaskedComplexity, scores: Scores, budget: Budget
) -> Mask:
    """What always stays, if a mask can meet the target; the arguments are those of ``select``.

    Returns:
        ``(elements,)``.

    Raises:
        BudgetError: naming the reachable interval, and what keeps the FLOPs up.
    """
    target_flops, floor, limits = budget.target_flops, budget.floor, budget.limits
    multiple_of = budget.multiple_of
    protected = protect(graph, scores, floor, multiple_of)
    least, most = complexity.flops(protected), complexity.flops(graph.full_mask())
    if least <= target_flops <= most:
        return protected
    if not any(channels.prunable for channels in graph.sets):
        raise BudgetError(
            f"The target of {target_flops:,.0f} FLOPs cannot be reached: no channel may go, so "
            f"that the network keeps its {most:,} FLOPs.{_frozen(graph)}{_tied(graph)}"
            f"{_held(graph)}"
        )
    if target_flops < least / _A_SHARE:
        advice = (
            "Give FLOPs in that interval; a share of the network's own, or per cent of them, is "
            "given as flops_ratio, such as 0.5."
        )
    elif target_flops > most:
        advice = "Give a target in that interval, or widen the network."
    else:

        def least_of(counts: list[int], multiple: int) -> int:
            return complexity.flops(protect(graph, scores, counts, multiple))

        none = [1] * len(floor)
        lower = {
            limits: least_of(none, multiple_of),
            "multiple_of": least_of(floor, 1),
            f"multiple_of and {limits.replace(' or ', ' and ')}": least_of(none, 1),
        }
        helps = next((name for name, flops in lower.items() if flops <= target_flops), None)
        advice = f"Give a target in that interval, or lower {helps}."
        if helps is None:
            advice = (
                f"To lower {limits} would not do: the least is then {least_of(none, 1):,}. Give a "
                f"target of that or more.{_tied(graph)}"
            )
    settings = [*limits.replace(" or ", ", ").split(", "), "width"]
    settings += [] if multiple_of == 1 else ["multiple_of"]
    raise BudgetError(
        f"The target of {target_flops:,.0f} FLOPs cannot be reached: with this "
        f"{', '.join(settings[:-1])} and {settings[-1]} a network has between {least:,} and "
        f"{most:,} FLOPs. {advice}{_held(graph)}"
    )


def _tied(graph: ChannelGraph) -> str:
    """What keeps channels that may go, but only all at once."""
    return "".join(
        f" The channels of {_named(channels.makers)} stay whole, since they can only go together: "
        f"{'; '.join(channels.reasons[:2])}."
        for channels in graph.sets
        if _is_tied(graph, channels)
    )


def _is_tied(graph: ChannelGraph, channels: ChannelSet) -> bool:
    """Whether some layer makes several of its channels as one element, and has no other."""
    if not channels.reasons or graph.ends[channels.elements].any():
        return False
    made = [graph.layers[name].outputs for name in channels.makers if name in graph.layers]
    return any(len(outputs) > len(set(outputs.tolist())) == 1 for outputs in made)


def _frozen(graph: ChannelGraph) -> str:
    """Why channels stay that no operation keeps: by where they are, or by their layer."""
    ends = [s.name for s in graph.sets if graph.ends[s.elements].all()]
    fixed = [
        s.name
        for s in graph.sets
        if not (s.name in ends or s.holds or s.stops or _is_tied(graph, s))
    ]
    said = (
        f" The channels of {_named(tuple(ends))} are inputs or outputs of the network, or added to "
        "such"
        + ("." if len(ends) < len(graph.sets) else "; give a network with layers between these.")
    )
    if fixed:
        said += (
            f" The channels of {_named(tuple(fixed))} are fixed where they are made or read: by a "
            "rule, an operation that needs them all, or a layer without a trained parameter."
        )
    return said


def _named(layers: tuple[str, ...]) -> str:
    """Some names of layers, for a sentence."""
    return ", ".join(f"'{name}'" for name in layers[:3]) + (", ..." if len(layers) > 3 else "")


def _held(graph: ChannelGraph) -> str:
    """What keeps channels besides rho and tau."""
    return "".join(
        f" The channels of '{channels.name}' all stay: "
        + (
            f"{channels.holds[0]} fixes their number; where it is written in the code, take it "
            "from the tensor's shape instead."
            if channels.holds
            else f"they cannot be followed through {channels.stops[0]}."
        )
        for channels in graph.sets
        if (channels.holds or channels.stops) and not graph.ends[channels.elements].all()
    )


def protect(graph: ChannelGraph, scores: Scores, floor: list[int], multiple_of: int = 1) -> Mask:
    """What is never removed: frozen and unscored elements, the best of each set, strays.

    Args:
        scores: ``(elements,)``; infinite for what has none.
        floor: for each set of the graph, how many elements always stay.
        multiple_of: as of :class:`Budget`.

    Returns:
        ``(elements,)``.
    """
    keep = graph.full_mask()
    for channels, count in zip(graph.sets, floor, strict=True):
        rank = np.where(channels.frozen, np.inf, scores[channels.elements])
        best = np.argsort(-rank, kind="stable")[: max(count, int(channels.frozen.sum()))]
        keep[channels.elements] = False
        keep[channels.elements[best]] = True
    for layer in graph.layers.values():
        for elements in (layer.inputs, layer.outputs):
            if (elements >= 0).all() and not keep[elements].any():
                # Its channels are a part of a set: one of them stays, or nothing is left to read.
                keep[elements[np.argmax(scores[elements])]] = True
    keep |= np.isinf(scores)
    return keep if multiple_of == 1 else round_up(graph, keep, scores, multiple_of)
