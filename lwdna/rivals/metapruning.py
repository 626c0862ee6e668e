"""MetaPruning: widths found by evolution with generated weights (Liu et al., arXiv:1903.10258).

A PruningNet, whose weights are generated from the widths of the layers, is trained at random
widths. Evolution then looks for the widths within a window of FLOPs below the budget whose network
has the least error on training images held out for it. What it finds is trained anew by the
experiment's protocol.

As everywhere in this package, the last channels are chosen one by one to come as near to the budget
as whole channels can, and never above it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lwdna.data.batches import batch_of
from lwdna.errors import (
    require_above_zero,
    require_least,
    require_numbers,
    require_shares,
)
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.drawing import check_drawable, drawn_layers
from lwdna.graph.inputs import as_inputs
from lwdna.io import tensors
from lwdna.networks.narrowing import Derivation
from lwdna.rivals.evolution import Candidate, Evolution, Plan
from lwdna.rivals.held_out import hold_out
from lwdna.rivals.measuring import measures
from lwdna.rivals.pruning_net import PruningNet, RandomWidths, generators_size
from lwdna.rivals.search import Effort, Found
from lwdna.rivals.widths import Grid, Widths
from lwdna.shrinkage.budget import Budget, check_target, select
from lwdna.shrinkage.shrunk import derive
from lwdna.shrinkage.starts import begin
from lwdna.tasks.task import Task, task_for
from lwdna.tasks.trees import Tree, call, mapped
from lwdna.training import checkpoints
from lwdna.training.devices import pick_accelerator
from lwdna.training.loop import Training, train
from lwdna.training.protocol import Protocol
from lwdna.training.recalibration import recalibrate
from lwdna.training.sampler import batches_of, length

_LIMITS = "least_share or size of groups"
"""What keeps channels, for errors; a group is one in ``channel_groups``, rounded to ``divisor``."""

_DRAWS = 64
"""Sub-networks whose mean FLOPs a plan takes for those of random ones."""

_LEARNT = ("least_share", "channel_groups", "divisor", "held_out")
"""Settings that the PruningNet depends on: neither the budget nor the evolution."""


@dataclass(frozen=True)
class Settings:
    """Of a search by MetaPruning; the defaults are the authors' where they are known.

    Raises:
        ConfigError: if a value is out of range.
    """

    target_flops: float
    """Upper bound of the FLOPs by the paper's convention."""
    window: float = field(default=0.05, metadata={"help": "How far below, as a share."})
    """How far below the target the FLOPs of a candidate may be, as a share of it."""
    population: int = field(
        default=Plan.population, metadata={"help": "Candidates in an iteration."}
    )
    """Candidates in an iteration."""
    iterations: int = field(default=Plan.iterations, metadata={"help": "Populations measured."})
    """Populations that are measured."""
    parents: int = field(default=Plan.parents, metadata={"help": "Best so far, to come from."})
    """The best candidates so far, which the next ones come from."""
    mutants: int = field(default=Plan.mutants, metadata={"help": "Mutants in an iteration."})
    """Candidates that differ from a parent in some genes."""
    crossovers: int = field(
        default=Plan.crossovers, metadata={"help": "Crossovers in an iteration."}
    )
    """Candidates that have each gene from one of two parents."""
    probability: float = field(default=Plan.probability, metadata={"help": "That a gene mutates."})
    """That a gene of a mutant changes."""
    tries: int = field(default=Plan.tries, metadata={"help": "Draws for each candidate."})
    """Draws for each candidate wanted, most of which may miss the window."""
    least_share: float = field(default=0.1, metadata={"help": "Least share of channels."})
    """Share of each channel set that every sub-network has at least."""
    channel_groups: int = field(default=33, metadata={"help": "Groups in a channel set."})
    """Groups of channels in a set, which are drawn whole: the authors' step is 0.03."""
    divisor: int = field(default=1, metadata={"help": "Of the channels of a group."})
    """A group has a multiple of so many channels."""
    held_out: float = field(default=0.04, metadata={"help": "Share of images to measure on."})
    """Share of the training images that candidates are measured on, and training leaves out."""
    images: int = field(default=2048, metadata={"help": "Held out images measured on."})
    """Images that candidates are measured on, at most; they stay in memory."""
    calibration: int = field(default=5000, metadata={"help": "Images for batch norm."})
    """Training images by which batch norm is recalibrated for each candidate, in whole batches;
    they stay in memory."""
    batch_norm: bool = True
    """Whether batch norm counts in the FLOPs, as in Table 1 and not in Table 2."""

    def __post_init__(self) -> None:
        require_numbers(self)
        require_above_zero(self, "target_flops")
        require_least(self, channel_groups=1, divisor=1, images=2, calibration=1)
        require_shares(self, "window", "least_share", "held_out", ends=False)
        self.plan()

    def plan(self) -> Plan:
        """What evolution tries."""
        names = Plan.__dataclass_fields__
        return Plan(**{name: getattr(self, name) for name in names})

    @property
    def training(self) -> dict[str, Any]:
        """Those that the PruningNet depends on."""
        return {name: getattr(self, name) for name in _LEARNT}


