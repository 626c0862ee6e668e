"""Tables 1 to 4: our numbers beside the paper's, as CSV for machines and Markdown for people.

A number of ours appears only if a run or a count gave it; otherwise the cell says ``not run`` or
``not counted``. The paper's numbers come from ``paper/`` and are shown as printed there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from markdown import markdown as render

from lwdna.errors import ConfigError, DataError, nearest
from lwdna.files import write_text
from lwdna.methods import BASELINES, METHODS
from lwdna.statistics import paired_difference

Experiments: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The experiments of the configuration by name."""

OURS, PAPER = "ours", "paper"
"""Values of the column ``section``: runs that reproduce no row of the paper, and its rows."""

RUN, NOT_RUN = "run", "not run"
"""Values of the column ``status``."""

NOT_COUNTED = "not counted"
NOT_SUPPLIED = "not in the supplied paper"

_TITLES = {name: method.title for name, method in METHODS.items()}
"""Our methods, in the order of a table, and what they are called there."""

_BASELINES = tuple(_TITLES[name] for name in BASELINES)
"""Methods that train the network of the paper itself, so that its complexity is known untrained."""

_HEAD = """<head>
<meta charset="utf-8">
<style>
body { font-family: sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid #ddd; text-align: left; }
th { border-bottom: 2px solid #444; }
</style>
</head>"""

_DISPLAY_NAMES = {
    "imagenet": "ImageNet",
    "tiny-imagenet": "Tiny-ImageNet",
    "cifar100": "CIFAR100",
    "cifar10": "CIFAR10",
    "bsd68": "BSD68",
    "div2k-valid": "DIV2K",
}

_PSNR_COLUMNS = {"psnr_bsd68_db": "bsd68", "psnr_div2k_db": "div2k-valid"}
"""Columns of ``paper/table2.csv`` and our names of their test sets."""

_ABLATION = {"dataset": "tiny-imagenet", "network": "MobileNetV1", "method": "LW-DNA"}
"""What every row of Table 3 is about."""

_VERSUS = ("vs_reference", "vs_reference_low", "vs_reference_high", "pairs", "excludes_zero")
"""Parts of the comparison with the reference: mean difference, interval, number of seeds, mark."""

_PAPER_KEYS = ["dataset", "network", "method", "rho", "tau", "test_set"]

_METRICS_COLUMNS = {"experiment", "method", "seed", "test_set", "flops", "params"}
_COMPLEXITY_COLUMNS = {"network", "dataset", "flops", "params"}


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
    reference: str | None = None
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
        reference="Baseline KD",
    ),
    2: Layout(
        title="Table 2: Image denoising",
        caption="A higher PSNR is better. FLOPs are counted without batch norm, which is how the "
        "paper's number for DnCNN comes about.",
        measures=(_PSNR,),
        keys={"network": "Network", "method": "Method", "test_set": "Test set"},
        flops_decimals=2,
        params_decimals=2,
        reference="Baseline",
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
        reference="Baseline",
    ),
}
"""The tables by number. A title or caption can be changed without running anything again."""


@dataclass(frozen=True)
class _Printed:
    """A row of the paper on one test set; numbers are the text printed there, or empty."""

    dataset: str
    network: str
    method: str
    rho: str
    tau: str
    test_set: str
    value: str
    flops_g: str
    params_m: str

    @property
    def group(self) -> tuple[str, ...]:
        return self.dataset, self.network, self.rho, self.tau


