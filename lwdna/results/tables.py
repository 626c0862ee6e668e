"""Tables: our numbers beside the paper's, as a data frame.

A number of ours appears only if a run or a count gave it. The paper's numbers come from ``paper/``
and are shown as printed there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lwdna.config.methods import METHODS
from lwdna.results.cells import as_number, as_text, ratio, require_columns, versus
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
from lwdna.results.printed import Printed, claimed, printed_rows
from lwdna.results.runs import BASELINE_TITLES, REFERENCE_TITLES, TITLES, Runs, counted
from lwdna.results.statistics import paired_difference
from lwdna.tasks.kinds import REFERENCES, Table, kind_of

Experiments: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The experiments of the configuration by name."""

_COUNTS = {"network", "dataset", "flops", "params"}
"""Columns of the counts of the paper's baselines."""


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
        paper: the paper's table, from :func:`lwdna.results.printed.read_paper`; None where it has
            none.
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
        printed=printed_rows(table, paper),
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
    names += ["test_set", *(["convention", "synthetic"] if "convention" in layout.keys else [])]
    names += ["status", "n", "seeds"]
    for measure in layout.measures:
        names += [f"{measure.column}_{part}" for part in ("mean", "std", "paper", "difference")]
        names += [f"{measure.column}_{part}" for part in VERSUS if layout.against]
    for quantity in ("flops_g", "params_m"):
        kind = quantity.partition("_")[0]
        names += [quantity, f"{kind}_ratio_percent", f"paper_{quantity}"]
        names += [f"paper_{kind}_ratio_percent", f"{kind}_vs_paper"]
    return [*names, "scale"]


