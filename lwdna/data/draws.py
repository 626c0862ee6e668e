"""NumPy's generators of many samples, seeded at once: what each draws depends on its key alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
Halves = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""The upper and lower 64 bits of 128."""

_MANY = 12
"""Keys from which on it pays to seed them together."""

_WORD = 2**32
_POOL = 4
_FACTOR = tuple(np.uint64(half) for half in (0x2360ED051FC65DA4, 0x4385DF649FCCF645))
"""What PCG64 multiplies its state by, in halves."""


def generators(seed: int, keys: Sequence[Sequence[int]]) -> Iterator[np.random.Generator]:
    """For each key what ``np.random.default_rng([seed, *key])`` is, of many in a third of its time.

    A generator is good until the next one is taken: they may be one object.

    Args:
        seed: from 0.
        keys: of one length; whole numbers from 0 to 2^32 - 1, such as epoch and index.

    Raises:
        ValueError: if a number is out of range.
    """
    if len(keys) < _MANY:
        for key in keys:
            yield np.random.default_rng([seed, *key])
        return
    table = np.array(keys, dtype=np.int64)
    if seed < 0 or table.min() < 0 or table.max() >= _WORD:
        raise ValueError(f"The seed {seed} or a key of {keys} is out of range.")
    own = [seed & (_WORD - 1)]
    while seed := seed >> 32:
        own.append(seed & (_WORD - 1))
    words = np.empty((len(own) + table.shape[1], len(keys)), dtype=np.uint32)
    words[: len(own)] = np.array(own, dtype=np.uint32)[:, None]
    words[len(own) :] = table.T
    states, steps = _seeded(_entropy(words))
    bits = np.random.PCG64(0)
    generator = np.random.Generator(bits)
    for state, step in zip(states, steps, strict=True):
        bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": step},
            "has_uint32": 0,
            "uinteger": 0,
        }
        yield generator


class _Hash:
    """The hash of NumPy's SeedSequence: each word that goes through it changes the next ones."""

    def __init__(self, start: int, factor: int) -> None:
        self._constant, self._factor = start, factor

    def __call__(self, words: Words, count: int) -> Words:
        """Hash ``count`` rows: (count, B) or one row for all of them, (B,), to (count, B)."""
        constants = [self._constant]
        for _ in range(count):
            constants.append(constants[-1] * self._factor % _WORD)
        self._constant = constants[-1]
        column = np.array(constants, dtype=np.uint32)[:, None]
        mixed: Words = (words ^ column[:-1]) * column[1:]
        return mixed ^ (mixed >> np.uint32(16))


def _entropy(words: Words) -> Words:
    """What ``SeedSequence(words).generate_state(8)`` gives for every column: (n, B) to (8, B)."""
    hashed = _Hash(0x43B0D7E5, 0x931E8875)
    first = np.zeros((_POOL, words.shape[1]), dtype=np.uint32)
    first[: len(words)] = words[:_POOL]
    pool = hashed(first, _POOL)
    for source in range(_POOL):
        others = [row for row in range(_POOL) if row != source]
        pool[others] = _mixed(pool[others], hashed(pool[source], _POOL - 1))
    for word in words[_POOL:]:
        pool = _mixed(pool, hashed(word, _POOL))
    return _Hash(0x8B51F9DD, 0x58F38DED)(np.concatenate([pool, pool]), 2 * _POOL)


def _mixed(x: Words, y: Words) -> Words:
    mixed: Words = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
    return mixed ^ (mixed >> np.uint32(16))


def _seeded(entropy: Words) -> tuple[list[int], list[int]]:
    """The states and increments of PCG64, from eight words for each: (8, B)."""
    low, high = entropy[::2].astype(np.uint64), entropy[1::2].astype(np.uint64)
    start, stream = (high << np.uint64(32) | low).reshape(2, 2, -1)
    one, top = np.uint64(1), np.uint64(63)
    step = (stream[0] << one | stream[1] >> top, stream[1] << one | one)
    state = _sum(_product(_sum(step, (start[0], start[1]))), step)
    return _whole(state), _whole(step)


def _sum(x: Halves, y: Halves) -> Halves:
    low = x[1] + y[1]
    return x[0] + y[0] + (low < x[1]), low


def _product(x: Halves) -> Halves:
    """128 bits times :data:`_FACTOR`, modulo 2^128."""
    half, mask = np.uint64(32), np.uint64(_WORD - 1)
    a, b = x[1] >> half, x[1] & mask
    c, d = _FACTOR[1] >> half, _FACTOR[1] & mask
    middle = a * d + (b * d >> half)
    carried = b * c + (middle & mask)
    high = a * c + (middle >> half) + (carried >> half)
    return high + x[0] * _FACTOR[1] + x[1] * _FACTOR[0], x[1] * _FACTOR[1]


def _whole(x: Halves) -> list[int]:
    return [high << 64 | low for high, low in zip(x[0].tolist(), x[1].tolist(), strict=True)]
