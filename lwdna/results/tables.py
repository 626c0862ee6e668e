"""Tables: our numbers beside the paper's, as a data frame.

A number of ours appears only if a run or a count gave it. The paper's numbers come from ``paper/``
and are shown as printed there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lwdna.config.methods import BASELINES, METHODS
from lwdna.errors import ConfigError, DataError, nearest
from lwdna.io import project
from lwdna.results.layouts import (
    NOT_RUN,
    OURS,
    PAPER,
    RUN,
    VERSUS,
    Layout,
    Measure,
    layout_of,
)
from lwdna.results.statistics import paired_difference
from lwdna.tasks.kinds import REFERENCES, Table

Experiments: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The experiments of the configuration by name."""

_TITLES = {name: method.title for name, method in METHODS.items()}
"""Our methods, in the order of a table, and what they are called there."""

REFERENCE_TITLES = tuple(reference.title for reference in REFERENCES.values())
"""What results without a network are called, which a table shows above those of the networks."""

_NAMES = {title: name for name, title in _TITLES.items()} | {
    reference.title: reference.name for reference in REFERENCES.values()
}
"""By title in a table, the name in the column ``method`` of the metrics."""

BASELINE_TITLES = tuple(_TITLES[name] for name in BASELINES)
"""What the methods that train the network of the paper itself are called."""

_METRICS_COLUMNS = {"experiment", "method", "seed", "test_set", "flops", "params"}
_COMPLEXITY_COLUMNS = {"network", "dataset", "flops", "params"}


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
    """As :func:`lwdna.io.project.read_paper`, as a data frame."""
    return pd.DataFrame(project.read_paper(path))


def make_table(
    table: Table,
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
    name of its dataset (``cifar10``), in Table 2 ``bsd68`` and ``div2k-valid``. Above the rows of a
    network of restoration stands, for each test set, what is had without a network: the noisy
    input, or bicubic interpolation.

    Args:
        table: 1 classification, 2 denoising, 3 ablation of rho and tau, 4 super-resolution, or the
            kind of task that has a table of its own.
        paper: the paper's table, from :func:`read_paper`; None where it has none.
        metrics: one row for each run and test set: ``experiment``, ``method``, ``seed``,
            ``test_set``, ``flops`` (multiply-accumulates), ``params``, and the measures
            ``top1_error_percent``, ``psnr_db`` (dB), ``ssim``. It may be empty. References are
            in it by :data:`lwdna.tasks.kinds.REFERENCES`, with a seed that says nothing.
        complexity: ``network``, ``dataset``, ``flops``, ``params`` of the paper's baselines, as
            counted by us.
        experiments: the experiments of the configuration; those whose ``tables`` name this table
            are shown.
        scale: a label of runs below the paper's scale, or empty.

    Returns:
        Numbers of ours as floats (G, M, percent, dB; NaN where there is none), numbers of the
        paper as the text printed there. ``*_std`` is the sample standard deviation over ``n``
        seeds; ``*_difference`` is ours minus the paper's; ratios are relative to the Baseline of
        the same experiment, or of the same network of the paper; ``*_versus`` is the mean
        difference to Baseline KD (to Baseline where there is no distillation) over the ``pairs``
        seeds of both, with the bounds of its 95 % bootstrap interval; ``*_vs_paper`` is ``=`` where
        ours, rounded, has the paper's digits, and the difference of the rounded numbers elsewhere.
        A reference has an ``n`` of 1, and neither seeds, comparisons, FLOPs nor parameters.

    Raises:
        ConfigError: for an unknown table, or an experiment that claims a row the table lacks.
        DataError: if a column is missing or a run occurs twice.
    """
    columns = _columns(layout_of(table))
    builder = _Builder(
        table,
        printed=_printed(table, paper),
        metrics=metrics,
        complexity=complexity,
        experiments=experiments,
        scale=scale,
    )
    # Experiments of the paper whose rows are not supplied come last: the sort is stable.
    rows = sorted(builder.own_rows(), key=lambda row: row["section"] == PAPER)
    return pd.DataFrame([*rows, *builder.paper_rows()], columns=columns)


def _columns(layout: Layout) -> list[str]:
    names = ["section", "experiment", "label", "dataset", "network", "method", "rho", "tau"]
    names += ["test_set", "status", "n", "seeds"]
    for measure in layout.measures:
        names += [f"{measure.column}_{part}" for part in ("mean", "std", "paper", "difference")]
        names += [f"{measure.column}_{part}" for part in VERSUS if layout.against]
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


def _printed(table: Table, paper: pd.DataFrame | None) -> list[_Printed]:
    """The rows of the paper's table, one for each test set."""
    about = layout_of(table).paper
    if about is None:
        return []
    if paper is None:
        raise DataError(f"Table {table} needs the numbers of paper/table{table}.csv; give them.")
    _require(paper, about.columns, f"paper's table {table}")
    rows = []
    for record in paper.to_dict("records"):
        text = {str(name): as_text(value) for name, value in record.items()} | {**about.about}
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
            for column, test_set in about.values.items()
        ]
    return rows


