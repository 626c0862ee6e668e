"""What a tracker remembers of an object: features and boxes of frames, each with a weight."""

from __future__ import annotations

import torch
from torch import Tensor

from lwdna.errors import require


class Memory:
    """Samples that a filter is made of: those of the first frame, which stay, and later ones.

    A later sample weighs more than the one before it; if there is no room, the one that weighs
    least makes room (DiMP, Sec. 4.2).

    Args:
        features: (n, C, H, W) of the first frame.
        boxes: (n, 4) of the object, in pixels of the crops.
        capacity: samples at most.
        least_initial: the sum of the weights of the first frame's samples never falls below this.

    Attributes:
        weights: (capacity,), of sum 1; 0 where there is no sample.

    Raises:
        ConfigError: if there is no room for anything but the first frame.
    """

    def __init__(
        self, features: Tensor, boxes: Tensor, *, capacity: int = 50, least_initial: float = 0.25
    ) -> None:
        self.initial = len(features)
        require(
            capacity > self.initial,
            "The memory of a tracker",
            capacity,
            f"more than the {self.initial} samples of the first frame",
        )
        self.least_initial = least_initial
        self._features = features.new_zeros(capacity, *features.shape[1:])
        self._boxes = boxes.new_zeros(capacity, 4)
        self._features[: self.initial], self._boxes[: self.initial] = features, boxes
        self.weights = torch.zeros(capacity, dtype=torch.float64)
        self.weights[: self.initial] = 1 / self.initial
        self._count = self.initial
        self._last: int | None = None

    def __len__(self) -> int:
        """The number of samples."""
        return self._count

    def add(self, features: Tensor, box: Tensor, rate: float) -> int:
        """Remember a frame.

        Args:
            features: (C, H, W).
            box: (4,) of the object, in pixels of the crop.
            rate: by which it weighs more than the frame before it.

        Returns:
            The slot that it was put into.
        """
        last = self._last
        weight = rate if last is None else float(self.weights[last]) / (1 - rate)
        if last is None:
            self.weights /= 1 - rate
        slot = self._slot()
        self._features[slot], self._boxes[slot] = features, box
        self.weights[slot] = weight
        self.weights /= self.weights.sum()
        first, others = self.weights[: self.initial], self.weights[self.initial :]
        if float(first.sum()) < self.least_initial:
            first[:] = self.least_initial / self.initial
            others *= (1 - self.least_initial) / others.sum()
        self._last = slot
        return slot

    def _slot(self) -> int:
        if self._count < len(self.weights):
            self._count += 1
            return self._count - 1
        return self.initial + int(self.weights[self.initial :].argmin())

    def samples(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of it: features (1, n, C, H, W), boxes (1, n, 4) and weights (1, n), of sum 1."""
        weights = self.weights[: self._count].to(self._features)
        return self._features[None, : self._count], self._boxes[None, : self._count], weights[None]
