"""Where the object is on a map of scores, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor


class Flag(Enum):
    """What a map of scores looks like (ATOM, Sec. 3.3; DiMP, Sec. 4.2)."""

    NORMAL = "normal"
    """One peak."""
    HARD_NEGATIVE = "hard negative"
    """The object, and something else that looks like it, from which it is to be told."""
    UNCERTAIN = "uncertain"
    """Two peaks, either of which may be the object; nothing is to be learned from that."""
    NOT_FOUND = "not found"
    """No peak that is high enough."""


@dataclass(frozen=True)
class Localisation:
    """Thresholds of scores and distances."""

    found: float = 0.25
    """The least score of an object."""
    rival: float = 0.8
    """Share of the highest score from which a second peak may be the object itself."""
    distractor: float = 0.5
    """Share of the highest score from which a second peak is learned from."""
    neighbourhood: float = 2.2
    """Sides of the object around a peak, where there is no other."""
    displacement: float = 0.8
    """Share of half of the search region, beyond which the object hardly moves in a frame."""


class Found(NamedTuple):
    """What is known of the object in a frame."""

    flag: Flag
    place: tuple[int, int]
    """Column and row of the map of scores."""
    score: float
    """The highest one."""


def localise(
    scores: Tensor,
    size: tuple[float, float],
    centre: tuple[float, float],
    how: Localisation = Localisation(),
) -> Found:
    """Find the object.

    Args:
        scores: (S, S').
        size: width and height of the object, in cells.
        centre: x and y where it was before, in cells.
        how: by which thresholds.
    """
    first, high = _peak(scores)
    if high < how.found:
        return Found(Flag.NOT_FOUND, first, high)
    rows, columns = (torch.arange(n, device=scores.device) for n in scores.shape)
    reach = how.neighbourhood / 2
    near = ((columns - first[0]).abs() <= reach * size[0])[None, :]
    near = near & ((rows - first[1]).abs() <= reach * size[1])[:, None]
    second, low = _peak(scores.masked_fill(near, 0))
    if low > how.rival * high:
        far = how.displacement * (scores.shape[0] * scores.shape[1]) ** 0.5 / 2
        moved, other = (
            ((place[0] - centre[0]) ** 2 + (place[1] - centre[1]) ** 2) ** 0.5
            for place in (first, second)
        )
        if other > far > moved:
            return Found(Flag.HARD_NEGATIVE, first, high)
        if moved > far > other:
            return Found(Flag.HARD_NEGATIVE, second, high)
        return Found(Flag.UNCERTAIN, first, high)
    if low > how.distractor * high and low > how.found:
        return Found(Flag.HARD_NEGATIVE, first, high)
    return Found(Flag.NORMAL, first, high)


def _peak(scores: Tensor) -> tuple[tuple[int, int], float]:
    """Column and row of the highest score, and that score."""
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    return (column, row), float(scores[row, column])
