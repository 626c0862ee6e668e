"""Pairs of degraded and clean images as PyTorch data sets, in training by patches.

Patches and noise are functions of (seed, epoch, index) alone, as in
:mod:`lwdna.data.classification`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lwdna.data.batches import Batched, empty
from lwdna.data.bicubic import imresize
from lwdna.data.draws import generators
from lwdna.data.images import read_image, to_gray, to_rgb
from lwdna.data.stores import Store
from lwdna.data.transforms import Turn, put, require_number, to_tensor
from lwdna.errors import DataError


class Sampling(TypedDict):
    """Which patches a training sees."""

    patch_size: int
    """p, pixels of a side of the input."""
    samples_per_epoch: NotRequired[int | None]
    """By default the number N of sub-images. The samples walk through the sub-images in turn:
    sample i of epoch e comes from number (e samples_per_epoch + i) mod N."""
    seed: int
    """Of places, orientations and noise."""


class _Drawn(NamedTuple):
    """The random numbers of a sample."""

    place: int
    """In the batch."""
    item: int
    """Sub-image."""
    y: int
    x: int
    turn: Turn
    rng: np.random.Generator
    """Which further numbers are drawn from, before the next sample is."""


class _RestorationTrain(Batched):
    """What the two restoration tasks share: which sub-image, which patch, which orientation.

    An epoch has ``samples_per_epoch`` samples, which walk through the N sub-images in turn:
    sample ``index`` of ``epoch`` comes from sub-image ``(epoch * samples_per_epoch + index) mod
    N``. So N samples per epoch visit each sub-image once an epoch, more visit them again, and
    fewer go on in the next epoch where the last one ended.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        patch_size: int,
        samples_per_epoch: int | None = None,
        seed: int,
    ) -> None:
        require_number(patch_size >= 1, "patch_size", patch_size, "at least 1")
        require_number(seed >= 0, "seed", seed, "at least 0")
        samples = len(store) if samples_per_epoch is None else samples_per_epoch
        require_number(samples >= 1, "samples_per_epoch", samples, "at least 1")
        _, height, width, _ = store.shapes[name]
        if patch_size > min(height, width):
            raise DataError(
                f"Patches of {patch_size} pixels do not fit into the {height} x {width} pixels "
                f"of '{name}' in the store '{store.path}'; make patch_size smaller or the "
                "sub-images larger."
            )
        self._store = store
        self.patch_size = patch_size
        """Pixels of a side of the input."""
        self._samples = samples
        self._seed = seed
        self._starts = (height - patch_size + 1, width - patch_size + 1)
        store.hold()

    def __len__(self) -> int:
        return self._samples

    def _draw(self, keys: Sequence[tuple[int, int]]) -> Iterator[_Drawn]:
        """What is drawn for each sample, those first that lie first in the store."""
        count = len(self._store)
        items = [(epoch * self._samples + index) % count for epoch, index in keys]
        order = sorted(range(len(keys)), key=items.__getitem__)
        drawing = generators(self._seed, [keys[place] for place in order])
        for place, rng in zip(order, drawing, strict=True):
            y, x = (int(rng.integers(starts)) for starts in self._starts)
            yield _Drawn(place, items[place], y, x, Turn(rng), rng)


