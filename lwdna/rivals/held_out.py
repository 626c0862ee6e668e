"""Training images held out, for a search to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lwdna.data.batches import Batched, batch_of
from lwdna.errors import ConfigError
from lwdna.training.sampler import length

# Keeps this random stream apart from others that are seeded with the same numbers.
_HELD_OUT = 0x68656C64


class Part(Batched):
    """Some images of a training set, indexed by (epoch, index) as it is."""

    def __init__(self, data: Dataset[Any], indices: Sequence[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: tuple[int, int]) -> Any:
        return self.data[self._there(position)]

    def batch(self, keys: Sequence[tuple[int, int]]) -> Any:
        """The samples (epoch, index), as the training set makes batches of them: (B, ...)."""
        return batch_of(self.data, [self._there(position) for position in keys])

    def _there(self, position: tuple[int, int]) -> tuple[int, int]:
        epoch, index = position
        return epoch, self.indices[index]


def hold_out(data: Dataset[Any], share: float, seed: int) -> tuple[Part, Part]:
    """Part a training set by lot: what is trained on, and what is held out.

    Args:
        data: indexed by (epoch, index).
        share: of the images, to hold out.
        seed: of the draw.

    Raises:
        ConfigError: if less than two images would be on either side.
    """
    images = length(data)
    held = round(share * images)
    if not 2 <= held <= images - 2:
        raise ConfigError(
            f"A share of {share:g} of {images} training images is {held}, but at least two must be "
            "held out for the search and two be trained on; change held_out."
        )
    order = np.random.default_rng([_HELD_OUT, seed]).permutation(images).tolist()
    return Part(data, sorted(order[held:])), Part(data, sorted(order[:held]))
