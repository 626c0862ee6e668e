"""What ran: the metrics of experiments, by method as tables call it, and counts of networks."""

from __future__ import annotations

import pandas as pd

from lwdna.config.methods import BASELINES, METHODS
from lwdna.errors import DataError
from lwdna.results.cells import as_number, as_text, require_columns
from lwdna.tasks.kinds import REFERENCES

TITLES = {name: method.title for name, method in METHODS.items()}
"""Our methods, in the order of a table, and what they are called there."""

REFERENCE_TITLES = tuple(reference.title for reference in REFERENCES.values())
"""What results without a network are called, which a table shows above those of the networks."""

_NAMES = {title: name for name, title in TITLES.items()} | {
    reference.title: reference.name for reference in REFERENCES.values()
}
"""By title in a table, the name in the column ``method`` of the metrics."""

BASELINE_TITLES = tuple(TITLES[name] for name in BASELINES)
"""What the methods that train the network of the paper itself are called."""

_METRICS_COLUMNS = {"experiment", "method", "seed", "test_set", "flops", "params"}


class Runs:
    """The metrics of runs.

    Args:
        metrics: a row for each run and test set, see :func:`lwdna.results.tables.make_table`.

    Raises:
        DataError: if a column is missing or a run occurs twice.
    """

    def __init__(self, metrics: pd.DataFrame) -> None:
        if len(metrics):
            require_columns(metrics, _METRICS_COLUMNS, "table of metrics")
            _require_unique(metrics)
        self.metrics = metrics

    def of(self, name: str | None, method: str, test_set: str | None = None) -> pd.DataFrame:
        """Rows of the metrics of a method or reference, by its title, in the order of the seeds."""
        ours = _NAMES.get(method)
        if name is None or ours is None or not len(self.metrics):
            return self.metrics.iloc[:0]
        chosen = (self.metrics["experiment"] == name) & (self.metrics["method"] == ours)
        if test_set is not None:
            chosen &= self.metrics["test_set"] == test_set
        return self.metrics[chosen].sort_values("seed", kind="stable")

    def test_sets(self, name: str) -> list[str]:
        """The test sets of an experiment that were run."""
        if not len(self.metrics):
            return []
        found = self.metrics.loc[self.metrics["experiment"] == name, "test_set"]
        return sorted(set(found.astype(str)))

    def mean(self, name: str | None, method: str, column: str) -> float | None:
        """Mean over the seeds of a complexity, which does not depend on the test set."""
        runs = self.of(name, method)
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


def counted(
    complexity: pd.DataFrame, network: str, dataset: str
) -> tuple[float | None, float | None]:
    """FLOPs and parameters of a network of the paper, as counted by us."""
    if not len(complexity):
        return None, None
    for record in complexity.to_dict("records"):
        there = as_text(record["dataset"])
        if record["network"] == network and (not there or not dataset or there == dataset):
            return as_number(record["flops"]), as_number(record["params"])
    return None, None
