"""Comparisons over seeds: paired differences and their bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

CONFIDENCE = 0.95
LEAST_PAIRS = 3
"""Of two pairs an interval excludes zero every other time by chance."""
_RESAMPLES = 9999


@dataclass(frozen=True)
class Difference:
    """The mean difference of two methods over the seeds that both were run with."""

    mean: float
    low: float | None
    """The lower end of the interval; None for a single pair."""
    high: float | None
    pairs: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero; never said of less than three pairs."""
        if self.low is None or self.high is None or self.pairs < LEAST_PAIRS:
            return False
        return self.low > 0 or self.high < 0


def paired_difference(ours: pd.Series[float], theirs: pd.Series[float]) -> Difference | None:
    """The mean of ours minus theirs, seed by seed, with a 95 % percentile bootstrap interval.

    The resampling is seeded: equal numbers give equal intervals.

    Args:
        ours, theirs: values by seed.

    Returns:
        None if no seed is in both.
    """
    differences = (ours - theirs).dropna().sort_index().to_numpy(dtype=float)
    if not len(differences):
        return None
    low = high = None
    if len(differences) > 1:
        from scipy.stats import bootstrap  # noqa: PLC0415 - seconds, only for intervals

        interval = bootstrap(
            (differences,),
            np.mean,
            confidence_level=CONFIDENCE,
            n_resamples=_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Difference(float(differences.mean()), low, high, len(differences))
