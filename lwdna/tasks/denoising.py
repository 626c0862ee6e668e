"""Denoising of gray images: Gaussian noise of one strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lwdna.data.images import find_images
from lwdna.data.restoration import DenoisingTest, DenoisingTrain
from lwdna.data.stores import Store
from lwdna.tasks.restoration import Restoration
from lwdna.tasks.task import PathLike

MEDIAN_OF_NORMAL = 0.6745
"""Of the absolute value of a normal variable of standard deviation 1."""


CUT_OFF = 0.05
"""A share of values at the ends of the scale that few pictures have once there is noise on them."""


@dataclass(frozen=True)
class Denoising(Restoration):
    """Noisy and clean gray images."""

    def train_data(self, path: PathLike, *, seed: int) -> DenoisingTrain:
        """Patches of a gray store."""
        return DenoisingTrain(Store(path), sigma=self.key("sigma"), **self.sampling(seed))

    def test_data(self, path: PathLike, *, seed: int = 0) -> DenoisingTest:
        """The images of a folder."""
        return self.degraded(find_images(path), seed=seed)

    def degraded(self, paths: Sequence[Path], *, seed: int = 0) -> DenoisingTest:
        """With noise."""
        return DenoisingTest(paths, sigma=self.key("sigma"), seed=seed)

    def takes(self, data: Any = None) -> dict[str, Any]:
        """Gray images with noise of this strength."""
        return {**super().takes(data), "sigma": self.key("sigma")}

    @property
    def beyond(self) -> float:
        """Noise is neither clipped nor rounded; in ten standard deviations there is all of it."""
        return max(super().beyond, 10 * float(self.key("sigma")))

    def doubt(self, inputs: Tensor) -> str:
        """Noise of (C, H, W) far from sigma, by the differences of neighbours, or cut off."""
        ends = float(((inputs == 0) | (inputs == 255)).float().mean())
        rows, columns = (side // 2 * 2 for side in inputs.shape[1:])
        if not (rows and columns):
            return ""
        corners = [inputs[:, y:rows:2, x:columns:2] for y in (0, 1) for x in (0, 1)]
        across = (corners[0] - corners[1] - corners[2] + corners[3]) / 2
        found = float(across.abs().median()) / MEDIAN_OF_NORMAL
        sigma = float(self.key("sigma"))
        if not sigma / 2 <= found <= 2 * sigma:
            return f"its noise looks like sigma {found:.0f}, but the network learned {sigma:g}"
        if ends > CUT_OFF:
            return (
                f"its noise was cut off ({ends:.0%} of the values are 0 or 255), but the network "
                "learned noise that was not"
            )
        return ""

    def reference(self) -> nn.Module:
        """The noisy image itself."""
        return nn.Identity()
