"""Checks that all networks share; a ValueError becomes a sentence in ``build``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def scaled(channels: int, width: float) -> int:
    """``channels`` times the width multiplier, rounded down, as in the authors' code."""
    result = int(channels * width)
    if result < 1:
        raise ValueError(f"{channels} channels at width {width:g} leave none")
    return result


def rounded(channels: int, width: float) -> int:
    """``channels`` times the width multiplier, as the nearest multiple of 8.

    So that no more than a tenth is lost, it is rounded up where the nearest is too small; this is
    the rule of the MobileNetV3 and MnasNet papers.
    """
    scaled(channels, width)
    wanted = channels * width
    result = max(8, int(wanted + 4) // 8 * 8)
    return result if result >= 0.9 * wanted else result + 8


def at_least(least: int, **values: int) -> None:
    """Refuse a number of blocks or levels that is too small."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value} but must be at least {least}")


def repeated(blocks: int, make: Callable[[], T]) -> list[T]:
    """So many blocks, each made anew."""
    at_least(0, blocks=blocks)
    return [make() for _ in range(blocks)]


def one_for_each(stages: int, **values: object) -> None:
    """Refuse a list, of strides say, that has not one number for each stage."""
    for name, value in values.items():
        if not isinstance(value, list | tuple) or len(value) != stages:
            raise ValueError(f"{name} is {value} but must be a list of {stages} numbers")