def read_paper(path: str | PathLike[str]) -> pd.DataFrame:
    """Read ``paper/table<number>.csv`` as text, so that the printed digits are kept.

    Raises:
        DataError: if the file is missing or no CSV.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The paper's numbers cannot be read from '{path}': {error}. The files belong to this "
            "repository; restore them from there."
        ) from error


def make_table(
    number: int,
    *,
    paper: pd.DataFrame | None,
    metrics: pd.DataFrame,
    complexity: pd.DataFrame,
    experiments: Experiments,
    scale: str = "",
) -> pd.DataFrame:
    """Put our results beside the paper's, a row for each network, method and test set.

    First come the experiments that reproduce no row of the paper (``section`` is ``ours``), then
    every row of the paper in its order (``paper``), followed by those methods and test sets of
    ours that the paper does not have for the network. A test set is the paper's if it has the
    name of its dataset (``cifar10``), in Table 2 ``bsd68`` and ``div2k-valid``.

    Args:
        number: 1 classification, 2 denoising, 3 ablation of rho and tau, 4 super-resolution.
        paper: the paper's table, from :func:`read_paper`; None for table 4.
        metrics: one row for each run and test set: ``experiment``, ``method``, ``seed``,
            ``test_set``, ``flops`` (multiply-accumulates), ``params``, and the measures
            ``top1_error_percent``, ``psnr_db`` (dB), ``ssim``. It may be empty.
        complexity: ``network``, ``dataset``, ``flops``, ``params`` of the paper's baselines, as
            counted by us.
        experiments: the experiments of the configuration; those whose ``tables`` name this table
            are shown.
        scale: a label of runs below the paper's scale, or empty.

    Returns:
        Numbers of ours as floats (G, M, percent, dB; NaN where there is none), numbers of the
        paper as the text printed there. ``*_std`` is the sample standard deviation over ``n``
        seeds; ``*_difference`` is ours minus the paper's; ratios are relative to the Baseline of
        the same experiment, or of the same network of the paper; ``*_vs_reference`` is the mean
        difference to the reference method (Baseline KD, or Baseline where there is no distillation)
        over the ``pairs`` seeds of both, with the bounds of its
        95 % bootstrap interval; ``*_vs_paper`` is ``=`` where
        ours, rounded, has the paper's digits, and the difference of the rounded numbers elsewhere.

    Raises:
        ConfigError: for an unknown table, or an experiment that claims a row the table lacks.
        DataError: if a column is missing or a run occurs twice.
    """
    columns = _columns(_layout(number))
    builder = _Builder(
        number,
        printed=_printed(number, paper),
        metrics=metrics,
        complexity=complexity,
        experiments=experiments,
        scale=scale,
    )
    # Table 4 has experiments of the paper, but no rows of it: a stable sort puts them last.
    rows = sorted(builder.own_rows(), key=lambda row: row["section"] == PAPER)
    return pd.DataFrame([*rows, *builder.paper_rows()], columns=columns)


def to_markdown(number: int, frame: pd.DataFrame, scale: str = "", title: str | None = None) -> str:
    """The table for people: title, scale, caption, and one Markdown table for each section.

    Args:
        number: of the table.
        frame: from :func:`make_table`.
        scale: the label printed above the numbers, or empty.
        title: replaces the title of :data:`LAYOUTS`.

    Raises:
        ConfigError: for an unknown table.
    """
    layout = _layout(number)
    blocks = [f"# {title or layout.title}"]
    if scale:
        blocks.append(f"**{escape(scale)}**")
    blocks.append(layout.caption)
    for section, heading in _headings(number, frame, scale).items():
        part = frame[frame["section"] == section]
        if len(part):
            blocks += [f"## {heading}", _markdown_rows(number, layout, part)]
    if frame.empty:
        blocks.append("Not run: no experiment of this configuration belongs to this table.")
    notes = _notes(number, layout) + _notes_on_methods(frame)
    blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def write_table(
    number: int,
    frame: pd.DataFrame,
    scale: str = "",
    *,
    csv: str | PathLike[str],
    markdown: str | PathLike[str],
    html: str | PathLike[str],
    title: str | None = None,
) -> None:
    """Write a table of :func:`make_table` as CSV, Markdown and HTML, each atomically.

    Equal tables give equal bytes. Arguments as in :func:`to_markdown`.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    text = to_markdown(number, frame, scale, title)
    write_text(html, to_html(text))
    write_text(csv, frame.to_csv(index=False, lineterminator="\n"))
    write_text(markdown, text)


def to_html(markdown: str) -> str:
    """A page that stands alone, from the Markdown of :func:`to_markdown`."""
    # Names come from the configuration: they are text, not markup.
    escaped = markdown.replace("&", "&amp;").replace("<", "&lt;")
    body = render(escaped, extensions=["tables"])
    return f'<!DOCTYPE html>\n<html lang="en">\n{_HEAD}\n<body>\n{body}\n</body>\n</html>\n'