class SuperResolutionTrain(_RestorationTrain):
    """Pairs of patches for super-resolution (supplement, "Super-resolution").

    ``dataset[epoch, index]`` is ``(lr, hr)``: float32 (3, p, p) and (3, p s, p s), values 0-255,
    cut from the same place of a sub-image, then flipped in both directions and transposed
    together, each with probability 1/2.

    Args:
        store: with "images" and "lr" at this scale.
        scale: s.
        sampling: see :class:`Sampling`; p is 48 for EDSR, 24 for SRResNet.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the store has no low-resolution images at this scale, or the patch does not
            fit into them.
    """

    def __init__(self, store: Store, *, scale: int, **sampling: Unpack[Sampling]) -> None:
        if "lr" not in store.shapes:
            raise DataError(
                f"The store '{store.path}' has no low-resolution images; give one that was cut "
                f"with scale {scale}."
            )
        _, height, width, channels = store.shapes["images"]
        if store.shapes["lr"][1:] != (height // scale, width // scale, 3) or channels != 3:
            raise DataError(
                f"The store '{store.path}' was cut with scale {store.attributes.get('scale')}, "
                f"but scale {scale} is asked for; cut the images with scale {scale}."
            )
        super().__init__(store, name="lr", **sampling)
        self._scale = scale

    def batch(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The samples (epoch, index): float32 (B, 3, p, p) and (B, 3, p s, p s)."""
        p, s = self.patch_size, self._scale
        lr, hr = (empty(len(keys), 3, size, size) for size in (p, p * s))
        small, large = lr.numpy(), hr.numpy()
        for place, item, y, x, turn, _ in self._draw(keys):
            put(turn(self._store.read("lr", item, (y, x, p, p))), small[place])
            window = (y * s, x * s, p * s, p * s)
            put(turn(self._store.read("images", item, window)), large[place])
        return lr, hr


class DenoisingTrain(_RestorationTrain):
    """Noisy and clean gray patches (supplement, "Denoising").

    ``dataset[epoch, index]`` is ``(noisy, clean)``: float32 (1, p, p), the clean one with values
    0-255. The patch is flipped in both directions and transposed, each with probability 1/2; then
    noise is added, which is neither clipped nor rounded.

    Args:
        store: gray, see :func:`lwdna.data.crops.gray_store`.
        sigma: standard deviation of the noise on the scale 0-255; 70 in the paper.
        sampling: see :class:`Sampling`; p is 64 for DnCNN, 128 for the U-Net.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the store is not gray, or the patch does not fit into its images.
    """

    def __init__(self, store: Store, *, sigma: float, **sampling: Unpack[Sampling]) -> None:
        require_number(sigma >= 0, "sigma", sigma, "at least 0")
        channels = store.shapes["images"][3]
        if channels != 1:
            raise DataError(
                f"The store '{store.path}' holds images of {channels} channels, and denoising "
                "works on gray; make a gray store of it first."
            )
        super().__init__(store, name="images", **sampling)
        self._sigma = sigma

    def batch(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The samples (epoch, index): float32 (B, 1, p, p), noisy and clean."""
        p = self.patch_size
        noisy, clean = (empty(len(keys), 1, p, p) for _ in range(2))
        noise, pixels = noisy.numpy(), clean.numpy()
        for place, item, y, x, turn, rng in self._draw(keys):
            put(turn(self._store.read("images", item, (y, x, p, p))), pixels[place])
            rng.standard_normal(out=noise[place], dtype=np.float32)
        return noisy.mul_(self._sigma).add_(clean), clean


class SuperResolutionTest(Dataset[tuple[Tensor, Tensor]]):
    """Whole images and their bicubic reductions.

    ``dataset[index]`` is ``(lr, hr)``: float32 (3, h, w) and (3, h s, w s), values 0-255. The
    image is cut at its right and bottom border to a multiple of the scale, and made smaller to 8
    bits by :func:`lwdna.data.bicubic.imresize`.

    Args:
        paths: the image files.
        scale: s.

    Attributes:
        names: of the images, without suffix.

    Raises:
        ConfigError: if the scale is less than 1.
        DataError: if two images have the same name, or (when indexed) one cannot be read.
    """

    def __init__(self, paths: Sequence[Path], *, scale: int) -> None:
        require_number(scale >= 1, "scale", scale, "at least 1")
        self.names = _names(paths)
        self._paths = list(paths)
        self._scale = scale

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path, s = self._paths[index], self._scale
        image = to_rgb(read_image(path))
        height, width = image.shape[0] // s * s, image.shape[1] // s * s
        if not height or not width:
            raise DataError(
                f"The image '{path}' has {image.shape[0]} x {image.shape[1]} pixels, too few for "
                f"scale {s}; remove it."
            )
        hr = image[:height, :width]
        return to_tensor(imresize(hr, 1 / s)), to_tensor(hr)


class DenoisingTest(Dataset[tuple[Tensor, Tensor]]):
    """Whole gray images with noise that is fixed by the seed and the name of the image.

    ``dataset[index]`` is ``(noisy, clean)``: float32 (1, H, W), the clean one with values 0-255,
    the noise neither clipped nor rounded. Colour is converted by
    :func:`lwdna.data.images.to_gray`. Moving an image or adding others does not change its noise.

    Args:
        paths: the image files.
        sigma: standard deviation of the noise on the scale 0-255; 70 in the paper.
        seed: of the noise.

    Attributes:
        names: of the images, without suffix.

    Raises:
        ConfigError: if sigma or the seed is negative.
        DataError: if two images have the same name, or (when indexed) one cannot be read.
    """

    def __init__(self, paths: Sequence[Path], *, sigma: float, seed: int) -> None:
        require_number(sigma >= 0, "sigma", sigma, "at least 0")
        require_number(seed >= 0, "seed", seed, "at least 0")
        self.names = _names(paths)
        self._paths = list(paths)
        self._sigma = sigma
        self._seed = seed

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean = to_tensor(to_gray(read_image(self._paths[index]))[:, :, None])
        # CRC-32 rather than hash(), which differs from one Python process to the next.
        name = zlib.crc32(self.names[index].encode())
        rng = np.random.default_rng([self._seed, name])
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
        return clean + noise * self._sigma, clean


def _names(paths: Sequence[Path]) -> list[str]:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise DataError(
                f"The images '{seen[path.stem]}' and '{path}' have the same name; rename one, so "
                "that results can tell them apart."
            )
        seen[path.stem] = path
    return list(seen)