class _Builder:
    """Rows of one table as dictionaries."""

    def __init__(
        self,
        table: Table,
        *,
        printed: Sequence[_Printed],
        metrics: pd.DataFrame,
        complexity: pd.DataFrame,
        experiments: Experiments,
        scale: str,
    ) -> None:
        self.table = table
        self.layout = layout_of(table)
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
            if table in experiment.get("tables", ())
        }
        self.claims = {name: self._claimed(name) for name in self.experiments}

    def own_rows(self) -> Iterator[dict[str, Any]]:
        """Experiments that reproduce no row of the paper."""
        for name, experiment in self.experiments.items():
            if self.claims[name]:
                continue
            unsupplied = self.layout.unsupplied and experiment.get("paper") is not None
            section = PAPER if unsupplied else OURS
            for method, test_set in [*self._references(name), *self._cells(name)]:
                yield self._row(section, name, method=method, test_set=test_set)

    def paper_rows(self) -> Iterator[dict[str, Any]]:
        """The paper's rows, and after each network what only we have of it."""
        for index, row in enumerate(self.printed):
            names: list[str] = [name for name in self.claims if row.group in self.claims[name]]
            if index == 0 or self.printed[index - 1].group != row.group:
                for name in names:
                    for method, test_set in self._references(name):
                        yield self._row(
                            PAPER, name, method=method, test_set=test_set, many=len(names)
                        )
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
        if claim is None or self.layout.paper is None:
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
                f"The experiment '{name}' says that it reproduces {given} of Table {self.table}, "
                f"which has no such row; {nearest(given, allowed)}"
            )
        settings = self._settings(name)
        return {
            row.group
            for row in rows
            if all(_same(ours, getattr(row, setting)) for setting, ours in settings.items())
        }

    def _settings(self, name: str | None) -> dict[str, Any]:
        """The settings of an experiment that tell its row from the others."""
        shrink = {} if name is None else self.experiments[name].get("shrink", {})
        return {setting: shrink.get(setting) for setting in self.layout.settings}

    def _runs(self, name: str | None, method: str, test_set: str | None = None) -> pd.DataFrame:
        """Rows of the metrics for a method or reference, by its title."""
        ours = _NAMES.get(method)
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
            if method != self.layout.about.get("method", method):
                continue
            runs = self._runs(name, method)
            if ours in experiment.get("methods", METHODS) or len(runs):
                for test_set in self._test_sets(name):
                    yield method, test_set

    def _references(self, name: str) -> Iterator[tuple[str, str]]:
        """What an experiment of restoration is compared with, by test set."""
        kind = self.experiments[name].get("task", {}).get("kind")
        if kind in REFERENCES:
            for test_set in self._test_sets(name):
                yield REFERENCES[kind].title, test_set

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
            there = as_text(record["dataset"])
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
        if (dataset or "input" in spec) and claim is None and printed is None:
            # What the network was built for may only share sizes with what it was trained on.
            dataset = str(experiment.get("train", dataset))
        settings = self._settings(name)
        row: dict[str, Any] = {
            "section": section,
            "experiment": name or "",
            # In the paper's section a label is shown only to tell experiments apart.
            "label": str(experiment.get("label", network)) if section == OURS or many > 1 else "",
            "dataset": dataset,
            "network": network,
            "method": method,
            "rho": printed.rho if printed else as_text(settings.get("rho")),
            "tau": printed.tau if printed else as_text(settings.get("tau")),
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
            row[f"{column}_paper"] = self.layout.unsupplied or theirs
            row[f"{column}_difference"] = (
                round(mean - float(theirs), 6) if mean is not None and theirs else None
            )
            row |= self._compared(name, method, test_set, measure)
        seeds = runs["seed"] if n and method not in REFERENCE_TITLES else ()
        row["n"] = n
        row["seeds"] = " ".join(map(str, seeds))
        row["status"] = RUN if n else NOT_RUN
        row["scale"] = self.scale if n else ""
        self._add_complexity(row, name, is_paper=section == PAPER, printed=printed)
        return row

    def _compared(
        self, name: str | None, method: str, test_set: str, measure: Measure
    ) -> dict[str, Any]:
        """The comparison with the same experiment's method of the layout, which has none itself."""
        against, column = self.layout.against, measure.column
        if against is None:
            return {}
        ours, theirs = (self._runs(name, title, test_set) for title in (method, against))
        found = None
        if column in ours and len(ours) and method not in (against, *REFERENCE_TITLES):
            found = paired_difference(
                ours.set_index("seed")[column], theirs.set_index("seed")[column]
            )
        values = (found.mean, found.low, found.high) if found else (None, None, None)
        rounded = [None if value is None else round(value, 6) for value in values]
        cells = (*rounded, found.pairs if found else 0, bool(found and found.excludes_zero))
        return {f"{column}_{part}": cell for part, cell in zip(VERSUS, cells, strict=True)}

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
            has_network = row["method"] not in REFERENCE_TITLES
            ours = self._mean(name, row["method"], kind) if has_network else None
            if ours is None and row["method"] in BASELINE_TITLES:
                ours = counted
            base = next(
                (
                    value
                    for method in BASELINE_TITLES
                    if (value := self._mean(name, method, kind)) is not None
                ),
                counted,
            )
            row[quantity] = None if ours is None else round(ours / unit, 9)
            row[f"{kind}_ratio_percent"] = _ratio(ours, base)
            theirs = getattr(printed, quantity) if printed else ""
            original = printed and theirs_by_method.get(
                (printed.dataset, printed.network, BASELINE_TITLES[0])
            )
            row[f"paper_{quantity}"] = self.layout.unsupplied or theirs
            row[f"paper_{kind}_ratio_percent"] = _ratio(
                _number(theirs), _number(getattr(original, quantity)) if original else None
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


def as_text(value: Any) -> str:
    """A cell as text; empty if there is none."""
    return "" if is_missing(value) else str(value)


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    return None if is_missing(value) else float(value)


def _same(ours: Any, theirs: str) -> bool:
    return ours is not None and math.isclose(float(ours), float(theirs))


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else round(100 * value / base, 4)


def decimals_of(printed: str) -> int:
    """How many decimals a number is printed with."""
    return len(printed.partition(".")[2])


def _versus(ours: float | None, theirs: str) -> str:
    """``=`` if ours rounds to the printed digits, else the difference of the rounded numbers."""
    if ours is None or not theirs:
        return ""
    decimals = decimals_of(theirs)
    rounded = f"{ours:.{decimals}f}"
    return "=" if rounded == theirs else f"{float(rounded) - float(theirs):+.{decimals}f}"