def _layout(number: int) -> Layout:
    if number not in LAYOUTS:
        raise ConfigError(
            f"There is no table {number!r}; allowed: {', '.join(map(str, LAYOUTS))}. "
            "Correct the 'tables' of the experiment."
        )
    return LAYOUTS[number]


def _columns(layout: Layout) -> list[str]:
    names = ["section", "experiment", "label", "dataset", "network", "method", "rho", "tau"]
    names += ["test_set", "status", "n", "seeds"]
    for measure in layout.measures:
        names += [f"{measure.column}_{part}" for part in ("mean", "std", "paper", "difference")]
        names += [f"{measure.column}_{part}" for part in _VERSUS if layout.reference]
    for quantity in ("flops_g", "params_m"):
        kind = quantity.partition("_")[0]
        names += [quantity, f"{kind}_ratio_percent", f"paper_{quantity}"]
        names += [f"paper_{kind}_ratio_percent", f"{kind}_vs_paper"]
    return [*names, "scale"]


def _require(frame: pd.DataFrame, columns: set[str], what: str) -> None:
    missing = sorted(columns - set(frame.columns))
    if missing:
        raise DataError(
            f"The {what} lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns)) or 'none'}. Make it again with this version."
        )


def _printed(number: int, paper: pd.DataFrame | None) -> list[_Printed]:
    """The rows of the paper's table, one for each test set."""
    if number not in LAYOUTS or number == 4:
        return []
    required = {
        1: {"dataset", "network", "method", "top1_error_percent"},
        2: {"network", "method", *_PSNR_COLUMNS},
        3: {"rho", "tau", "top1_error_percent"},
    }[number] | {"flops_g", "params_m"}
    if paper is None:
        raise DataError(f"Table {number} needs the numbers of paper/table{number}.csv; give them.")
    _require(paper, required, f"paper's table {number}")
    values = _PSNR_COLUMNS if number == 2 else {"top1_error_percent": ""}
    fixed = _ABLATION if number == 3 else {}
    rows = []
    for record in paper.to_dict("records"):
        text = {str(name): _text(value) for name, value in record.items()} | fixed
        names = {name: text.get(name, "") for name in ("dataset", "network", "method")}
        settings = {name: text.get(name, "") for name in ("rho", "tau")}
        counts = {name: text[name] for name in ("flops_g", "params_m")}
        rows += [
            _Printed(
                **names,
                **settings,
                **counts,
                test_set=test_set or names["dataset"],
                value=text[column],
            )
            for column, test_set in values.items()
        ]
    return rows


