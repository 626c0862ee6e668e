"""How Tables 1 to 4 are titled, explained and printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lwdna.errors import ConfigError

OURS, PAPER = "ours", "paper"
"""Values of the column ``section``: runs that reproduce no row of the paper, and its rows."""

RUN, NOT_RUN = "run", "not run"
"""Values of the column ``status``."""

NOT_SUPPLIED = "not in the supplied paper"

VERSUS = ("versus", "versus_low", "versus_high", "pairs", "excludes_zero")
"""Parts of a comparison by seeds: mean difference, interval, number of seeds, mark."""

PAPER_KEYS = ["dataset", "network", "method", "rho", "tau", "test_set"]
"""Columns that name a row of the paper."""


@dataclass(frozen=True)
class Measure:
    """A quantity measured on a test set."""

    column: str
    """Its column in ``metrics.csv``."""
    title: str
    decimals: int


@dataclass(frozen=True)
class Layout:
    """How a table is titled, explained and printed."""

    title: str
    caption: str
    measures: tuple[Measure, ...]
    keys: Mapping[str, str]
    """Columns that name a row, and their titles in Markdown."""
    flops_decimals: int
    params_decimals: int
    ratios: bool = True
    against: str | None = None
    """The method that all others are compared with, seed by seed."""


_TOP1 = Measure("top1_error_percent", "Top-1 error [%]", 2)


_PSNR = Measure("psnr_db", "PSNR [dB]", 2)


_SSIM = Measure("ssim", "SSIM", 4)


LAYOUTS: Mapping[int, Layout] = {
    1: Layout(
        title="Table 1: Image classification",
        caption="Baseline and Baseline KD are the original network trained without and with "
        "knowledge distillation; DHP KD is the DHP version trained with knowledge distillation. "
        "A lower error is better.",
        measures=(_TOP1,),
        keys={"dataset": "Dataset", "network": "Network", "method": "Method"},
        flops_decimals=4,
        params_decimals=3,
        against="Baseline KD",
    ),
    2: Layout(
        title="Table 2: Image denoising",
        caption="A higher PSNR is better. FLOPs are counted without batch norm, unless an "
        "experiment has count_batch_norm: this is how the paper's number for DnCNN comes about.",
        measures=(_PSNR,),
        keys={"network": "Network", "method": "Method", "test_set": "Test set"},
        flops_decimals=2,
        params_decimals=2,
        against="Baseline",
    ),
    3: Layout(
        title="Table 3: Ablation of rho and tau on MobileNetV1",
        caption="All rows are LW-DNA networks, at one FLOPs budget; the paper's are for "
        "MobileNetV1 on Tiny-ImageNet. A lower error is better.",
        measures=(_TOP1,),
        keys={"network": "Network", "dataset": "Dataset", "rho": "rho", "tau": "tau"},
        flops_decimals=4,
        params_decimals=3,
        ratios=False,
    ),
    4: Layout(
        title="Table 4: Image super-resolution",
        caption="Higher PSNR and SSIM are better. The material supplied with this project holds "
        "no numbers of the paper for super-resolution.",
        measures=(_PSNR, _SSIM),
        keys={"network": "Network", "method": "Method", "test_set": "Test set"},
        flops_decimals=2,
        params_decimals=3,
        against="Baseline",
    ),
}
"""The tables by number. A title or caption can be changed without running anything again."""


def layout_of(number: int) -> Layout:
    """The layout of a table.

    Raises:
        ConfigError: if there is no such table.
    """
    if number not in LAYOUTS:
        raise ConfigError(
            f"There is no table {number!r}; allowed: {', '.join(map(str, LAYOUTS))}. "
            "Correct the 'tables' of the experiment."
        )
    return LAYOUTS[number]
