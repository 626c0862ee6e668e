"""How each table is titled, explained and printed: all that is said of a table by its name.

A kind of task that no table of the paper suits has a layout that is made from its entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lwdna.config.methods import METHODS
from lwdna.config.paper import PAPER_TABLES, PaperTable
from lwdna.errors import ConfigError
from lwdna.tasks.kinds import KINDS, Table, TaskKind, tables

OURS, PAPER = "ours", "paper"
"""Values of the column ``section``: runs that reproduce no row of the paper, and its rows."""

RUN, NOT_RUN = "run", "not run"
"""Values of the column ``status``."""

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
    compared: bool = True
    """Whether tables for people compare its means by seeds, where they compare any."""


@dataclass(frozen=True)
class Layout:
    """How a table is titled, explained and printed."""

    title: str
    caption: str
    measures: tuple[Measure, ...]
    keys: Mapping[str, str]
    """Columns that name a row, and their titles in Markdown."""
    flops_decimals: int = 4
    params_decimals: int = 3
    paper: PaperTable | None = None
    """The paper's table whose rows it has, beside ours; by default it has none."""
    unsupplied: str = ""
    """What stands for the numbers of the paper that experiments reproduce and that it lacks."""
    paper_heading: str = "Rows of the paper"
    """Above the rows of experiments that reproduce some of the paper."""
    settings: tuple[str, ...] = ()
    """Settings of shrinkage that tell its rows apart, and an experiment's row from the others."""
    repeats: bool = False
    """Whether every row has all its names, and not only those that differ from the row above."""
    ratios: bool = True
    published: Mapping[str, str] = field(default_factory=dict)
    """By method of a printed row, the list in ``lwdna/zoo/`` whose network it is of, where its
    numbers are of another convention."""
    prefix: str = ""
    """What stands before a method's name, for people."""
    against: str | None = None
    """The method that all others are compared with, seed by seed."""

    def settings_of(self, experiment: Mapping[str, Any]) -> dict[str, Any]:
        """What an experiment has of :attr:`settings`."""
        shrink = experiment.get("shrink", {})
        return {setting: shrink.get(setting) for setting in self.settings}

    @property
    def about(self) -> Mapping[str, str]:
        """What all rows of the paper's table are about; the method is the only one shown."""
        return self.paper.about if self.paper else {}


_TOP1 = Measure("top1_error_percent", "Top-1 error [%]", 2)
_PSNR = Measure("psnr_db", "PSNR [dB]", 2)
_SSIM = Measure("ssim", "SSIM", 4)

_KNOWN = {measure.column: measure for measure in (_TOP1, _PSNR, _SSIM)}
_UNITS = {"percent": "%", "db": "dB"}
"""By the end of a column's name."""

_TRAINED = {"dataset": "Dataset", "network": "Network", "method": "Method"}
_TESTED = {"network": "Network", "method": "Method", "test_set": "Test set"}
"""What names a row: where data tell rows apart, that of the training, or that of the test."""

_FOLLOWED = {**_TESTED, "convention": "Counted"}
"""The same, and how it was measured, where there are several ways."""

_restored = partial(Layout, keys=_TESTED, flops_decimals=2, against="Baseline")
"""A table of restored images."""


def _prefix_of(table: Table) -> str:
    return next(kind.prefix for kind in KINDS.values() if table in kind.tables)