class _Builder:
    """Rows of one table as dictionaries."""

    def __init__(
        self,
        number: int,
        *,
        printed: Sequence[_Printed],
        metrics: pd.DataFrame,
        complexity: pd.DataFrame,
        experiments: Experiments,
        scale: str,
    ) -> None:
        self.number = number
        self.layout = _layout(number)
        self.printed = printed
        self.scale = scale
        if len(metrics):
            _require(metrics, _METRICS_COLUMNS, "table of metrics")
            _require_unique(metrics)
        if len(complexity):
            _require(complexity, _COMPLEXITY_COLUMNS, "table of complexity")
        self.metrics = metrics
        self.complexity = complexity
        self.experiments = {
            name: experiment
            for name, experiment in experiments.items()
            if number in experiment.get("tables", ())
        }
        self.claims = {name: self._claimed(name) for name in self.experiments}

    def own_rows(self) -> Iterator[dict[str, Any]]:
        """Experiments that reproduce no row of the paper."""
        for name, experiment in self.experiments.items():
            if self.claims[name]:
                continue
            supposed = self.number == 4 and experiment.get("paper") is not None
            for method, test_set in self._cells(name):
                yield self._row(PAPER if supposed else OURS, name, method=method, test_set=test_set)

    def paper_rows(self) -> Iterator[dict[str, Any]]:
        """The paper's rows, and after each network what only we have of it."""
        for index, row in enumerate(self.printed):
            names: list[str] = [name for name in self.claims if row.group in self.claims[name]]
            known = bool(names) and row.method in _TITLES.values()
            for match in names if known else (None,):
                yield self._row(
                    PAPER,
                    match,
                    method=row.method,
                    test_set=row.test_set,
                    printed=row,
                    many=len(names),
                )
            last = index + 1 == len(self.printed) or self.printed[index + 1].group != row.group
            shown = {(r.method, r.test_set) for r in self.printed if r.group == row.group}
            for name in names if last else ():
                for method, test_set in self._cells(name):
                    if (method, test_set) not in shown:
                        yield self._row(
                            PAPER, name, method=method, test_set=test_set, many=len(names)
                        )

    def _claimed(self, name: str) -> set[tuple[str, ...]]:
        """The groups of the paper's rows that an experiment reproduces.

        Raises:
            ConfigError: if the table has nothing about the network it names.
        """
        claim = self.experiments[name].get("paper")
        if claim is None or self.number == 4:
            return set()
        network, dataset = claim.get("network"), claim.get("dataset")
        rows = [
            row
            for row in self.printed
            if row.network == network and (not row.dataset or row.dataset == dataset)
        ]
        if not rows:
            given = " / ".join(str(part) for part in (dataset, network) if part)
            allowed = {" / ".join(filter(None, (row.dataset, row.network))) for row in self.printed}
            raise ConfigError(
                f"The experiment '{name}' says that it reproduces {given} of Table {self.number}, "
                f"which has no such row; {nearest(given, allowed)}"
            )
        if self.number == 3:
            shrink = self.experiments[name].get("shrink", {})
            rows = [
                row
                for row in rows
                if _same(shrink.get("rho"), row.rho) and _same(shrink.get("tau"), row.tau)
            ]
        return {row.group for row in rows}

    def _runs(self, name: str | None, method: str, test_set: str | None = None) -> pd.DataFrame:
        """Rows of the metrics for a method, by the paper's name of it."""
        ours = {theirs: mine for mine, theirs in _TITLES.items()}.get(method)
        if name is None or ours is None or not len(self.metrics):
            return self.metrics.iloc[:0]
        chosen = (self.metrics["experiment"] == name) & (self.metrics["method"] == ours)
        if test_set is not None:
            chosen &= self.metrics["test_set"] == test_set
        return self.metrics[chosen].sort_values("seed", kind="stable")

    def _cells(self, name: str) -> Iterator[tuple[str, str]]:
        """Methods and test sets of an experiment: what it asks for, and what has been run."""
        experiment = self.experiments[name]
        for ours, method in _TITLES.items():
            if self.number == 3 and method != _ABLATION["method"]:
                continue
            runs = self._runs(name, method)
            if ours in experiment.get("methods", METHODS) or len(runs):
                for test_set in self._test_sets(name):
                    yield method, test_set

    def _test_sets(self, name: str) -> list[str]:
        asked = [str(test_set) for test_set in self.experiments[name].get("test", ())]
        if not len(self.metrics):
            return asked
        found = self.metrics.loc[self.metrics["experiment"] == name, "test_set"]
        return asked + sorted(set(found.astype(str)) - set(asked))

    def _counted(self, network: str, dataset: str) -> tuple[float | None, float | None]:
        """FLOPs and parameters of a network of the paper, as counted by us."""
        if not len(self.complexity):
            return None, None
        for record in self.complexity.to_dict("records"):
            there = _text(record["dataset"])
            if record["network"] == network and (not there or not dataset or there == dataset):
                return _number(record["flops"]), _number(record["params"])
        return None, None

    def _row(
        self,
        section: str,
        name: str | None,
        *,
        method: str,
        test_set: str,
        printed: _Printed | None = None,
        many: int = 1,
    ) -> dict[str, Any]:
        experiment = self.experiments[name] if name is not None else {}
        claim = experiment.get("paper") if section == PAPER else None
        spec = claim or experiment.get("network", {})
        network = printed.network if printed else str(spec.get("network") or spec.get("name", ""))
        dataset = printed.dataset if printed else str(spec.get("dataset") or "")
        if dataset and claim is None and printed is None:
            # What the network was built for may only share sizes with what it was trained on.
            dataset = str(experiment.get("train", dataset))
        settings = experiment.get("shrink", {}) if self.number == 3 else {}
        row: dict[str, Any] = {
            "section": section,
            "experiment": name or "",
            # In the paper's section a label is shown only to tell experiments apart.
            "label": str(experiment.get("label", network)) if section == OURS or many > 1 else "",
            "dataset": dataset,
            "network": network,
            "method": method,
            "rho": printed.rho if printed else _text(settings.get("rho")),
            "tau": printed.tau if printed else _text(settings.get("tau")),
            "test_set": test_set,
        }
        runs = self._runs(name, method, test_set)
        n = 0
        for measure in self.layout.measures:
            column = measure.column
            values = (runs[column] if column in runs else pd.Series()).dropna().astype(float)
            n = max(n, len(values))
            mean = round(float(values.mean()), 6) if len(values) else None
            row[f"{column}_mean"] = mean
            std = float(np.std(values.to_numpy(), ddof=1)) if len(values) > 1 else None
            row[f"{column}_std"] = None if std is None else round(std, 6)
            theirs = printed.value if printed else ""
            row[f"{column}_paper"] = NOT_SUPPLIED if self.number == 4 else theirs
            row[f"{column}_difference"] = (
                round(mean - float(theirs), 6) if mean is not None and theirs else None
            )
            row |= self._versus_reference(name, runs, test_set, measure)
        row["n"] = n
        row["seeds"] = " ".join(map(str, runs["seed"])) if n else ""
        row["status"] = RUN if n else NOT_RUN
        row["scale"] = self.scale if n else ""
        self._add_complexity(row, name, is_paper=section == PAPER, printed=printed)
        return row

    def _versus_reference(
        self, name: str | None, runs: pd.DataFrame, test_set: str, measure: Measure
    ) -> dict[str, Any]:
        """The comparison with the reference of the same experiment; empty for the reference."""
        reference, column = self.layout.reference, measure.column
        if reference is None:
            return {}
        theirs = self._runs(name, reference, test_set)
        found = None
        if column in runs and len(runs) and not runs.index.equals(theirs.index):
            found = paired_difference(
                runs.set_index("seed")[column], theirs.set_index("seed")[column]
            )
        values = (found.mean, found.low, found.high) if found else (None, None, None)
        rounded = [None if value is None else round(value, 6) for value in values]
        cells = (*rounded, found.pairs if found else 0, bool(found and found.excludes_zero))
        return {f"{column}_{part}": cell for part, cell in zip(_VERSUS, cells, strict=True)}

    def _add_complexity(
        self, row: dict[str, Any], name: str | None, *, is_paper: bool, printed: _Printed | None
    ) -> None:
        known = self._counted(row["network"], row["dataset"]) if is_paper else (None, None)
        theirs_by_method = {
            (other.dataset, other.network, other.method): other for other in self.printed
        }
        for index, (quantity, unit) in enumerate((("flops_g", 1e9), ("params_m", 1e6))):
            kind = quantity.partition("_")[0]
            counted = known[index]
            ours = self._mean(name, row["method"], kind)
            if ours is None and row["method"] in _BASELINES:
                ours = counted
            base = next(
                (
                    value
                    for method in _BASELINES
                    if (value := self._mean(name, method, kind)) is not None
                ),
                counted,
            )
            row[quantity] = None if ours is None else round(ours / unit, 9)
            row[f"{kind}_ratio_percent"] = _ratio(ours, base)
            theirs = getattr(printed, quantity) if printed else ""
            reference = printed and theirs_by_method.get(
                (printed.dataset, printed.network, _BASELINES[0])
            )
            row[f"paper_{quantity}"] = NOT_SUPPLIED if self.number == 4 else theirs
            row[f"paper_{kind}_ratio_percent"] = _ratio(
                _number(theirs), _number(getattr(reference, quantity)) if reference else None
            )
            row[f"{kind}_vs_paper"] = _versus(row[quantity], theirs)

    def _mean(self, name: str | None, method: str, column: str) -> float | None:
        """Mean over the seeds of a complexity, which does not depend on the test set."""
        runs = self._runs(name, method)
        if not len(runs):
            return None
        values = runs.drop_duplicates("seed")[column].dropna().astype(float)
        return float(values.mean()) if len(values) else None


