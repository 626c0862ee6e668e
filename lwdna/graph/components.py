"""What hangs together: the connected components of a graph without directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def components(size: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The component of each of some things, of which pairs hang together.

    Args:
        size: how many things there are; they are numbered from 0.
        first: one of each pair, ``(pairs,)``.
        second: the other, ``(pairs,)``.

    Returns:
        ``(size,)``: numbers from 0, in the order of the first thing of each component.
    """
    least = np.arange(size)
    """Of each thing one of its component, the least that is known so far."""
    while True:
        a, b = least[first], least[second]
        apart = a != b
        if not apart.any():
            break
        a, b = a[apart], b[apart]
        np.minimum.at(least, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(further := least[least], least):
            least = further
    _, numbers = np.unique(least, return_inverse=True)
    return numbers
