"""AutoSlim: one network trained for all widths, then slimmed greedily (Yu and Huang, 1903.11728).

A slimmable network is trained by the sandwich rule, so that its sub-networks of first channels work
without training of their own. Channels are then removed group by group, each time those whose loss
costs the least accuracy on training images held out for it. The network that meets the budget is
trained anew by the experiment's protocol.

As everywhere in this package, the last channels are chosen one by one to come as near to the budget
as whole channels can, and never above it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from lwdna.errors import (
    ConfigError,
    require_above_zero,
    require_least,
    require_numbers,
    require_shares,
)
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.drawing import check_drawable, drawn_layers
from lwdna.graph.inputs import as_inputs
from lwdna.graph.operations import BATCH_NORMS
from lwdna.graph.slicing import SlicedNetwork
from lwdna.io import tensors
from lwdna.networks.narrowing import Derivation
from lwdna.rivals.held_out import Part, hold_out
from lwdna.rivals.measuring import Measure, measures
from lwdna.rivals.sandwich import Sandwich
from lwdna.rivals.search import Effort, Found
from lwdna.rivals.slimming import Slimming
from lwdna.rivals.widths import Counts, Grid, Widths
from lwdna.shrinkage.budget import Budget, check_target, select
from lwdna.shrinkage.shrunk import derive
from lwdna.shrinkage.starts import begin
from lwdna.tasks.task import Task, task_for
from lwdna.tasks.trees import mapped
from lwdna.training import checkpoints
from lwdna.training.checkpoints import Row
from lwdna.training.devices import pick_accelerator
from lwdna.training.loop import Training, train
from lwdna.training.protocol import Protocol
from lwdna.training.recalibration import recalibrate
from lwdna.training.sampler import batches_of, length

Start = Literal["fresh", "inherited"]

_LIMITS = "least_share or size of groups"
"""What keeps channels, for errors; a group is one in ``channel_groups``, rounded to ``divisor``."""

_DRAWS = 64
"""Sub-networks whose mean FLOPs a plan takes for those of random ones."""


@dataclass(frozen=True)
class Settings:
    """Of a search by AutoSlim; the defaults are the authors' where they are known.

    Raises:
        ConfigError: if a value is out of range.
    """

    target_flops: float
    """Upper bound of the FLOPs by the paper's convention."""
    passes: int = field(default=4, metadata={"help": "Sub-networks in a step."})
    """Sub-networks trained in a step: the largest, the smallest, the others at random."""
    least_share: float = field(default=0.1, metadata={"help": "Least share of channels."})
    """Share of each channel set that the smallest sub-network has, and every other at least."""
    channel_groups: int = field(default=10, metadata={"help": "Groups in a channel set."})
    """Groups of channels in a set, which are drawn and removed whole."""
    divisor: int = field(default=1, metadata={"help": "Of the channels of a group."})
    """A group has a multiple of so many channels."""
    held_out: float = field(default=0.04, metadata={"help": "Share of images to measure on."})
    """Share of the training images that the greedy search measures on, and training leaves out."""
    images: int = field(default=2048, metadata={"help": "Held out images measured on."})
    """Images in the batch that sub-networks are measured on, at most."""
    start: Start = field(
        default="fresh", metadata={"help": "Weights drawn anew, or those that were shared."}
    )
    """The weights that the network found starts from: drawn anew, or those that it shared."""
    calibration: int = field(default=5, metadata={"help": "Batches, for inherited weights."})
    """Batches of training images by which batch norm is recalibrated where weights are kept."""
    batch_norm: bool = True
    """Whether batch norm counts in the FLOPs, as in Table 1 and not in Table 2."""

    def __post_init__(self) -> None:
        require_numbers(self)
        require_above_zero(self, "target_flops")
        require_least(self, passes=2, channel_groups=1, divisor=1, images=2, calibration=1)
        require_shares(self, "least_share", "held_out", ends=False)
        if self.start not in ("fresh", "inherited"):
            raise ConfigError(f"start is '{self.start}'; give 'fresh' or 'inherited'.")

    @property
    def training(self) -> dict[str, Any]:
        """Those that the shared weights depend on: neither the budget nor how it is met."""
        names = ("passes", "least_share", "channel_groups", "divisor", "held_out")
        return {name: getattr(self, name) for name in names}


