"""The published LW-DNA networks shrunk again, at the paper's FLOPs.

Only sizes are looked at, so photographs with arbitrary labels stand in for the datasets: the
latent gradients of an untrained network hardly depend on which natural images it sees.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2
from tqdm import tqdm

from lwdna.data.catalog import dataset_shape
from lwdna.data.images import find_images, read_image, to_gray, to_rgb
from lwdna.errors import BudgetError, DataError, TrainingError
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity, count
from lwdna.graph.labels import Groups
from lwdna.graph.prefixes import channels_left
from lwdna.graph.surgery import cut, verify
from lwdna.networks.build import build
from lwdna.networks.registry import TABLES_WITHOUT_BATCH_NORM, input_shape
from lwdna.networks.zoo import ChannelList
from lwdna.shrinkage.budget import Budget, floors, select
from lwdna.shrinkage.gradients import LossFunction
from lwdna.shrinkage.settings import Settings
from lwdna.shrinkage.shrink import score

logger = logging.getLogger(__name__)

CRITERIA: dict[str, dict[str, Any]] = {
    "gradient": {"criterion": "gradient", "warmup_steps": 0},
    "gradient, one warm-up step": {"criterion": "gradient", "warmup_steps": 1},
    "magnitude": {"criterion": "magnitude", "warmup_steps": 0},
}
"""The paper's text; the authors' code; what the published code of ResNet50 does."""

LISTS = {
    "gradient": "lw-dna",
    "gradient, one warm-up step": "lw-dna-warmup",
    "magnitude": "lw-dna-magnitude",
}
"""By criterion, what the list of channels is called (:mod:`lwdna.networks.zoo`)."""

SOURCE = "LW-DNA (CVPR 2021), shrunk again by make complexity; not the authors' own networks"
"""Of these lists."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of natural images on the scale 0-1; ImageNet's."""
SIGMA = 70.0
"""Of the noise in denoising, on the scale 0-255 (Table 2)."""

_MOST_CALLS = 1_000_003
"""More batches than a shrinkage draws, so that no two seeds meet."""


@dataclass(frozen=True)
class Row:
    """A published LW-DNA network."""

    table: int
    flops_g: str
    """As printed; the budget."""
    params_m: str
    """As printed."""
    rho: float | None
    """None where the paper does not state it."""
    tau: float
    ablation: bool = False
    """Whether its table has several rows of the network, which rho and tau tell apart."""

    @property
    def target(self) -> float:
        """The budget in FLOPs."""
        return float(self.flops_g) * 1e9


def published_rows(
    tables: Iterable[tuple[int, pd.DataFrame]],
    network: str,
    dataset: str | None,
    rho: float | None,
    tau: float,
) -> list[Row]:
    """The LW-DNA rows of the paper for a network; Table 3 states its own rho and tau.

    Args:
        tables: number and content of the paper's tables, with "network" and "method", and "dataset"
            or "rho" and "tau" where they have them.
        network: as printed in the tables.
        dataset: as printed, None for image restoration.
        rho: what the paper states for rows of Tables 1 and 2, None if it does not.
        tau: the same.
    """
    rows = []
    for number, table in tables:
        for line in table.to_dict("records"):
            about = line["network"], line.get("dataset"), line["method"]
            if about == (network, dataset, "LW-DNA"):
                stated, ablation = (rho, tau), "rho" in line
                if ablation:
                    stated = float(line["rho"]), float(line["tau"])
                rows.append(Row(number, line["flops_g"], line["params_m"], *stated, ablation))
    if not rows:
        where = f" on {dataset}" if dataset else ""
        raise DataError(f"The paper's tables have no LW-DNA row of {network}{where}.")
    return rows


