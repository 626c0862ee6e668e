"""Generators that are seeded together draw what those seeded one by one draw."""

import numpy as np
import pytest

from lwdna.data.draws import generators

EDGES = (0, 1, 2**31, 2**32 - 1)


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1, 2**32, 2**40 + 7, 2**70, 2**130 + 9])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_generators_are_those_of_numpy(seed, length):
    rng = np.random.default_rng(length)
    keys = [tuple(key) for key in rng.integers(0, 2**32, (40, length)).tolist()]
    keys += [tuple(rng.choice(EDGES, length).tolist()) for _ in range(20)]
    for count in (1, 11, 12, len(keys)):
        for key, ours in zip(keys[:count], generators(seed, keys[:count]), strict=True):
            theirs = np.random.default_rng([seed, *key])
            assert ours.bit_generator.state == theirs.bit_generator.state
            assert (ours.integers(0, 9, 3) == theirs.integers(0, 9, 3)).all()
            assert ours.random() == theirs.random()
            assert (ours.standard_normal(5) == theirs.standard_normal(5)).all()


def test_what_one_draws_does_not_reach_the_next():
    keys = [(0, index) for index in range(16)]
    quiet = [rng.random() for rng in generators(3, keys)]
    busy = []
    for drawn, rng in enumerate(generators(3, keys)):
        busy.append(rng.random())
        rng.integers(0, 9, size=drawn)  # of an odd number of these, half a number is left
    assert quiet == busy


@pytest.mark.parametrize(("seed", "key"), [(-1, (0, 0)), (0, (0, -1)), (0, (2**32, 0))])
def test_numbers_out_of_range(seed, key):
    with pytest.raises(ValueError, match="out of range"):
        next(generators(seed, [*[(0, 0)] * 20, key]))


def test_no_key_no_generator():
    assert list(generators(0, [])) == []
