"""Paired differences and their bootstrap intervals."""

import numpy as np
import pandas as pd
import pytest

from lwdna.results.statistics import paired_difference


def by_seed(*values, seeds=None):
    return pd.Series(values, index=range(len(values)) if seeds is None else seeds, dtype=float)


def test_pairs_are_those_of_equal_seeds():
    found = paired_difference(by_seed(1, 2, 9, seeds=[0, 1, 5]), by_seed(4, 1, seeds=[1, 0]))
    assert found.pairs == 2
    assert found.mean == pytest.approx((0 - 2) / 2)


def test_no_common_seed_is_no_comparison():
    assert paired_difference(by_seed(1, seeds=[0]), by_seed(1, seeds=[1])) is None


def test_one_pair_has_no_interval():
    found = paired_difference(by_seed(1), by_seed(3))
    assert (found.mean, found.low, found.high) == (-2, None, None)
    assert not found.excludes_zero


def test_three_seeds_reach_from_the_least_to_the_largest():
    # 1 resample in 27 is three times the least: more than 2.5 %.
    found = paired_difference(by_seed(1, 2, 6), by_seed(0, 0, 0))
    assert (found.low, found.high) == (1, 6)
    assert found.excludes_zero


def test_an_interval_around_zero_is_not_marked():
    found = paired_difference(by_seed(-1, 2, 0.5), by_seed(0, 0, 0))
    assert not found.excludes_zero


def test_many_seeds_approach_the_normal_interval_and_are_repeatable():
    values = np.random.default_rng(1).normal(1, 2, 200)
    found = paired_difference(by_seed(*values), by_seed(*np.zeros(200)))
    half = 1.96 * values.std() / np.sqrt(200)
    assert found.low == pytest.approx(values.mean() - half, abs=0.05)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05)
    assert found == paired_difference(by_seed(*values), by_seed(*np.zeros(200)))


def test_pairing_removes_what_seeds_have_in_common():
    seeds = np.array([0.0, 10.0, 20.0, 30.0])
    found = paired_difference(by_seed(*(seeds + np.array([1, 1.1, 0.9, 1]))), by_seed(*seeds))
    assert 0.85 < found.low <= found.high < 1.15
