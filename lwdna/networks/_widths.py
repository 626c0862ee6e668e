"""Checks that all networks share; a ValueError becomes a sentence in ``build``."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """``channels`` times the width multiplier, rounded down, as in the authors' code."""
    result = int(channels * width)
    if result < 1:
        raise ValueError(f"{channels} channels at width {width:g} leave none")
    return result


def at_least(least: int, **values: int) -> None:
    """Refuse a number of blocks or levels that is too small."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value} but must be at least {least}")
