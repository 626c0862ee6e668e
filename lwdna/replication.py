"""The complexity columns of Tables 1 to 3: our baselines, and the published sizes shrunk again.

Every LW-DNA row is shrunk again, at the paper's FLOPs, by each of three criteria. Only sizes are
looked at, so photographs with arbitrary labels stand in for the datasets: the latent gradients
of an untrained network hardly depend on which natural images it sees.

The paper states rho and tau for Tiny-ImageNet's MobileNetV1 (Table 3) and for ImageNet. For the
other rows they are *fitted*: rho is the value that brings our mean number of parameters nearest
to the printed one. One free number for one number shows what is possible, not what was done.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
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
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.complexity import complexity as count_complexity
from lwdna.graph.surgery import cut, verify
from lwdna.hypernet import LossFunction
from lwdna.networks.build import build
from lwdna.networks.registry import TABLES_WITHOUT_BATCH_NORM, input_shape
from lwdna.project import paper_table
from lwdna.shrink import floors, score, select
from lwdna.tables import read_paper

logger = logging.getLogger(__name__)

CRITERIA: dict[str, dict[str, Any]] = {
    "gradient": {"criterion": "gradient", "warmup_steps": 0},
    "gradient, one warm-up step": {"criterion": "gradient", "warmup_steps": 1},
    "magnitude": {"criterion": "magnitude", "warmup_steps": 0},
}
"""The paper's text; the authors' code; what the published code of ResNet50 does."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of natural images on the scale 0-1; ImageNet's."""
SIGMA = 70.0
"""Of the noise in denoising, on the scale 0-255 (Table 2)."""

AGREEMENT, FROM_MEAN = 0.025, 0.05
"""How far outside the range over our seeds, and from its mean, a printed number may lie and still
agree: a wide range alone is no agreement."""


def own_tables() -> tuple[tuple[int, Path], ...]:
    """Numbers and files of the tables that belong to the project.

    Raises:
        DataError: if the package is installed without them.
    """
    files = tuple((number, paper_table(number)) for number in (1, 2))
    for _, path in files:
        if not path.is_file():
            raise DataError(
                f"The paper's numbers are not at '{path}'; run from a clone of the project, "
                "installed with `pip install -e .`, or name the files with --table."
            )
    return files


def paper_baselines(number: int, path: Path) -> list[dict[str, Any]]:
    """Our counts of the baselines of one of the paper's tables, beside the printed ones."""
    rows = []
    printed = read_paper(path)
    for line in printed[printed["method"] == "Baseline"].to_dict("records"):
        network, dataset = line["network"], line.get("dataset")
        with torch.device("meta"):
            model = build(network, dataset=dataset)
        flops, params = count_complexity(
            model,
            torch.empty(input_shape(network, dataset), device="meta"),
            batch_norm=number not in TABLES_WITHOUT_BATCH_NORM,
        )
        rows.append(
            {
                "dataset": dataset,
                "network": network,
                "flops": flops,
                "params": params,
                "paper_flops_g": line["flops_g"],
                "paper_params_m": line["params_m"],
                "matches": _prints_as(flops / 1e9, line["flops_g"])
                and _prints_as(params / 1e6, line["params_m"]),
            }
        )
    return rows