def replicate(
    network: str,
    dataset: str | None,
    rows: Sequence[Row],
    folder: Path,
    *,
    seeds: Sequence[int],
    batch_size: int,
    width: float = 2.0,
    batches: int = 2,
    embedding: int = 8,
    patch_size: int | None = None,
    groups: Groups = "whole",
) -> pd.DataFrame:
    """Shrink a network to the sizes of its rows, by every criterion and seed.

    Args:
        network: name for ``lwdna.build``.
        dataset: for classification.
        rows: its published LW-DNA networks.
        folder: of photographs.
        seeds: one shrinkage each.
        batch_size: images in a batch.
        width: multiplier w of the network that is shrunk.
        batches: drawn for each gradient.
        embedding: dimension m of the hypernetwork.
        patch_size: height and width of the images; by default that of the dataset.
        groups: what grouped convolutions lose; see :func:`lwdna.shrink`.

    Returns:
        A row for each row of the paper, criterion and seed, with FLOPs and parameters; and of the
        first seed the numbers of channels, as ``list``, a
        :class:`lwdna.networks.zoo.ChannelList`.
    """
    size = patch_size or input_shape(network, dataset)[2]
    classes = dataset_shape(dataset).classes if dataset else None
    example = torch.empty(input_shape(network, dataset))
    batch_norm = not any(row.table in TABLES_WITHOUT_BATCH_NORM for row in rows)
    photographs = read_photographs(folder, gray=example.shape[1] == 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide = build(network, dataset=dataset, width=width)
    graph = ChannelGraph(wide, example, groups=groups)
    complexity = MaskedComplexity(graph, batch_norm=batch_norm)
    listed = {
        "network": network,
        "dataset": dataset,
        "input": tuple(example.shape),
        "count_batch_norm": batch_norm,
        "source": SOURCE,
        "width": width,
    }
    results = []
    progress = tqdm(total=len(CRITERIA) * len(seeds), desc=network, unit="shrinkage")
    for criterion, settings in CRITERIA.items():
        scores: list[NDArray[np.float64] | None] = []
        for seed in seeds:
            loss = photograph_loss(photographs, size, classes, batch_size, seed)
            asked = Settings(
                target_flops=math.inf,  # of many sizes, which do not matter to scores
                batches=batches,
                seed=seed,
                embedding=embedding,
                **settings,
            )
            try:
                scores.append(score(graph, wide, loss, asked))
            except TrainingError as error:
                if not settings["warmup_steps"]:
                    raise
                logger.warning("%s, %s, seed %d: %s", network, criterion, seed, error)
                scores.append(None)
            progress.update()
        for row in rows:
            shrinkage = _Shrinkage(graph, complexity, scores, row, listed)
            rho = _fit(shrinkage.misfit) if row.rho is None else row.rho
            for seed, mask in zip(seeds, shrinkage.masks(rho), strict=True):
                found = None
                if mask is not None:
                    small = cut(graph, wide, mask)
                    verify(graph, small, example, mask, complexity, batch_norm=batch_norm)
                    found = shrinkage.list_of(small, mask, criterion, rho, seed)
                results.append(
                    {
                        "table": row.table,
                        "dataset": dataset or "",
                        "network": network,
                        "criterion": criterion,
                        "rho": rho,
                        "tau": row.tau,
                        "fitted": row.rho is None,
                        "seed": seed,
                        "flops": None if mask is None else complexity.flops(mask),
                        "params": None if mask is None else complexity.params(mask),
                        "paper_flops_g": row.flops_g,
                        "paper_params_m": row.params_m,
                        "list": found if seed == seeds[0] else None,
                    }
                )
    progress.close()
    return pd.DataFrame(results).astype({"flops": "Int64", "params": "Int64"})


@dataclass(frozen=True)
class _Shrinkage:
    """A network, what its channels are worth by seed, and the row of the paper to come to."""

    graph: ChannelGraph
    complexity: MaskedComplexity
    scores: Sequence[NDArray[np.float64] | None]
    """None for a seed whose warm-up diverged."""
    row: Row
    listed: Mapping[str, Any]
    """What all lists of its channels have in common."""

    def masks(self, rho: float) -> list[Mask | None]:
        """What is kept, by seed."""
        budget = Budget(self.row.target, floors(self.graph.sets, rho, self.row.tau))
        return [
            None if scores is None else select(self.graph, self.complexity, scores, budget)
            for scores in self.scores
        ]

    def list_of(
        self, small: nn.Module, mask: Mask, criterion: str, rho: float, seed: int
    ) -> ChannelList:
        """The numbers of channels of a network that was cut out."""
        row = self.row
        fitted = " (fitted)" if row.rho is None else ""
        layers = [small.get_submodule(name) for name in self.graph.layers]
        return ChannelList(
            name=LISTS[criterion] + (f"-rho{rho:g}-tau{row.tau:g}" if row.ablation else ""),
            **self.listed,
            about=f"Table {row.table}, {row.flops_g} G FLOPs: {criterion}, rho {rho:g}{fitted}, "
            f"tau {row.tau:g}, seed {seed}",
            flops=self.complexity.flops(mask),
            params=self.complexity.params(mask),
            layer_macs=count(small, self.graph.example).layers,
            layer_params=sum(p.numel() for layer in layers for p in layer.parameters()),
            channels=channels_left(self.graph, mask),
        )

    def misfit(self, rho: float) -> float:
        """How far the mean number of parameters is from the printed one."""
        try:
            masks = self.masks(rho)
        except BudgetError:
            return math.inf
        sizes = [self.complexity.params(mask) for mask in masks if mask is not None]
        paper = float(self.row.params_m) * 1e6
        return abs(float(np.mean(sizes)) / paper - 1) if sizes else math.inf


def _fit(misfit: Callable[[float], float]) -> float:
    """The rho with the smallest misfit, in steps of 0.01; the smaller of equals."""
    coarse = min(range(0, 100, 5), key=lambda percent: misfit(percent / 100))
    fine = range(max(0, coarse - 4), min(100, coarse + 4) + 1)
    return min(fine, key=lambda percent: misfit(percent / 100)) / 100


def read_photographs(folder: Path, *, gray: bool) -> list[Tensor]:
    """The photographs in a folder, each ``(C, H, W)`` in bytes, in the order of their names."""
    images = []
    for path in find_images(folder):
        image = read_image(path)
        pixels = to_gray(image)[..., None] if gray else to_rgb(image)
        images.append(torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, 0))
    return images


def photograph_loss(
    photographs: Sequence[Tensor], size: int, classes: int | None, batch_size: int, seed: int
) -> LossFunction:
    """The loss of a network on a new batch of crops of photographs at each call.

    Args:
        photographs: ``(C, H, W)`` each, in bytes.
        size: height and width of the crops.
        classes: cross-entropy with arbitrary labels out of so many; None for denoising (L1).
        batch_size: crops in a batch.
        seed: of crops, flips, labels and noise.
    """
    crop = v2.RandomResizedCrop(size, antialias=True) if classes else v2.RandomCrop(size)
    augment = v2.Compose([crop, v2.RandomHorizontalFlip()])
    calls = itertools.count()

    def loss(network: nn.Module) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * _MOST_CALLS + next(calls))
            chosen = torch.randint(len(photographs), (batch_size,)).tolist()
            images = torch.stack([augment(photographs[number]) for number in chosen]).float()
            if classes is None:
                noisy = images + SIGMA * torch.randn_like(images)
                inputs, targets = noisy, images
            else:
                inputs = v2.functional.normalize(images / 255, MEAN, STD)
                targets = torch.randint(classes, (batch_size,))
        output = network(inputs)
        if classes is None:
            return functional.l1_loss(output, targets)
        return functional.cross_entropy(output, targets)

    return loss