def _require_unique(metrics: pd.DataFrame) -> None:
    keys = ["experiment", "method", "seed", "test_set"]
    twice = metrics[metrics.duplicated(keys)]
    if len(twice):
        run = ", ".join(f"{key} {twice.iloc[0][key]}" for key in keys)
        raise DataError(
            f"The metrics hold the same run twice ({run}); give each metrics.csv only once."
        )


def _text(value: Any) -> str:
    return "" if _missing(value) else str(value)


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    return None if _missing(value) else float(value)


def _same(ours: Any, theirs: str) -> bool:
    return ours is not None and math.isclose(float(ours), float(theirs))


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else round(100 * value / base, 4)


def _decimals(printed: str) -> int:
    return len(printed.partition(".")[2])


def _versus(ours: float | None, theirs: str) -> str:
    """``=`` if ours rounds to the printed digits, else the difference of the rounded numbers."""
    if ours is None or not theirs:
        return ""
    decimals = _decimals(theirs)
    rounded = f"{ours:.{decimals}f}"
    return "=" if rounded == theirs else f"{float(rounded) - float(theirs):+.{decimals}f}"


def _notes(number: int, layout: Layout) -> list[str]:
    """How to read the cells, for the foot of the table."""
    notes = [
        "Ours: mean ± sample standard deviation over n seeds; FLOPs and parameters are means over "
        "the seeds too. One multiply-accumulate is one FLOP, as in the paper."
    ]
    if layout.reference:
        notes.append(
            f"Against {layout.reference}: the mean difference over the seeds that both were run "
            "with, and its 95 % bootstrap interval; a star marks one of three seeds or more that "
            "excludes zero. Of few seeds such intervals are too narrow: of three it excludes zero "
            "whenever all differences have one sign, which chance alone brings about one time in "
            "four; and of many comparisons, some get a star by chance."
        )
    if layout.ratios:
        notes.append("Ratios are relative to the Baseline of the same network.")
    if number != 4:
        notes.append(
            "A difference is ours minus the paper's. (=) marks a count of ours that has the "
            "paper's printed digits; otherwise the difference of the rounded numbers stands there."
        )
        if layout.ratios:
            notes.append(
                "The paper's ratios are computed from the numbers it prints; in the last digits "
                "they can deviate from the ratios printed there."
            )
    return [*notes, "not run: no run gave this number. not counted: the network is not built here."]


