"""Loss and metrics of an epoch, added up step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Tally:
    """Running sums of an epoch. Values stay on the device until they are collected."""

    def __init__(self, names: tuple[str, ...], before: Mapping[str, float]) -> None:
        self.names = names
        self.sums = {name: before.get(name, 0.0) for name in ("n", *names)}
        self._pending: list[tuple[int, int, Tensor]] = []

    def add(self, step: int, n: int, loss: Tensor, metrics: Mapping[str, Tensor]) -> None:
        """Note the mean loss and the summed metrics, scalars, of the ``n`` images of a step."""
        values = [loss * n, *(metrics[name] for name in self.names[1:])]
        stacked = torch.stack([value.detach().float() for value in values])
        self._pending.append((step, n, stacked))

    def collect(self) -> int | None:
        """Add up what is pending; the number of the first step with a loss that is not finite."""
        bad = None
        for step, n, stacked in self._pending:
            values = dict(zip(self.names, stacked.tolist(), strict=True))
            if bad is None and not math.isfinite(values["loss"]):
                bad = step
            for name, value in {"n": float(n), **values}.items():
                self.sums[name] += value
        self._pending.clear()
        return bad