def search(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    settings: Settings,
    **training: Unpack[Training],
) -> Found:
    """Search for a network within a FLOPs budget by MetaPruning, or go on with a search.

    The PruningNet does not depend on the budget: a search for another one goes on with it. It is
    not tested on the way, since batch norm keeps no statistics of networks of all widths.

    Args:
        model: the largest network: any that torch.fx can trace; it is not changed.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        settings: of the search.
        training: as of :func:`lwdna.training.loop.train`. The protocol is how the PruningNet
            learns.

    Raises:
        BudgetError: if the least share and the width cannot reach the target, or no network within
            the window is found.
        ConfigError: if a setting is not possible, or the protocol compiles.
        TrainingError: as of ``train``.
        GraphError: if the channels of the network cannot be followed.
    """
    wide = copy.deepcopy(model)
    graph = ChannelGraph(wide, example_input)
    complexity = MaskedComplexity(graph, batch_norm=settings.batch_norm)
    grid = _grid_of(graph, settings)
    target, seed = settings.target_flops, training["seed"]
    budget = Budget(target, grid.least.tolist(), limits=_LIMITS)
    check_target(graph, complexity, -grid.widths.place.astype(float), budget)
    window = ((1 - settings.window) * target, target)
    evolution = Evolution(complexity, grid, window, settings.plan(), seed=seed)
    evolution.check()
    layers = drawn_layers(graph, model)
    check_drawable(model, layers, "search by a method that keeps its weights")

    task = task_for(training["task"])
    learnt, held = hold_out(training["train_data"], settings.held_out, seed)
    training["train_data"], training["test_data"] = learnt, None
    training["key"] = {**(training.get("key") or {}), "metapruning": settings.training}
    network = PruningNet(graph, wide, seed=seed)
    history = train(wide, passes=RandomWidths(network, grid, seed=seed), **training)

    wide.to(pick_accelerator(training.get("accelerator", "auto")))
    measure = _Measuring(
        task,
        network,
        held,
        learnt,
        images=min(settings.images, length(held)),
        size=Protocol.read(training["protocol"]).batch_size,
        calibration=settings.calibration,
        seed=seed,
    )
    evolved = evolution.run(
        measure,
        path=_path(training, wide, example_input, settings),
        description=f"{training.get('description', 'search')}, evolution",
    )
    mask = filled(graph, complexity, grid, evolved.best, target)
    noted = {"method": "MetaPruning", "seed": seed, **asdict(settings)}
    shrunk = derive(
        Derivation(graph, model, mask, example_input, complexity, like=model, settings=noted)
    )
    begin(shrunk.model, "fresh", layers=layers, seed=seed)
    return Found(shrunk=shrunk, history=history, record=evolved)


def filled(
    graph: ChannelGraph,
    complexity: MaskedComplexity,
    grid: Grid,
    found: Candidate,
    target_flops: float,
) -> Mask:
    """What evolution found, and the channels that fit besides, in the proportions of its widths.

    Returns:
        ``(elements,)``.
    """
    widths, counts = grid.widths, np.array(found.counts, np.int64)
    scores = -widths.place / counts[widths.set_of]
    return select(graph, complexity, scores, Budget(target_flops, counts.tolist()))