LAYOUTS: Mapping[Table, Layout] = {
    1: Layout(
        title="Table 1: Image classification",
        caption="Baseline and Baseline KD are the original network trained without and with "
        "knowledge distillation; DHP KD is the DHP version trained with knowledge distillation. "
        "A lower error is better.",
        measures=(_TOP1,),
        keys=_TRAINED,
        paper=PAPER_TABLES[1],
        published={"AutoSlim": "autoslim-3005M"},
        against="Baseline KD",
    ),
    2: _restored(
        title="Table 2: Image denoising",
        caption="A higher PSNR is better. FLOPs are counted without batch norm, unless an "
        "experiment has count_batch_norm: this is how the paper's number for DnCNN comes about.",
        measures=(_PSNR,),
        params_decimals=2,
        paper=PAPER_TABLES[2],
    ),
    3: Layout(
        title="Table 3: Ablation of rho and tau on MobileNetV1",
        caption="All rows are LW-DNA networks, at one FLOPs budget; the paper's are for "
        "MobileNetV1 on Tiny-ImageNet. A lower error is better.",
        measures=(_TOP1,),
        keys={"network": "Network", "dataset": "Dataset", "rho": "rho", "tau": "tau"},
        paper=PAPER_TABLES[3],
        settings=("rho", "tau"),
        repeats=True,
        ratios=False,
    ),
    4: _restored(
        title="Table 4: Image super-resolution",
        caption="Higher PSNR and SSIM are better. The material supplied with this project holds "
        "no numbers of the paper for super-resolution.",
        measures=(_PSNR, _SSIM),
        unsupplied="not in the supplied paper",
        paper_heading="Experiments of the paper",
    ),
    5: Layout(
        title="Table 5: Visual tracking",
        caption="DiMP trackers whose backbone starts from the Baseline, and from the LW-DNA "
        "network, all else alike (supplement, Sec. 2.2); but where the backbones' experiment has a "
        "teacher, LW-DNA's backbone was distilled and the Baseline's was not. AO is the mean "
        "overlap of all frames, SR the share of frames above an overlap, AUC, P and NP success and "
        "precision by sequence. "
        "FLOPs are those of a frame of the whole tracker, but for boxes, at the size of its search "
        "region; those of the backbone's part beside them. Parameters are those in use. Of a "
        "test set whose truth only a server has, what it takes is in results/runs/. The material "
        "supplied with this project "
        "holds no numbers of the paper for tracking.",
        measures=(
            Measure("average_overlap_percent", "AO [%]", 1),
            Measure("success_rate_50_percent", "SR 0.5 [%]", 1, compared=False),
            Measure("success_rate_75_percent", "SR 0.75 [%]", 1, compared=False),
            Measure("success_auc_percent", "AUC [%]", 1),
            Measure("precision_percent", "P [%]", 1, compared=False),
            Measure("normalised_precision_percent", "NP [%]", 1, compared=False),
            Measure("backbone_flops_g", "Backbone FLOPs [G]", 4, compared=False),
        ),
        keys=_FOLLOWED,
        against="Baseline",
        unsupplied="not in the supplied paper",
        paper_heading="Experiments of the paper",
        prefix=_prefix_of(5),
    ),
}
"""The paper's tables. A title or caption can be changed without running anything again."""


def layout_of(table: Table) -> Layout:
    """The layout of a table: a number of the paper's, or a kind of task that has its own.

    Raises:
        ConfigError: if there is no such table.
    """
    if table in LAYOUTS:
        return LAYOUTS[table]
    if table in KINDS and table in tables():
        return _own(str(table), KINDS[str(table)])
    raise ConfigError(
        f"There is no table {table!r}; allowed: {', '.join(map(str, tables()))}. "
        "Correct the 'tables' of the experiment."
    )


def _own(name: str, kind: TaskKind) -> Layout:
    """The layout of a kind of task that the paper has no table of."""
    return Layout(
        title=name.replace("-", " ").capitalize(),
        caption=f"What the experiments of {name} gave; the paper has no such table.",
        measures=tuple(measure_of(column) for column in kind.measures.values()),
        keys=_TRAINED if kind.labelled else _TESTED,
        against=METHODS["baseline-kd" if kind.distils else "baseline"].title,
    )


def measure_of(column: str) -> Measure:
    """A measure, its title made from its column where none is written down."""
    name, _, unit = column.rpartition("_")
    if column in _KNOWN or unit not in _UNITS:
        return _KNOWN.get(column, Measure(column, _words(column), 4))
    return Measure(column, f"{_words(name)} [{_UNITS[unit]}]", 2)


def _words(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
