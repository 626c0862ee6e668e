"""The FLOPs budget: what may be kept, and the channels of the highest scores that fit."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lwdna.errors import BudgetError
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.sets import ChannelSet


def floors(sets: list[ChannelSet], rho: float, tau: float) -> list[int]:
    """How many elements of each latent vector survive at least: floor(rho n), at least 1."""
    # The tiny addend keeps 0.29 * 100 = 28.999999999999996 at 29.
    return [max(1, math.floor((tau if s.feeds_classifier else rho) * len(s) + 1e-9)) for s in sets]


def select(
    graph: ChannelGraph,
    complexity: MaskedComplexity,
    scores: NDArray[np.float64],
    floor: list[int],
    target_flops: float,
) -> Mask:
    """The channels to keep: those of the highest scores, best first, wherever one still fits.

    That is one threshold for all latent vectors, the lowest that meets the target; and below it,
    where a channel that many layers share does not fit, cheaper ones that do, in the order of
    their scores, until none fits any more.

    Args:
        scores: ``(elements,)``; what has an infinite score is never dropped.
        floor: for each set of the graph, how many elements always stay.
        target_flops: upper bound of the FLOPs.

    Raises:
        BudgetError: if the target cannot be reached.
    """
    protected = protect(graph, scores, floor)
    check_target(complexity, protected, target_flops)
    mask, rest = protected, np.flatnonzero(~protected)
    rest = rest[np.argsort(scores[rest], kind="stable")][::-1]
    while True:
        # What does not fit now never will: channels only become dearer as others come in.
        slack = target_flops - complexity.flops(mask)
        rest = rest[complexity.extra_flops(mask, rest) <= slack]
        if not len(rest):
            return mask
        # All of these fit one by one if they fit together.
        fitting, too_many = 1, len(rest) + 1
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            if complexity.flops(_with(mask, rest[:middle])) <= target_flops:
                fitting = middle
            else:
                too_many = middle
        mask, rest = _with(mask, rest[:fitting]), rest[fitting:]


def _with(mask: Mask, elements: NDArray[np.int64]) -> Mask:
    mask = mask.copy()
    mask[elements] = True
    return mask


def check_target(
    complexity: MaskedComplexity,
    protected: Mask,
    target_flops: float,
    *,
    limits: str = "rho or tau",
) -> None:
    """Raise BudgetError, naming the reachable interval, if no mask can meet the target.

    Args:
        protected: what always stays: ``(elements,)``.
        limits: the settings that make it stay.
    """
    least = complexity.flops(protected)
    most = complexity.flops(np.ones_like(protected))
    if not least <= target_flops <= most:
        raise BudgetError(
            f"The target of {target_flops:,.0f} FLOPs cannot be reached: with this rho, tau and "
            f"width a network has between {least:,} and {most:,} FLOPs. Give a target in that "
            + (
                f"interval, or lower {limits}."
                if target_flops < least
                else "interval, or widen the network."
            )
        )


def held(graph: ChannelGraph) -> str:
    """What keeps channels besides rho and tau."""
    return "".join(
        f" The channels of '{channels.name}' all stay: {channels.holds[0]} names their number; "
        "take it from the tensor's shape instead."
        for channels in graph.sets
        if channels.holds
    )


def protect(graph: ChannelGraph, scores: NDArray[np.float64], floor: list[int]) -> Mask:
    """What is never removed: frozen and unscored elements, the best of each set, strays.

    Args:
        scores: ``(elements,)``; infinite for what has none.
        floor: for each set of the graph, how many elements always stay.

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
    return keep | np.isinf(scores)
