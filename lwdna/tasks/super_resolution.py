"""Super-resolution of colour images, made small by bicubic interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lwdna.data.images import find_images
from lwdna.data.restoration import SuperResolutionTest, SuperResolutionTrain
from lwdna.data.stores import Store
from lwdna.tasks.references import Bicubic
from lwdna.tasks.restoration import Restoration
from lwdna.tasks.task import PathLike


@dataclass(frozen=True)
class SuperResolution(Restoration):
    """Small and large colour images."""

    def train_data(self, path: PathLike, *, seed: int) -> SuperResolutionTrain:
        """Patches of a colour store with low-resolution partners."""
        return SuperResolutionTrain(Store(path), scale=self.key("scale"), **self.sampling(seed))

    def test_data(self, path: PathLike, *, seed: int = 0) -> SuperResolutionTest:
        """The images of a folder."""
        return self.degraded(find_images(path), seed=seed)

    def degraded(self, paths: Sequence[Path], *, seed: int = 0) -> SuperResolutionTest:
        """Made small."""
        return SuperResolutionTest(paths, scale=self.key("scale"))

    def takes(self, data: Any = None) -> dict[str, Any]:
        """Colour images, smaller by this scale."""
        return {**super().takes(data), "scale": self.key("scale")}

    def reference(self) -> nn.Module:
        """Bicubic interpolation."""
        return Bicubic(self.key("scale"))