def _notes_on_methods(frame: pd.DataFrame) -> list[str]:
    """What the methods are that are ours alone."""
    there = set(frame["method"])
    told = [f"{m.title}: {m.note}" for m in METHODS.values() if m.note and m.title in there]
    return ["; ".join(told) + "."] if told else []


def _headings(number: int, frame: pd.DataFrame, scale: str) -> dict[str, str]:
    own = "runs that reproduce no row of the paper"
    rows = frame[frame["section"] == PAPER]
    # Methods of ours that the paper lacks are no rows of it; two experiments may share a row.
    rows = rows[rows[f"{_layout(number).measures[0].column}_paper"] != ""]
    run = rows["status"].eq(RUN).groupby([rows[key] for key in _PAPER_KEYS]).any()
    paper = "Experiments of the paper" if number == 4 else "Rows of the paper"
    return {
        OURS: f"Demo: {own}" if scale else f"Our own {own}",
        PAPER: f"{paper}: {int(run.sum())} of {len(run)} results obtained here",
    }


def _markdown_rows(number: int, layout: Layout, part: pd.DataFrame) -> str:
    suffix = " / ratio [%]" if layout.ratios else ""
    titles = list(layout.keys.values())
    for measure in layout.measures:
        titles.append(f"{measure.title}, ours")
        if number != 4:
            titles += [f"{measure.title}, paper", "Difference"]
        if layout.reference:
            titles.append(f"Against {layout.reference} [95 %]")
    titles += ["Paper"] if number == 4 else []
    for quantity in ("FLOPs [G]", "Params [M]"):
        titles.append(f"{quantity}{suffix}, ours")
        if number != 4:
            titles.append(f"{quantity}{suffix}, paper")
    left = len(layout.keys)
    lines = [titles, [":--"] * left + ["--:"] * (len(titles) - left)]
    previous: list[str] = []
    for row in part.to_dict("records"):
        names = [_name_cell(column, row) for column in layout.keys]
        cells = names + _result_cells(number, layout, row)
        # A name is printed where it changes; numbers and what follows a change always.
        same = 0
        while number != 3 and same < left - 1 and names[: same + 1] == previous[: same + 1]:
            same += 1
        lines.append([""] * same + cells[same:])
        previous = names
    return "\n".join("| " + " | ".join(map(escape, line)) + " |" for line in lines)


