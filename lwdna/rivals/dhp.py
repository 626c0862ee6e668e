"""DHP: latent vectors made sparse by proximal gradient descent (Li et al., arXiv:2003.13683).

The widened network learns through its hypernetworks by the ordinary loss. After each step of the
optimiser, every latent vector is moved towards 0 by soft-thresholding, ``prox(z) = sign(z)
max(|z| - lambda lr, 0)``. Channels whose element is smaller than a threshold T do not count; when
the FLOPs of those that do are near the target, the search is over. The network that is left
starts from the weights generated at that moment.

As everywhere in this package, the final threshold is moved to meet the target, never above it.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import (
    ConfigError,
    TrainingError,
    require_above_zero,
    require_least,
    require_numbers,
    require_shares,
)
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.networks.narrowing import Derivation
from lwdna.rivals.dhp_record import TRAJECTORY, LatentRecord
from lwdna.rivals.search import Effort, Found
from lwdna.shrinkage.budget import Budget, check_target, floors, protect, select
from lwdna.shrinkage.hypernetwork import LatentVectors, attach_hypernetwork, detach_hypernetwork
from lwdna.shrinkage.latents import (
    EMBEDDING,
    draw_latents,
    hypernetwork_size,
    scored_elements,
)
from lwdna.shrinkage.shrunk import derive
from lwdna.training.companion import Companion
from lwdna.training.loop import Training, train

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Of a search by DHP; the defaults are the authors' where all their scripts agree.

    Raises:
        ConfigError: if a value is out of range.
    """

    target_flops: float
    """Upper bound of the FLOPs by the paper's convention."""
    lambda_: float = field(metadata={"help": "Regularisation factor."})
    """The regularisation factor: a proximal step takes off lambda times the learning rate."""
    threshold: float = field(default=5e-3, metadata={"help": "Below it an element is 0."})
    """T: an element smaller than this does not count."""
    rho: float = field(default=0.0, metadata={"help": "Least share of each channel set."})
    """Least share of each latent vector that survives."""
    tau: float = field(
        default=0.45, metadata={"help": "The same of channel sets that feed the classifier."}
    )
    """The same of latent vectors that feed the classifier."""
    least: int = field(default=1, metadata={"help": "Channels of each set that stay."})
    """Least number of elements of each latent vector that survives."""
    stop_limit: float = field(default=0.02, metadata={"help": "Excess at which the search ends."})
    """The search ends when its FLOPs are above the target by less than this share of it."""
    check_every: int = field(default=100, metadata={"help": "Steps between two counts."})
    """Steps between two counts of the FLOPs."""
    embedding: int = field(
        default=EMBEDDING, metadata={"min": 1, "help": "Embedding dimension m of the hypernetwork."}
    )
    """The hypernetwork's embedding dimension m."""
    batch_norm: bool = True
    """Whether batch norm counts in the FLOPs, as in Table 1 and not in Table 2."""

    def __post_init__(self) -> None:
        require_numbers(self)
        require_above_zero(self, "target_flops", "threshold")
        if not 0 <= self.lambda_ < math.inf:
            raise ConfigError(f"lambda is {self.lambda_}; give a finite number of 0 or more.")
        require_shares(self, "rho", "tau", "stop_limit")
        require_least(self, least=1, check_every=1, embedding=1)


def search(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    settings: Settings,
    **training: Unpack[Training],
) -> Found:
    """Search for a network within a FLOPs budget by DHP, or go on with a search.

    Args:
        model: the widened network: any that torch.fx can trace; it is not changed.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        settings: of the search.
        training: as of :func:`lwdna.training.loop.train`. The protocol is how the hypernetworks
            learn; its epochs are the most that the search may take.

    Raises:
        BudgetError: if rho, tau and the width cannot reach the target; names what they reach.
        TrainingError: if the latent vectors are not sparse enough at the last epoch; or as of
            ``train``.
        GraphError: if the channels of the network cannot be followed.
    """
    wide = copy.deepcopy(model)
    graph = ChannelGraph(wide, example_input)
    complexity = MaskedComplexity(graph, batch_norm=settings.batch_norm)
    seed = training["seed"]
    z = draw_latents(graph, seed)
    latents = attach_hypernetwork(graph, wide, z, seed=seed, embedding=settings.embedding)
    proximal = _ProximalSteps(graph, wide, complexity, latents, settings)
    limits = "rho, tau or least" if settings.least > 1 else "rho or tau"
    budget = Budget(settings.target_flops, proximal.floor, limits=limits)
    check_target(graph, complexity, proximal.scores(), budget)
    training["key"] = {**(training.get("key") or {}), "dhp": asdict(settings)}
    history = train(wide, companion=proximal, **training)
    proximal.require_sparse(len(history))
    proximal.warn_if_sudden()
    mask = select(graph, complexity, proximal.scores(), budget)
    detach_hypernetwork(graph, wide)
    noted = {"method": "DHP", "seed": seed, **asdict(settings)}
    shrunk = derive(
        Derivation(graph, wide, mask, example_input, complexity, like=model, settings=noted)
    )
    return Found(shrunk=shrunk, history=history, record=proximal.noted())


def effort(
    model: nn.Module, example_input: Tensor, settings: Settings, *, images: float, epochs: int
) -> Effort:
    """As :meth:`lwdna.rivals.search.Rival.effort`, of an input (1, C, H, W)."""
    flops, params = complexity(model, example_input)
    # The hypernetworks, and what is not made by them.
    made = hypernetwork_size(ChannelGraph(model, example_input), model, settings.embedding)
    return Effort(trained=flops * images * epochs, numbers=params + made)