def _prints_as(value: float, printed: str) -> bool:
    """Whether ``value``, rounded to as many decimals, is the number printed."""
    return f"{value:.{len(printed.partition('.')[2])}f}" == printed


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
        tables: number and content of the paper's tables.
        network: as printed in the tables.
        dataset: as printed, None for image restoration.
        rho: what the paper states for rows of Tables 1 and 2, None if it does not.
        tau: the same.
    """
    rows = []
    for number, table in tables:
        for line in table.to_dict("records"):
            if "rho" in line:  # the ablation
                if (network, dataset) == ("MobileNetV1", "tiny-imagenet"):
                    stated = float(line["rho"]), float(line["tau"])
                    rows.append(Row(number, line["flops_g"], line["params_m"], *stated))
            elif (line["network"], line.get("dataset"), line["method"]) == (
                network,
                dataset,
                "LW-DNA",
            ):
                rows.append(Row(number, line["flops_g"], line["params_m"], rho, tau))
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

    Returns:
        A row for each row of the paper, criterion and seed, with FLOPs and parameters.
    """
    size = patch_size or input_shape(network, dataset)[2]
    classes = dataset_shape(dataset).classes if dataset else None
    example = torch.empty(input_shape(network, dataset))
    batch_norm = not any(row.table in TABLES_WITHOUT_BATCH_NORM for row in rows)
    photographs = read_photographs(folder, gray=example.shape[1] == 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide = build(network, dataset=dataset, width=width)
    graph = ChannelGraph(wide, example)
    complexity = MaskedComplexity(graph, batch_norm=batch_norm)
    results = []
    progress = tqdm(total=len(CRITERIA) * len(seeds), desc=network, unit="shrinkage")
    for criterion, settings in CRITERIA.items():
        scores: list[NDArray[np.float64] | None] = []
        for seed in seeds:
            loss = photograph_loss(photographs, size, classes, batch_size, seed)
            options = settings | {"batches": batches, "seed": seed, "embedding": embedding}
            try:
                scores.append(score(graph, wide, loss, **options))
            except TrainingError as error:
                if not settings["warmup_steps"]:
                    raise
                logger.warning("%s, %s, seed %d: %s", network, criterion, seed, error)
                scores.append(None)
            progress.update()
        for row in rows:
            shrinkage = _Shrinkage(graph, complexity, scores, row)
            rho = _fit(shrinkage.misfit) if row.rho is None else row.rho
            for seed, mask in zip(seeds, shrinkage.masks(rho), strict=True):
                if mask is not None:
                    small = cut(graph, wide, mask)
                    verify(graph, small, example, mask, complexity, batch_norm=batch_norm)
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

    def masks(self, rho: float) -> list[Mask | None]:
        """What is kept, by seed."""
        floor = floors(self.graph.sets, rho, self.row.tau)
        return [
            None
            if scores is None
            else select(self.graph, self.complexity, scores, floor, self.row.target)
            for scores in self.scores
        ]

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


# -- tables ----------------------------------------------------------------------------------------


KEYS = ["table", "dataset", "network", "paper_flops_g", "paper_params_m", "rho_paper", "tau"]
"""What tells one row of the paper from the others."""


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and range over the seeds beside the paper's numbers, and whether they agree.

    Returns:
        A line for each row of the paper and criterion.
    """
    results = results.fillna({"dataset": ""})
    results = results.assign(rho_paper=results["rho"].where(~results["fitted"], np.nan))
    lines = []
    columns = [*KEYS, "criterion"]
    for names, group in results.groupby(columns, sort=False, dropna=False):
        line: dict[str, Any] = dict(zip(columns, names, strict=True))  # type: ignore[call-overload]
        paper = float(line["paper_params_m"])
        params = group["params"].astype(float) / 1e6
        least, most = params.min(), params.max()
        lines.append(
            line
            | {
                "fitted": bool(group["fitted"].iloc[0]),
                "rho": float(group["rho"].iloc[0]),
                "seeds": int(params.notna().sum()),
                "flops_g": group["flops"].astype(float).mean() / 1e9,
                "params_m": params.mean(),
                "params_m_min": least,
                "params_m_max": most,
                "difference_percent": 100 * (params.mean() / paper - 1),
                "agrees": bool(
                    least * (1 - AGREEMENT) <= paper <= most * (1 + AGREEMENT)
                    and abs(params.mean() / paper - 1) <= FROM_MEAN
                ),
            }
        )
    return pd.DataFrame(lines)


def sentence(lines: pd.DataFrame) -> str:
    """What the three criteria say of one row of the paper."""
    fitted = bool(lines["fitted"].iloc[0])
    agreeing = [_named(line) for line in lines[lines["agrees"]].to_dict("records")]
    rest = lines[~lines["agrees"]].sort_values("difference_percent", key=np.abs)
    others = [
        f"{_named(line)} gives {line['difference_percent']:+.1f} %"
        if line["seeds"]
        else f"{line['criterion']} diverges"
        for line in rest.to_dict("records")
    ]
    if agreeing:
        text = f"Consistent with {' and with '.join(agreeing)}"
    else:
        text = "None of the criteria gives the published number"
        text += " with any rho" if fitted else ""
    return f"{text}; {', '.join(others)}." if others else f"{text}."


def _named(line: dict[Any, Any]) -> str:
    return f"{line['criterion']}" + (f" (rho fitted: {line['rho']:.2f})" if line["fitted"] else "")


NOTES = (
    "Ours: mean over the seeds, in brackets their range. FLOPs are never above the paper's, "
    "which is the budget.",
    "rho and tau: the paper's where it states them. *: rho fitted to the printed number of "
    "parameters, separately for each criterion (tau 0.45, as everywhere in the paper): one free "
    "number for one number shows what is possible, not what the authors did.",
    "gradient: at initialisation, as in the paper's text. One warm-up step: as in the authors' "
    "code. magnitude: of the latent vectors, as in the published code for ResNet50.",
    f"A criterion agrees if the printed number lies within {100 * AGREEMENT:g} % of the range "
    f"over the seeds and our mean within {100 * FROM_MEAN:g} % of it.",
    "diverges: the loss after the warm-up step is not finite. The authors' step, SGD with a "
    "learning rate of 0.1, was made for classification.",
    "Images: crops of photographs with arbitrary labels. No network was trained here.",
)


def to_markdown(number: int, summary: pd.DataFrame) -> str:
    """A table for people, with a sentence for each row of the paper."""
    head = ["Dataset", "Network", "Criterion", "rho", "tau", "FLOPs [G], paper", "ours"]
    head += ["Params [M], paper", "ours", "Difference [%]", "Agrees"]
    lines = [head, [":--"] * 3 + ["--:"] * (len(head) - 3)]
    sentences = []
    for group in _blocks(summary):
        for position, line in enumerate(group.to_dict("records")):
            first = position == 0
            lines.append(
                [
                    line["dataset"] if first else "",
                    line["network"] if first else "",
                    line["criterion"],
                    f"{line['rho']:.2f}{'*' * line['fitted']}" if line["seeds"] else "-",
                    f"{line['tau']:.2f}",
                    line["paper_flops_g"] if first else "",
                    f"{line['flops_g']:.4f}" if line["seeds"] else "diverges",
                    line["paper_params_m"] if first else "",
                    _mean_and_range(line),
                    f"{line['difference_percent']:+.1f}" if line["seeds"] else "-",
                    "yes" if line["agrees"] else "no",
                ]
            )
        row = group.iloc[0]
        name = f"{row['network']}, {row['dataset']}" if row["dataset"] else row["network"]
        if number == 3:
            name += f", rho {row['rho']:g}, tau {row['tau']:g}"
        sentences.append(f"- **{name}.** {sentence(group)}")
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(f"- {note}" for note in NOTES)
    return (
        f"# Table {number}: FLOPs and parameters of the LW-DNA networks, shrunk again\n\n"
        f"{table}\n\n## In words\n\n" + "\n".join(sentences) + f"\n\n## Notes\n\n{notes}\n"
    )


def _mean_and_range(line: dict[Any, Any]) -> str:
    if not line["seeds"]:
        return "diverges"
    least, most = line["params_m_min"], line["params_m_max"]
    return f"{line['params_m']:.3f} [{least:.3f}, {most:.3f}]"


def _blocks(summary: pd.DataFrame) -> list[pd.DataFrame]:
    """The lines of each row of the paper."""
    return [lines for _, lines in summary.groupby(KEYS, sort=False, dropna=False)]