class _Builder:
    """Rows of one table as dictionaries."""

    def __init__(
        self,
        table: Table,
        *,
        printed: Sequence[Printed],
        metrics: pd.DataFrame,
        complexity: pd.DataFrame,
        experiments: Experiments,
        scale: str,
    ) -> None:
        self.layout = layout_of(table)
        self.printed = printed
        self.scale = scale
        self.runs = Runs(metrics)
        if len(complexity):
            require_columns(complexity, _COUNTS, "table of complexity")
        self.complexity = complexity
        self.experiments = {
            name: experiment
            for name, experiment in experiments.items()
            if table in experiment.get("tables", ())
        }
        self.claims = {
            name: claimed(table, printed, name, experiment)
            for name, experiment in self.experiments.items()
        }

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
            known = bool(names) and row.method in TITLES.values()
            # A network may have experiments for different methods, each by its own protocol.
            matches = [name for name in names if self._has(name, row.method)] or names[:1]
            for match in matches if known else (None,):
                yield self._row(
                    PAPER,
                    match,
                    method=row.method,
                    test_set=row.test_set,
                    printed=row,
                    many=len(matches),
                )
            last = index + 1 == len(self.printed) or self.printed[index + 1].group != row.group
            shown = {(r.method, r.test_set) for r in self.printed if r.group == row.group}
            for name in names if last else ():
                for method, test_set in self._cells(name):
                    if (method, test_set) not in shown:
                        yield self._row(
                            PAPER, name, method=method, test_set=test_set, many=len(names)
                        )

    def _has(self, name: str, method: str) -> bool:
        """Whether an experiment asks for a method, by its title, or has run it."""
        asked = self.experiments[name].get("methods", METHODS)
        return any(TITLES[ours] == method for ours in asked) or len(self.runs.of(name, method)) > 0

    def _cells(self, name: str) -> Iterator[tuple[str, str]]:
        """Methods and test sets of an experiment: what it asks for, and what has been run."""
        experiment = self.experiments[name]
        for ours, method in TITLES.items():
            if method != self.layout.about.get("method", method):
                continue
            runs = self.runs.of(name, method)
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
        """What an experiment asks for, and what has been run."""
        asked = [str(test_set) for test_set in self.experiments[name].get("test", ())]
        return asked + [found for found in self.runs.test_sets(name) if found not in asked]

    def _row(
        self,
        section: str,
        name: str | None,
        *,
        method: str,
        test_set: str,
        printed: Printed | None = None,
        many: int = 1,
    ) -> dict[str, Any]:
        row = self._names(section, name, printed, many=many)
        row |= {"method": method, "test_set": test_set, "convention": self._convention(name)}
        about = self.experiments[name] if name is not None else {}
        row["synthetic"] = test_set in about.get("synthetic", ())
        runs = self.runs.of(name, method, test_set)
        n = 0
        for measure in self.layout.measures:
            cells, values = self._measured(runs, measure, printed.value if printed else "")
            n = max(n, values)
            row |= cells | self._compared(name, method, test_set, measure)
        seeds = runs["seed"] if n and method not in REFERENCE_TITLES else ()
        row["n"] = n
        row["seeds"] = " ".join(map(str, seeds))
        row["status"] = RUN if n else NOT_RUN
        row["scale"] = self.scale if n else ""
        self._add_complexity(row, name, is_paper=section == PAPER, printed=printed)
        return row

    def _names(
        self, section: str, name: str | None, printed: Printed | None, *, many: int
    ) -> dict[str, Any]:
        """What a row is about, but for method and test set."""
        experiment = self.experiments[name] if name is not None else {}
        claim = experiment.get("paper") if section == PAPER else None
        spec = claim or experiment.get("network", {})
        network = printed.network if printed else str(spec.get("network") or spec.get("name", ""))
        dataset = printed.dataset if printed else str(spec.get("dataset") or "")
        if (dataset or "input" in spec) and claim is None and printed is None:
            # What the network was built for may only share sizes with what it was trained on.
            dataset = str(experiment.get("train", dataset))
        settings = self.layout.settings_of(experiment)
        return {
            "section": section,
            "experiment": name or "",
            # In the paper's section a label is shown only to tell experiments apart.
            "label": str(experiment.get("label", network)) if section == OURS or many > 1 else "",
            "dataset": dataset,
            "network": network,
            "rho": printed.rho if printed else as_text(settings.get("rho")),
            "tau": printed.tau if printed else as_text(settings.get("tau")),
        }

    def _convention(self, name: str | None) -> str:
        """How the results of an experiment are measured, where its kind has several ways."""
        experiment = self.experiments[name] if name is not None else {}
        usual = kind_of(experiment["task"]).conventions[:1] if "task" in experiment else ()
        return str(experiment.get("convention", "".join(usual)))

    def _measured(
        self, runs: pd.DataFrame, measure: Measure, theirs: str
    ) -> tuple[dict[str, Any], int]:
        """A measure of ours beside the paper's, and how many runs gave it."""
        column = measure.column
        values = (runs[column] if column in runs else pd.Series()).dropna().astype(float)
        mean = round(float(values.mean()), 6) if len(values) else None
        std = float(np.std(values.to_numpy(), ddof=1)) if len(values) > 1 else None
        difference = round(mean - float(theirs), 6) if mean is not None and theirs else None
        cells = {
            f"{column}_mean": mean,
            f"{column}_std": None if std is None else round(std, 6),
            f"{column}_paper": self.layout.unsupplied or theirs,
            f"{column}_difference": difference,
        }
        return cells, len(values)

    def _compared(
        self, name: str | None, method: str, test_set: str, measure: Measure
    ) -> dict[str, Any]:
        """The comparison with the same experiment's method of the layout, which has none itself."""
        against, column = self.layout.against, measure.column
        if against is None:
            return {}
        ours, theirs = (self.runs.of(name, title, test_set) for title in (method, against))
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
        self, row: dict[str, Any], name: str | None, *, is_paper: bool, printed: Printed | None
    ) -> None:
        known: tuple[float | None, float | None] = (None, None)
        if is_paper and not self.layout.unsupplied:  # else it is of another table's networks
            known = counted(self.complexity, row["network"], row["dataset"])
        theirs_by_method = {
            (other.dataset, other.network, other.method): other for other in self.printed
        }
        for quantity, unit, count in (("flops_g", 1e9, known[0]), ("params_m", 1e6, known[1])):
            kind = quantity.partition("_")[0]
            has_network = row["method"] not in REFERENCE_TITLES
            ours = self.runs.mean(name, row["method"], kind) if has_network else None
            if ours is None and row["method"] in BASELINE_TITLES:
                ours = count
            base = next(
                (
                    value
                    for method in BASELINE_TITLES
                    if (value := self.runs.mean(name, method, kind)) is not None
                ),
                count,
            )
            row[quantity] = None if ours is None else round(ours / unit, 9)
            row[f"{kind}_ratio_percent"] = ratio(ours, base)
            theirs = getattr(printed, quantity) if printed else ""
            original = printed and theirs_by_method.get(
                (printed.dataset, printed.network, BASELINE_TITLES[0])
            )
            row[f"paper_{quantity}"] = self.layout.unsupplied or theirs
            row[f"paper_{kind}_ratio_percent"] = ratio(
                as_number(theirs), as_number(getattr(original, quantity)) if original else None
            )
            row[f"{kind}_vs_paper"] = versus(row[quantity], theirs)