def search(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    settings: Settings,
    **training: Unpack[Training],
) -> Found:
    """Search for a network within a FLOPs budget by AutoSlim, or go on with a search.

    Shared weights and removals do not depend on the budget: another one goes on with them, and its
    network is that of a search for it alone.

    Args:
        model: the largest network: any that torch.fx can trace; it is not changed.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        settings: of the search.
        training: as of :func:`lwdna.training.loop.train`. The protocol is how the shared weights
            learn.

    Raises:
        BudgetError: if the least share and the width cannot reach the target; names what they
            reach.
        ConfigError: if a setting is not possible, or the protocol compiles.
        TrainingError: as of ``train``.
        GraphError: if the channels of the network cannot be followed.
    """
    wide = copy.deepcopy(model)
    graph = ChannelGraph(wide, example_input)
    complexity = MaskedComplexity(graph, batch_norm=settings.batch_norm)
    grid = grid_of(graph, settings)
    budget = Budget(settings.target_flops, grid.least.tolist(), limits=_LIMITS)
    check_target(graph, complexity, -grid.widths.place.astype(float), budget)
    layers = drawn_layers(graph, model)
    if settings.start == "fresh":
        check_drawable(model, layers, "keep the shared weights (start: inherited)")

    seed = training["seed"]
    task = task_for(training["task"])
    learnt, held = hold_out(training["train_data"], settings.held_out, seed)
    sliced = SlicedNetwork(graph, wide)
    history = _learn(sliced, grid, settings, learnt, training)

    wide.to(pick_accelerator(training.get("accelerator", "auto")))
    images = min(settings.images, length(held))
    identity = {
        "network": tensors.digest(wide.state_dict()),
        "images": images,
        "seed": seed,
        # The removals are noted with their FLOPs.
        "batch_norm": settings.batch_norm,
        "inputs": [list(x.shape) for x in as_inputs(example_input)],
    }
    slimming = Slimming(
        graph,
        complexity,
        grid,
        measure_on(task, wide, sliced, held, images),
        path=_path(training, identity | {"autoslim": settings.training}),
        description=f"{training.get('description', 'search')}, slimming",
    )
    trajectory = slimming.to(settings.target_flops)
    mask = select(graph, complexity, trajectory.scores(grid), budget)
    noted = {"method": "AutoSlim", "seed": seed, **asdict(settings)}
    whole = model if settings.start == "fresh" else wide.cpu()
    shrunk = derive(
        Derivation(graph, whole, mask, example_input, complexity, like=model, settings=noted)
    )
    if settings.start == "fresh":
        begin(shrunk.model, "fresh", layers=layers, seed=seed)
    else:
        size = Protocol.read(training["protocol"]).batch_size
        inputs = (inputs for inputs, _ in batches_of(learnt, size, seed))
        recalibrate(shrunk.model, islice(inputs, settings.calibration))
    return Found(shrunk=shrunk, history=history, record=trajectory)


def shared(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    settings: Settings,
    **training: Unpack[Training],
) -> nn.Module:
    """The network that learns at all widths, on the CPU: of a search that was made, at once.

    Args:
        model: as of :func:`search`.
        example_input: ``(B, C, H, W)``.
        settings: as of :func:`search`.
        training: likewise.

    Raises:
        ConfigError, TrainingError, GraphError: as of :func:`search`.
    """
    wide = copy.deepcopy(model)
    graph = ChannelGraph(wide, example_input)
    learnt, _ = hold_out(training["train_data"], settings.held_out, training["seed"])
    _learn(SlicedNetwork(graph, wide), grid_of(graph, settings), settings, learnt, training)
    return wide.cpu()