def _name_cell(column: str, row: Mapping[Any, Any]) -> str:
    text = _text(row[column])
    if column == "network" and not _missing(row["label"]):
        return str(row["label"]) if row["section"] == OURS else f"{text} ({row['label']})"
    shown = _DISPLAY_NAMES.get(text, text)
    tested = _text(row["test_set"])
    if column == "dataset" and tested not in ("", text):
        tested = _DISPLAY_NAMES.get(tested, tested)
        return f"{shown}, tested on {tested}" if shown else tested
    return shown


def _result_cells(number: int, layout: Layout, row: Mapping[Any, Any]) -> list[str]:
    cells = []
    for measure in layout.measures:
        column = measure.column
        cells.append(_mean_cell(row, measure))
        if number != 4:
            difference = row[f"{column}_difference"]
            cells.append(_text(row[f"{column}_paper"]) or "-")
            cells.append("-" if _missing(difference) else f"{difference:+z.{measure.decimals}f}")
        if layout.reference:
            cells.append(_versus_cell(row, measure))
    if number == 4:
        cells.append(_text(row[f"{layout.measures[0].column}_paper"]))
    for quantity, decimals in (
        ("flops_g", layout.flops_decimals),
        ("params_m", layout.params_decimals),
    ):
        cells.append(_count_cell(row, quantity, decimals, ratios=layout.ratios))
        if number != 4:
            ratio = row[f"paper_{quantity.partition('_')[0]}_ratio_percent"]
            printed = _text(row[f"paper_{quantity}"])
            cells.append((_with_ratio(printed, ratio) if layout.ratios else printed) or "-")
    return cells


def _mean_cell(row: Mapping[Any, Any], measure: Measure) -> str:
    mean, std = row[f"{measure.column}_mean"], row[f"{measure.column}_std"]
    if _missing(mean):
        return NOT_RUN
    text = f"{mean:.{measure.decimals}f}"
    if not _missing(std):
        text += f" ± {std:.{measure.decimals}f}"
    return f"{text} (n={row['n']})"


def _versus_cell(row: Mapping[Any, Any], measure: Measure) -> str:
    """``-0.42 [-0.80, -0.10] *``; the star says that the interval excludes zero."""
    mean, low, high, pairs, marked = (row[f"{measure.column}_{part}"] for part in _VERSUS)
    if not pairs:
        return "-"
    texts = [
        "" if _missing(value) else f"{value:+z.{measure.decimals}f}" for value in (mean, low, high)
    ]
    if not texts[1]:
        return texts[0]
    star = " *" if marked else ""
    return f"{texts[0]} [{texts[1]}, {texts[2]}]{star}"


def _count_cell(row: Mapping[Any, Any], quantity: str, decimals: int, *, ratios: bool) -> str:
    kind = quantity.partition("_")[0]
    ours, printed = row[quantity], _text(row[f"paper_{quantity}"])
    if _missing(ours):
        untrained = row["section"] == PAPER and row["method"] in _BASELINES
        return NOT_COUNTED if untrained else NOT_RUN
    versus = _text(row[f"{kind}_vs_paper"])
    if versus:
        decimals = _decimals(printed)
    elif ours > 0:
        # Small demo networks get at least three significant digits.
        decimals = max(decimals, 2 - math.floor(math.log10(ours)))
    text = f"{ours:.{decimals}f}"
    if ratios:
        text = _with_ratio(text, row[f"{kind}_ratio_percent"], unknown=" / -")
    return f"{text} ({versus})" if versus else text


def _with_ratio(text: str, ratio: Any, unknown: str = "") -> str:
    """``0.0460 / 96.23``, as in the paper, which prints 100 with one decimal."""
    if not text:
        return ""
    if _missing(ratio):
        return text + unknown
    return f"{text} / 100.0" if ratio == 100 else f"{text} / {ratio:.2f}"


def escape(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