def effort(
    model: nn.Module, example_input: Tensor, settings: Settings, *, images: float, epochs: int
) -> Effort:
    """As :meth:`lwdna.rivals.search.Rival.effort`, of an input (1, C, H, W)."""
    graph = ChannelGraph(model, example_input)
    complexity = MaskedComplexity(graph)
    grid = _grid_of(graph, settings)
    held, generator = settings.held_out * images, np.random.default_rng(0)
    drawn = [grid.widths.mask(grid.draw(generator)) for _ in range(_DRAWS)]
    mean = sum(map(complexity.flops, drawn)) / _DRAWS
    looked_at = settings.calibration + min(settings.images, held)
    candidates = settings.population * settings.iterations
    return Effort(
        trained=mean * (images - held) * epochs,
        run=candidates * looked_at * settings.target_flops,
        numbers=complexity.params(graph.full_mask()) + generators_size(graph, model),
    )


class MetaPruning:
    """The search as a rival; see :class:`lwdna.rivals.search.Rival`."""

    Settings = Settings
    help = (
        "Train what generates the weights of NETWORK, and find its widths by MetaPruning; the same "
        "command again resumes."
    )
    run = staticmethod(search)
    effort = staticmethod(effort)


class _Measuring:
    """Measures candidates on the same images, with batch norm recalibrated for each.

    Images are read once, when the first candidate is measured, and kept in main memory: read anew
    for each they would be tens of millions in one search.
    """

    def __init__(
        self,
        task: Task,
        network: PruningNet,
        held: Dataset[Any],
        learnt: Dataset[Any],
        *,
        images: int,
        size: int,
        calibration: int,
        seed: int,
    ) -> None:
        self.task, self.network, self.held, self.learnt = task, network, held, learnt
        self.images, self.size, self.seed = images, min(size, length(learnt)), seed
        self.batches = max(1, round(calibration / self.size))

    @cached_property
    def learnt_from(self) -> list[Tree]:
        """Inputs of training images, by which batch norm is recalibrated: each (B, ...)."""
        batches = batches_of(self.learnt, self.size, self.seed)
        return [inputs for inputs, _ in islice(batches, self.batches)]

    @cached_property
    def held_out(self) -> list[tuple[int, Any]]:
        """What candidates are measured on: how many images a batch has, and inputs and targets."""
        found = []
        for first in range(0, self.images, self.size):
            indices = range(first, min(first + self.size, self.images))
            found.append((len(indices), batch_of(self.held, [(0, index) for index in indices])))
        return found

    @torch.no_grad()
    def __call__(self, mask: Mask) -> tuple[float, float]:
        small = self.network.plain(mask).eval()
        recalibrate(small, self.learnt_from)
        device, sums = next(self.network.model.parameters()).device, np.zeros(2)
        for images, batch in self.held_out:
            inputs, targets = mapped(lambda x: x.to(device), batch)
            sums += images * np.array(measures(self.task, call(small, inputs), targets, images))
        error, loss = sums / self.images
        return float(error), float(loss)


def _grid_of(graph: ChannelGraph, settings: Settings) -> Grid:
    return Grid.of(
        Widths(graph),
        groups=settings.channel_groups,
        divisor=settings.divisor,
        lowest=settings.least_share,
    )


def _path(
    training: Training,
    wide: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    settings: Settings,
) -> Path:
    """Where the candidates of a search are kept, in a file named after what they depend on."""
    whole = {
        "key": training.get("key"),
        "data": training["task"],
        "network": tensors.digest(wide.state_dict()),
        "seed": training["seed"],
        "batch_size": Protocol.read(training["protocol"]).batch_size,
        "inputs": [list(x.shape) for x in as_inputs(example_input)],
        "metapruning": asdict(settings),
    }
    return Path(training["checkpoint_dir"]) / f"evolution-{checkpoints.name_of(whole)}.csv"