def effort(
    model: nn.Module, example_input: Tensor, settings: Settings, *, images: float, epochs: int
) -> Effort:
    """As :meth:`lwdna.rivals.search.Rival.effort`, of an input (1, C, H, W).

    Slimming is counted as if all channel sets became narrower together.
    """
    graph = ChannelGraph(model, example_input)
    complexity = MaskedComplexity(graph)
    grid = grid_of(graph, settings)
    held = settings.held_out * images

    def flops(counts: Counts) -> int:
        return complexity.flops(grid.widths.mask(counts))

    generator = np.random.default_rng(0)
    mean = sum(flops(grid.draw(generator)) for _ in range(_DRAWS)) / _DRAWS
    step = flops(grid.widths.full) + flops(grid.least) + (settings.passes - 2) * mean
    looked_at, counts = 0.0, grid.widths.full
    while (now := flops(counts)) > settings.target_flops:
        fewer = [grid.lower(counts, number) for number in range(len(counts))]
        looked_at += now * sum(choice is not None for choice in fewer)
        widest = np.argsort(-counts / grid.widths.full, kind="stable")
        choice = next((fewer[n] for n in widest if fewer[n] is not None), None)
        if choice is None:
            break
        counts = choice
    return Effort(
        trained=step * (images - held) * epochs,
        run=looked_at * min(settings.images, held),
        numbers=complexity.params(graph.full_mask()),
    )


class AutoSlim:
    """The search as a rival; see :class:`lwdna.rivals.search.Rival`."""

    Settings = Settings
    help = (
        "Train NETWORK at all widths and slim it greedily by AutoSlim; the same command again "
        "resumes."
    )
    run = staticmethod(search)
    effort = staticmethod(effort)


def _learn(
    sliced: SlicedNetwork, grid: Grid, settings: Settings, learnt: Part, training: Training
) -> list[Row]:
    """Train at all widths, or go on with it; changes what the training says of its data and key."""
    training["train_data"] = learnt
    training["key"] = {**(training.get("key") or {}), "autoslim": settings.training}
    sandwich = Sandwich(
        sliced,
        grid,
        passes=settings.passes,
        seed=training["seed"],
        soft=task_for(training["task"]).kind.distils,
    )
    return train(sliced.model, passes=sandwich, **training)


def grid_of(graph: ChannelGraph, settings: Settings) -> Grid:
    """The groups of channels of a network, as the settings have them."""
    return Grid.of(
        Widths(graph),
        groups=settings.channel_groups,
        divisor=settings.divisor,
        lowest=settings.least_share,
    )


def measure_on(
    task: Task, model: nn.Module, sliced: SlicedNetwork, data: Dataset[Any], images: int
) -> Measure:
    """What measures sub-networks on one batch, always the same, by whose statistics they normalise.

    Args:
        task: of the images.
        model: the network whose weights are shared, on its device; in evaluation mode from then on,
            but for batch norm.
        sliced: runs its sub-networks.
        data: indexed by (epoch, index).
        images: in the batch: the first ones.
    """
    device = next(model.parameters()).device
    batch = default_collate([data[0, index] for index in range(images)])
    inputs, targets = (mapped(lambda x: x.to(device), tree) for tree in batch)
    model.eval()
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.train()

    @torch.no_grad()
    def measure(mask: Mask) -> tuple[float, float]:
        return measures(task, sliced(mask, inputs), targets, images)

    return measure


def _path(training: Training, key: dict[str, Any]) -> Path:
    """Where the removals of a search are kept, in a file named after what they depend on."""
    whole = {"key": training.get("key"), "data": training["task"], **key}
    return Path(training["checkpoint_dir"]) / f"slimming-{checkpoints.name_of(whole)}.csv"