class DHP:
    """The search as a rival; see :class:`lwdna.rivals.search.Rival`."""

    Settings = Settings
    help = (
        "Widen NETWORK and make its latent vectors sparse by DHP; the same command again resumes."
    )
    run = staticmethod(search)
    effort = staticmethod(effort)


class _ProximalSteps(Companion):
    """Makes the latent vectors sparse, and says when they are sparse enough."""

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        complexity: MaskedComplexity,
        latents: LatentVectors,
        settings: Settings,
    ) -> None:
        self.graph, self.complexity, self.latents = graph, complexity, latents
        self.settings = settings
        self.floor = [
            min(len(channels), max(settings.least, count))
            for channels, count in zip(
                graph.sets, floors(graph.sets, settings.rho, settings.tau), strict=True
            )
        ]
        # By set, its elements that may become small: nothing else would make up for the others.
        free = scored_elements(graph, model) & ~graph.frozen
        self._free = [torch.from_numpy(free[channels.elements]) for channels in graph.sets]
        self._unscored = ~scored_elements(graph, model)
        for channels, vector in zip(graph.sets, latents.vectors, strict=True):
            # Several devices wait for the gradient of whatever is to have one.
            vector.requires_grad_(not self._unscored[channels.elements].all())
        self.record = {
            "trajectory": torch.zeros((0, len(TRAJECTORY)), dtype=torch.int64),
            "latents.0": self._elements(),
        }

    @property
    def complete(self) -> bool:
        """Whether the FLOPs were near the target when they were last counted."""
        trajectory = self.record["trajectory"]
        limit = (1 + self.settings.stop_limit) * self.settings.target_flops
        return len(trajectory) > 0 and int(trajectory[-1, 1]) <= limit

    def after_step(self, epoch: int, step: int, rate: float, *, last: bool) -> None:
        """Make the proximal step; count FLOPs and note the latent vectors if it is time."""
        self._shrink(self.settings.lambda_ * rate)
        if last or step % self.settings.check_every == 0:
            self._count(step)
        whole = f"latents.{epoch}" not in self.record
        if whole or self.complete:
            # The epoch that the search ends in is noted like the others, whole or not.
            self.record[f"latents.{epoch if whole else epoch + 1}"] = self._elements()

    @torch.no_grad()
    def _shrink(self, amount: float) -> None:
        """Soft-threshold the latent vectors that have more elements above T than have to stay."""
        for vector, free, count in zip(self.latents.vectors, self._free, self.floor, strict=True):
            if int((vector.abs() >= self.settings.threshold).sum()) > count:
                smaller = nn.functional.softshrink(vector, amount)
                vector.copy_(torch.where(free.to(vector.device), smaller, vector))

    def _count(self, step: int) -> None:
        """Note the FLOPs of what counts."""
        mask = self._mask()
        row = torch.tensor([[step, self.complexity.flops(mask), int(mask.sum())]])
        self.record["trajectory"] = torch.cat([self.record["trajectory"], row])

    def _mask(self) -> Mask:
        """What counts: elements of at least T, and what always stays."""
        scores = self.scores()
        return (scores >= self.settings.threshold) | self.protected(scores)

    def protected(self, scores: NDArray[np.float64]) -> Mask:
        """What always stays: ``(elements,)``."""
        return protect(self.graph, scores, self.floor)

    def scores(self) -> NDArray[np.float64]:
        """The magnitude of each latent element: ``(elements,)``; infinite if it makes no weight."""
        scores = self.latents.gather(gradients=False).abs().numpy()
        scores[self._unscored] = np.inf
        return scores

    def _elements(self) -> Tensor:
        """All latent vectors, one after the other, on the CPU."""
        return torch.cat([vector.detach().float().cpu() for vector in self.latents.vectors])

    def noted(self) -> LatentRecord:
        """What was noted on the way."""
        sizes = [len(vector) for vector in self.latents.vectors]
        epochs = sorted(
            int(name.removeprefix("latents.")) for name in self.record if name != "trajectory"
        )
        number = np.full(self.graph.elements, -1)
        for index, channels in enumerate(self.graph.sets):
            number[channels.elements] = index
        return LatentRecord(
            layers=tuple(self.graph.layers),
            layer_set=tuple(
                int(number[layer.outputs[layer.outputs >= 0][0]])
                for layer in self.graph.layers.values()
            ),
            latents={
                epoch: [
                    part.numpy() for part in torch.split(self.record[f"latents.{epoch}"], sizes)
                ]
                for epoch in epochs
            },
            trajectory=self.record["trajectory"].numpy(),
            settings={
                name.rstrip("_"): int(value) if isinstance(value, bool) else value
                for name, value in asdict(self.settings).items()
            },
        )

    def require_sparse(self, epochs: int) -> None:
        """Raise TrainingError unless the FLOPs came near the target."""
        if not self.complete:
            raise TrainingError(
                f"After {epochs} epochs of DHP's search {int(self.record['trajectory'][-1, 1]):,} "
                f"FLOPs are left, where the target is {self.settings.target_flops:,.0f}: at T = "
                f"{self.settings.threshold:g} the latent vectors are not sparse enough. Give "
                f"lambda more than {self.settings.lambda_:g}, a protocol of more epochs, or a "
                "larger threshold."
            )

    def warn_if_sudden(self) -> None:
        """Say so if the search was over when the FLOPs were counted for the first time."""
        trajectory = self.record["trajectory"]
        if len(trajectory) == 1:
            logger.warning(
                "The search by DHP was over at its first count of the FLOPs, after %d step(s), so "
                "that the random start may have chosen the channels more than what was learnt. Let "
                "it count more often (check_every is %d), or give a threshold below %g or a "
                "smaller lambda.",
                int(trajectory[0, 0]),
                self.settings.check_every,
                self.settings.threshold,
            )
