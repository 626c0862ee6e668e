"""``lwdna.prune``: a trained network without the channels of the lowest scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.inputs import as_inputs, check_data, unwrapped
from lwdna.graph.labels import Groups
from lwdna.networks.narrowing import Derivation
from lwdna.networks.provenance import note_trained, provenance_of
from lwdna.shrinkage.budget import Budget, floors, select
from lwdna.shrinkage.gradients import LossFunction
from lwdna.shrinkage.latents import scored_elements
from lwdna.shrinkage.settings import Scorer, Settings, asked_budget, require_scorer
from lwdna.shrinkage.shrink import own_scores
from lwdna.shrinkage.shrunk import Shrunk, derive

_NOTED = ("target_flops", "rho", "tau", "criterion", "seed", "batch_norm", "multiple_of", "groups")
"""Settings that a pruned network's file says; it has no latent vectors."""


def prune(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    criterion: Scorer,
    loss_fn: LossFunction | None = None,
    *,
    target_flops: float | None = None,
    flops_ratio: float | None = None,
    rho: float = Settings.rho,
    tau: float = Settings.tau,
    multiple_of: int = Settings.multiple_of,
    batch_norm: bool = Settings.batch_norm,
    groups: Groups = Settings.groups,
    seed: int = Settings.seed,
) -> Shrunk:
    """Cut a trained network down to a FLOPs budget: the channels of the highest scores stay.

    Args:
        model: any convolutional network that torch.fx can trace; it is not changed, and what
            stays of it keeps its weights.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        criterion: called with the channel graph, a copy of the network, the loss and the settings;
            returns ``(elements,)`` scores, such as :func:`lwdna.rivals.l1.score`.
        loss_fn: for the criterion, if it asks for one.
        target_flops: upper bound of the FLOPs by the paper's convention.
        flops_ratio: the same as a share of the FLOPs of ``model``; one of both.
        rho: least share of each channel set that stays (rounded down, at least 1).
        tau: the same for sets that feed the classifier.
        multiple_of: every channel set that is not frozen keeps a multiple of so many channels, or
            all of its own.
        batch_norm: count batch norm in the FLOPs.
        groups: what grouped convolutions lose; see :func:`lwdna.shrink`.
        seed: for the criterion, if it draws.

    Raises:
        BudgetError: if rho and tau cannot reach the target; names what they reach.
        GraphError: if the channels of the network cannot be followed.
        ConfigError: for arguments out of range, or scores that are none.
    """
    require_scorer(criterion)
    settings = Settings(
        target_flops=asked_budget(target_flops, flops_ratio),
        rho=rho,
        tau=tau,
        criterion=criterion,
        multiple_of=multiple_of,
        batch_norm=batch_norm,
        groups=groups,
        seed=seed,
    )
    model, inputs = check_data(unwrapped(model)), as_inputs(example_input)
    graph = ChannelGraph(model, inputs, groups=groups)
    complexity = MaskedComplexity(graph, batch_norm=batch_norm)
    if flops_ratio is not None:
        settings = replace(settings, target_flops=flops_ratio * complexity.flops(graph.full_mask()))
    scores = own_scores(criterion, graph, model, loss_fn, settings)
    scores[~scored_elements(graph, model)] = np.inf
    budget = Budget(settings.target_flops, floors(graph.sets, rho, tau), multiple_of)
    mask = select(graph, complexity, scores, budget)
    noted = {name: value for name, value in settings.noted().items() if name in _NOTED}
    pruned = derive(Derivation(graph, model, mask, inputs, complexity, like=model, settings=noted))
    note_trained(pruned.model, provenance_of(model).trained)
    return pruned
