"""Network shrinkage: latent gradients, one global threshold, and a FLOPs budget met exactly."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import BudgetError, ConfigError, nearest
from lwdna.graph.channels import ChannelGraph, ChannelSet, Mask, as_inputs
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.surgery import cut, verify
from lwdna.hypernet import (
    EMBEDDING,
    LossFunction,
    draw_latents,
    draw_weights,
    generator_for,
    latent_gradients,
    scored_classes,
)
from lwdna.networks.provenance import Shrinkage, provenance_of, set_provenance, write_summary
from lwdna.networks.weights import save
from lwdna.starts import START, STARTS, Start, begin, put_back

Criterion = Literal["gradient", "magnitude", "random", "uniform"]
CRITERIA = ("gradient", "magnitude", "random", "uniform")


@dataclass(frozen=True)
class Shrunk:
    """A shrunk network and what became of it."""

    model: nn.Module
    """A plain module, with the weights that its training starts from."""
    flops: int
    params: int
    kept: dict[str, list[int]]
    """By layer the indices of the output channels kept."""
    channels_before: dict[str, int]
    """By layer the number of output channels of the widened network."""
    flops_before: int
    params_before: int

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network as safetensors, to be read by ``lwdna.load``.

        The numbers of channels go into a JSON beside it: ``small.json`` for ``small.safetensors``.

        Raises:
            ConfigError: if the path does not end in ".safetensors".
            LwdnaError: if a file cannot be written.
        """
        summary = Path(path).with_suffix(".json")
        if Path(path).suffix != ".safetensors":
            raise ConfigError(
                f"The weights cannot be written to '{path}', which does not end in .safetensors; "
                "give a name that does: their JSON goes beside them."
            )
        save(self.model, path)
        write_summary(provenance_of(self.model), summary)

    def report(self) -> str:
        """Complexity before and after, and the channels kept by layer."""
        lines = [
            f"FLOPs  {self.flops_before:>15,} -> {self.flops:>15,} "
            f"({100 * self.flops / self.flops_before:.2f} %)",
            f"params {self.params_before:>15,} -> {self.params:>15,} "
            f"({100 * self.params / self.params_before:.2f} %)",
        ]
        width = max(map(len, self.kept))
        for name, kept in self.kept.items():
            before = self.channels_before[name]
            share = 100 * len(kept) / before
            lines.append(f"{name:<{width}} {before:>6} -> {len(kept):>6} ({share:.1f} %)")
        return "\n".join(lines)


