"""Denoising of gray images: Gaussian noise of one strength."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lwdna.data.images import find_images
from lwdna.data.restoration import DenoisingTest, DenoisingTrain
from lwdna.data.stores import Store
from lwdna.tasks.restoration import Restoration
from lwdna.tasks.task import PathLike


@dataclass(frozen=True)
class Denoising(Restoration):
    """Noisy and clean gray images."""

    def train_data(self, path: PathLike, *, seed: int) -> DenoisingTrain:
        """Patches of a gray store."""
        return DenoisingTrain(Store(path), sigma=self.key("sigma"), **self.sampling(seed))

    def test_data(self, path: PathLike, *, seed: int = 0) -> DenoisingTest:
        """The images of a folder."""
        return DenoisingTest(find_images(path), sigma=self.key("sigma"), seed=seed)

    def reference(self) -> nn.Module:
        """The noisy image itself."""
        return nn.Identity()
