"""Network shrinkage: latent gradients, one global threshold, and a FLOPs budget met exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import ConfigError, require_function, shown
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.complexity import complexity as count_complexity
from lwdna.graph.drawing import check_drawable, drawn_layers
from lwdna.graph.inputs import as_inputs, check_data, unwrapped
from lwdna.graph.labels import Groups
from lwdna.graph.meta import duplicate, unchanged
from lwdna.graph.widening import check_factor
from lwdna.networks.narrowing import Derivation
from lwdna.networks.widening import widen_to_shrink
from lwdna.shrinkage.budget import Budget, check_target, floors, select
from lwdna.shrinkage.gradients import LossFunction, latent_gradients
from lwdna.shrinkage.latents import draw_latents, draw_weights, generator_for, scored_elements
from lwdna.shrinkage.settings import Criterion, Scorer, Settings, asked_budget
from lwdna.shrinkage.shrunk import Shrunk, derive
from lwdna.shrinkage.starts import OTHERWISE, Start, begin, put_back


def shrink(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    loss_fn: LossFunction | None,
    *,
    target_flops: float | None = None,
    flops_ratio: float | None = None,
    multiple_of: int = Settings.multiple_of,
    rho: float = Settings.rho,
    tau: float = Settings.tau,
    criterion: Criterion | Scorer = Settings.criterion,
    warmup_steps: int = Settings.warmup_steps,
    batches: int = Settings.batches,
    seed: int = Settings.seed,
    embedding: int = Settings.embedding,
    batch_norm: bool = Settings.batch_norm,
    start: Start = Settings.start,
    groups: Groups = Settings.groups,
    widen: float = 1,
) -> Shrunk:
    """Shrink a (widened) network to a FLOPs budget by its latent vectors (Sec. 1.2).

    Args:
        model: any convolutional network that torch.fx can trace; it is not changed. Its
            convolution weights do not matter: the latent vectors of ``seed`` draw new ones.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        loss_fn: called once a batch with a copy of the network in training mode; draws the next
            batch itself and returns the scalar loss. Needed for gradients and for warm-up.
        target_flops: upper bound of the FLOPs by the paper's convention.
        flops_ratio: the same as a share of the FLOPs of ``model``, as it is given; one of both.
        multiple_of: every channel set that is not frozen keeps a multiple of so many channels, or
            all of its own, so that hardware that works on 8 at a time, say, is used in full.
        rho: least share of each latent vector that survives (rounded down, at least 1).
        tau: the same for latent vectors that feed the classifier.
        criterion: "gradient" scores a latent element z by abs(dL/dz), "magnitude" by abs(z). As
            controls, "random" draws scores at random, and "uniform" keeps the same share of every
            latent vector: the network becomes narrower as a whole. A function of one's own is
            called as :data:`lwdna.shrinkage.settings.Scorer` says.
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
        groups: what grouped convolutions lose: "whole" groups, whose width stays, as in the
            authors' RegNets for CIFAR; or the same "positions" of every group, as in their code
            for ImageNet, so that the number of groups stays and the latent vector has an element
            for each position.
        widen: w: the network given is the baseline and is widened by :func:`lwdna.widen` first, as
            in the paper (2). Left out, it is wide enough as it is.

    Returns:
        The largest network in the order of scores that is not above the target.

    Raises:
        BudgetError: if rho, tau and the width cannot reach the target; names what they reach.
        GraphError: if the channels of the network cannot be followed.
        ConfigError: for arguments out of range, or if a layer cannot be drawn anew.
    """
    settings = Settings(
        target_flops=asked_budget(target_flops, flops_ratio),
        multiple_of=multiple_of,
        rho=rho,
        tau=tau,
        criterion=criterion,
        warmup_steps=warmup_steps,
        batches=batches,
        seed=seed,
        embedding=embedding,
        batch_norm=batch_norm,
        start=start,
        groups=groups,
    )
    factor = check_factor(widen)
    _check_loss(loss_fn, settings)
    model, example_input = check_data(unwrapped(model)), as_inputs(example_input)
    baseline = None
    if factor > 1:
        baseline = count_complexity(model, example_input, batch_norm=batch_norm)
        model = widen_to_shrink(model, example_input, factor, groups=groups, seed=seed)
    wide = duplicate(model)
    graph = ChannelGraph(wide, example_input, groups=groups)
    complexity = MaskedComplexity(graph, batch_norm=batch_norm)
    if flops_ratio is not None:
        whole = complexity.flops(graph.full_mask()) if baseline is None else baseline[0]
        settings = replace(settings, target_flops=flops_ratio * whole)
    layers = drawn_layers(graph, wide)
    if start != "generated":
        check_drawable(wide, layers, OTHERWISE)
    budget = Budget(settings.target_flops, floors(graph.sets, rho, tau), multiple_of)
    if all(complexity.same(channels.elements) for channels in graph.sets):
        # Which channels are kept makes no difference: a hopeless target need cost no time.
        unscored = np.where(scored_elements(graph, wide), 0.0, np.inf)
        check_target(graph, complexity, unscored, budget)
    with unchanged(wide):
        scores = score(graph, wide, loss_fn, settings)
    mask = select(graph, complexity, scores, budget)
    if start != "generated":
        put_back(wide, model, layers)
    noted = settings.noted()
    result = derive(
        Derivation(graph, wide, mask, example_input, complexity, like=model, settings=noted)
    )
    begin(result.model, start, layers=layers, seed=settings.seed)
    return result if baseline is None else result.beside(*baseline)


def score(
    graph: ChannelGraph, wide: nn.Module, loss_fn: LossFunction | None, settings: Settings
) -> NDArray[np.float64]:
    """Give a widened network its weights and every channel its score; see ``shrink``.

    Args:
        graph: the channel graph of ``wide``.
        wide: the network; its weights become those that the latent vectors generate, if anything
            reads them.

    Returns:
        ``(elements,)``: the higher, the rather kept; infinite for what no latent vector controls.

    Raises:
        ConfigError: if gradients are wanted without a loss, or a criterion of one's own gives
            something else than a number for each element.
    """
    criterion, seed = settings.criterion, settings.seed
    if settings.needs_loss:
        _check_loss(loss_fn, settings)
        assert loss_fn is not None
        with _seeded(wide, seed):
            z, gradients = latent_gradients(
                graph,
                wide,
                loss_fn,
                batches=settings.batches,
                warmup_steps=settings.warmup_steps,
                seed=seed,
                embedding=settings.embedding,
            )
    else:
        z, gradients = draw_latents(graph, seed), np.zeros(graph.elements)
        if settings.reads_weights:
            draw_weights(graph, wide, z, seed=seed, embedding=settings.embedding)
    if criterion == "gradient":
        scores = np.abs(gradients)
    elif criterion == "magnitude":
        scores = np.abs(z.numpy())
    elif criterion == "random":
        drawn = torch.rand(graph.elements, generator=generator_for(seed, "scores"))
        scores = drawn.double().numpy()
    elif criterion == "uniform":
        scores = _evenly(graph)
    else:
        scores = own_scores(criterion, graph, wide, loss_fn, settings)
    scores[~scored_elements(graph, wide)] = np.inf
    return scores


def _check_loss(loss_fn: LossFunction | None, settings: Settings) -> None:
    """Refuse a loss that does not take a network, and none where one is needed."""
    give = (
        "a function that is called with the network alone, draws the next batch x, y, and returns "
        "the loss on it, such as cross_entropy(network(x), y)"
    )
    if loss_fn is not None:
        require_function(loss_fn, 1, "The loss", give)
    elif settings.needs_loss:
        without = ", ".join(f"{name}={value!r}" for name, value in settings.without_loss.items())
        raise ConfigError(
            f"No loss was given, but {settings.needs_loss} needs a loss function; give {give}; or "
            f"shrink without one, by {without}."
        )


def _evenly(graph: ChannelGraph) -> NDArray[np.float64]:
    """Scores by which a threshold leaves the same share of every set: ``(elements,)``."""
    scores = np.zeros(graph.elements)
    for channels in graph.sets:
        scores[channels.elements] = np.linspace(1, 0, len(channels), endpoint=False)
    return scores


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Let what is drawn by PyTorch on the devices of a network follow from a seed alone."""
    cuda = [p.device for p in model.parameters() if p.device.type == "cuda"][:1]
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield


def own_scores(
    criterion: Scorer,
    graph: ChannelGraph,
    model: nn.Module,
    loss_fn: LossFunction | None,
    settings: Settings,
) -> NDArray[np.float64]:
    """The scores ``(elements,)`` of a criterion of one's own, which draws from the seed.

    Raises:
        ConfigError: if they are not a finite number for each element.
    """
    with _seeded(model, settings.seed):
        given = criterion(graph, duplicate(model), loss_fn, settings)
    try:
        scores = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"A criterion gave {shown(given)}; let it return a finite number for each of the "
            f"{graph.elements} elements of the channel graph."
        ) from error
    shaped = scores.shape == (graph.elements,)
    if not shaped or not np.isfinite(scores).all():
        what = "that are not all finite" if shaped else f"of shape {scores.shape}"
        raise ConfigError(
            f"A criterion gave scores {what}; let it return a finite number for each of the "
            f"{graph.elements} elements of the channel graph."
        )
    return scores