def shrink(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    loss_fn: LossFunction | None,
    *,
    target_flops: float,
    rho: float = 0.2,
    tau: float = 0.45,
    criterion: Criterion = "gradient",
    warmup_steps: int = 0,
    batches: int = 2,
    seed: int = 0,
    embedding: int = EMBEDDING,
    batch_norm: bool = True,
    start: Start = START,
) -> Shrunk:
    """Shrink a (widened) network to a FLOPs budget by its latent vectors (Sec. 1.2).

    Args:
        model: any convolutional network that torch.fx can trace; it is not changed. Its
            convolution weights do not matter: the latent vectors of ``seed`` draw new ones.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        loss_fn: called once a batch with a copy of the network in training mode; draws the next
            batch itself and returns the scalar loss. Needed for gradients and for warm-up.
        target_flops: upper bound of the FLOPs by the paper's convention.
        rho: least share of each latent vector that survives (rounded down, at least 1).
        tau: the same for latent vectors that feed the classifier.
        criterion: "gradient" scores a latent element z by abs(dL/dz), "magnitude" by abs(z). As
            controls, "random" draws scores at random, and "uniform" keeps the same share of every
            latent vector: the network becomes narrower as a whole.
        warmup_steps: SGD steps of the explicit hypernetwork before gradients are read; 0 is the
            paper's text, 1 the authors' code.
        batches: how many batches are drawn. Warm-up steps use up the first ones; the gradients
            are averaged over the others (at least one). The authors' code: 2, one for each.
        seed: of the latent vectors, the hypernetwork and whatever randomness the forward pass has.
        embedding: the hypernetwork's embedding dimension m.
        batch_norm: count batch norm in the FLOPs, as Table 1 does and Table 2 does not.
        start: the weights that the network starts its training from; no difference to the channels
            kept. "fresh" are drawn by the ``reset_parameters()`` of each layer at its new size.
            "generated" are those that the latent vectors generate, as in the authors' code;
            "rescaled" the same, scaled layer by layer to the size of fresh ones.

    Returns:
        The largest network in the order of scores that is not above the target.

    Raises:
        BudgetError: if rho, tau and the width cannot reach the target; names what they reach.
        GraphError: if the channels of the network cannot be followed.
        ConfigError: for arguments out of range, or if a layer cannot be drawn anew.
    """
    _check(rho, tau, criterion, warmup_steps, start)
    for name, value in (("batches", batches), ("embedding", embedding)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; give at least 1.")
    wide = copy.deepcopy(model)
    graph = ChannelGraph(wide, example_input)
    complexity = MaskedComplexity(graph, batch_norm=batch_norm)
    floor = floors(graph.sets, rho, tau)
    if all(complexity.same(channels.classes) for channels in graph.sets):
        # Which channels are kept makes no difference: a hopeless target need cost no time.
        unscored = np.where(scored_classes(graph, wide), 0.0, np.inf)
        try:
            check_target(complexity, protect(graph, unscored, floor), target_flops)
        except BudgetError as error:
            raise BudgetError(f"{error}{_held(graph)}") from None
    scores = score(
        graph,
        wide,
        loss_fn,
        criterion=criterion,
        warmup_steps=warmup_steps,
        batches=batches,
        seed=seed,
        embedding=embedding,
    )
    try:
        mask = select(graph, complexity, scores, floor, target_flops)
    except BudgetError as error:
        raise BudgetError(f"{error}{_held(graph)}") from None
    if start != "generated":
        put_back(wide, model, graph.layers)
    result = derive(
        graph,
        wide,
        mask,
        example_input,
        complexity,
        modes=[module.training for module in model.modules()],
        settings={
            "target_flops": float(target_flops),
            "rho": float(rho),
            "tau": float(tau),
            "criterion": criterion,
            "warmup_steps": int(warmup_steps),
            "batches": int(batches),
            "seed": int(seed),
            "embedding": int(embedding),
            "batch_norm": bool(batch_norm),
            "start": start,
        },
    )
    begin(result.model, start, layers=graph.layers, seed=seed)
    return result


def derive(
    graph: ChannelGraph,
    wide: nn.Module,
    mask: Mask,
    example_input: Tensor | Sequence[Tensor],
    complexity: MaskedComplexity,
    *,
    modes: Sequence[bool],
    settings: Mapping[str, Any],
) -> Shrunk:
    """The plain network that a mask leaves of the widened one, checked against the prediction.

    Args:
        graph: the channel graph of ``wide``.
        wide: the widened network with ordinary weights; it is not changed.
        mask: ``(classes,)``.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        complexity: of ``graph``.
        modes: for each module whether it is to be in training mode.
        settings: how the mask came about, for the provenance; ``batch_norm`` must be among them.

    Raises:
        GraphError: if the network is not what the channel graph predicts.
    """
    small = cut(graph, wide, mask)
    verify(graph, small, example_input, mask, complexity, batch_norm=bool(settings["batch_norm"]))
    kept = graph.kept(mask)
    for module, training in zip(small.modules(), modes, strict=True):
        module.training = training
    shrinkage = Shrinkage(
        channels_before={name: len(layer.outputs) for name, layer in graph.layers.items()},
        flops_before=complexity.flops(graph.full_mask()),
        flops_after=complexity.flops(mask),
        params_before=complexity.params(graph.full_mask()),
        params_after=complexity.params(mask),
        inputs=[list(x.shape) for x in as_inputs(example_input)],
        settings=dict(settings),
    )
    set_provenance(small, provenance_of(wide).shrunk(kept, shrinkage))
    return Shrunk(
        model=small,
        flops=shrinkage.flops_after,
        params=shrinkage.params_after,
        kept=kept,
        channels_before=shrinkage.channels_before,
        flops_before=shrinkage.flops_before,
        params_before=shrinkage.params_before,
    )


def score(
    graph: ChannelGraph,
    wide: nn.Module,
    loss_fn: LossFunction | None,
    *,
    criterion: Criterion = "gradient",
    warmup_steps: int = 0,
    batches: int = 2,
    seed: int = 0,
    embedding: int = EMBEDDING,
) -> NDArray[np.float64]:
    """Give a widened network its weights and every channel its score; see ``shrink``.

    Args:
        graph: the channel graph of ``wide``.
        wide: the network; its weights become those that the latent vectors generate.

    Returns:
        ``(classes,)``: the higher, the rather kept; infinite for what no latent vector controls.
    """
    needs_loss = criterion == "gradient" or warmup_steps > 0
    if needs_loss and loss_fn is None:
        raise ConfigError(f"The criterion '{criterion}' needs a loss function, but it is None.")
    if needs_loss and loss_fn is not None:
        cuda = [p.device for p in wide.parameters() if p.device.type == "cuda"][:1]
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            z, gradients = latent_gradients(
                graph,
                wide,
                loss_fn,
                batches=batches,
                warmup_steps=warmup_steps,
                seed=seed,
                embedding=embedding,
            )
    else:
        z, gradients = draw_latents(graph, seed), np.zeros(graph.classes)
        draw_weights(graph, wide, z, seed=seed, embedding=embedding)
    if criterion == "gradient":
        scores = np.abs(gradients)
    elif criterion == "magnitude":
        scores = np.abs(z.numpy())
    elif criterion == "random":
        drawn = torch.rand(graph.classes, generator=generator_for(seed, "scores"))
        scores = drawn.double().numpy()
    else:
        scores = _evenly(graph)
    scores[~scored_classes(graph, wide)] = np.inf
    return scores


def _evenly(graph: ChannelGraph) -> NDArray[np.float64]:
    """Scores by which a threshold leaves the same share of every set: ``(classes,)``."""
    scores = np.zeros(graph.classes)
    for channels in graph.sets:
        scores[channels.classes] = np.linspace(1, 0, len(channels), endpoint=False)
    return scores


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
        scores: ``(classes,)``; what has an infinite score is never dropped.
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
        protected: what always stays: ``(classes,)``.
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


def _held(graph: ChannelGraph) -> str:
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
        scores: ``(classes,)``; infinite for what has none.
        floor: for each set of the graph, how many elements always stay.

    Returns:
        ``(classes,)``.
    """
    keep = graph.full_mask()
    for channels, count in zip(graph.sets, floor, strict=True):
        rank = np.where(channels.frozen, np.inf, scores[channels.classes])
        best = np.argsort(-rank, kind="stable")[: max(count, int(channels.frozen.sum()))]
        keep[channels.classes] = False
        keep[channels.classes[best]] = True
    for layer in graph.layers.values():
        for classes in (layer.inputs, layer.outputs):
            if (classes >= 0).all() and not keep[classes].any():
                # Its channels are a part of a set: one of them stays, or nothing is left to read.
                keep[classes[np.argmax(scores[classes])]] = True
    return keep | np.isinf(scores)


def _check(rho: float, tau: float, criterion: str, warmup_steps: int, start: str) -> None:
    for name, value in (("rho", rho), ("tau", tau)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}; give a share between 0 and 1.")
    if criterion not in CRITERIA:
        raise ConfigError(f"There is no criterion '{criterion}': {nearest(criterion, CRITERIA)}")
    if start not in STARTS:
        raise ConfigError(f"There is no start '{start}': {nearest(start, STARTS)}")
    if warmup_steps < 0:
        raise ConfigError(f"warmup_steps is {warmup_steps}; give 0 or more.")
