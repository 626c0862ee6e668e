"""Labelled images as PyTorch data sets: augmentation is a function of (seed, epoch, index) alone.

Training sets are indexed by a pair ``(epoch, index)``, which the sampler yields. So a run that
was killed and resumed sees the same bits as one that was not, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwdna.data.batches import Batched, empty
from lwdna.data.draws import generators
from lwdna.data.listings import Listing
from lwdna.data.stores import Store
from lwdna.data.transforms import (
    CentreCrop,
    Normalisation,
    RandomResizedCrop,
    put,
    put_shifted,
    require_number,
)
from lwdna.errors import DataError


class _Labelled(Batched):
    """What all labelled images have, before they are cropped."""

    def __init__(
        self,
        images: Store | Listing,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        crop: int | None,
    ) -> None:
        self.shape = _shape(images, crop)
        """Height, width and number of classes."""
        self.classes = images.classes
        """Names, in the order of the labels."""
        self._labels = _labels(images)
        self._normalise = Normalisation(mean, std)
        self._images = images
        if isinstance(images, Store):
            images.hold()

    def __len__(self) -> int:
        return len(self._images)

    def _room(self, count: int) -> tuple[Tensor, NDArray[np.float32]]:
        """Room for a batch, (B, 3, H, W): a tensor, and the same as an array."""
        height, width, _ = self.shape
        images = empty(count, 3, height, width)
        return images, images.numpy()

    def _classes(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._labels[list(indices)])


class ClassificationTrain(_Labelled):
    """Labelled images for training: cropped at random, flipped, normalised.

    ``dataset[epoch, index]`` is ``(image, label)``: float32 (3, H, W) and the class. The crop is
    either torchvision's RandomCrop of the image with a border, which is black *before*
    normalisation, or its RandomResizedCrop (a part of 8 to 100 % of the area, made S x S), as is
    usual for ImageNet. Stores of up to 512 MB are held in memory.

    Args:
        images: a store with labels, or a listing.
        mean: of the three channels, on the scale 0-1.
        std: standard deviations of the three channels, on the scale 0-1.
        pad: pixels of border on every side, out of which (H, W) is cropped; 0 for none.
        flip: whether every other image, at random, is mirrored left to right.
        crop: S, pixels of a side of the resized crops; None for images of one size.
        seed: of the augmentation.

    Raises:
        ConfigError: if a number is out of range, or there are both a border and resized crops.
        DataError: if the store has no labels, or the images differ in size and there is no crop.
    """

    def __init__(
        self,
        images: Store | Listing,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        pad: int = 0,
        flip: bool,
        crop: int | None = None,
        seed: int,
    ) -> None:
        require_number(pad >= 0, "pad", pad, "at least 0")
        require_number(crop is None or pad == 0, "pad", pad, "0 where there is a crop")
        require_number(seed >= 0, "seed", seed, "at least 0")
        super().__init__(images, mean=mean, std=std, crop=crop)
        self._pad = pad
        self._flip = flip
        self._crop = None if crop is None else RandomResizedCrop(crop)
        self._seed = seed

    def batch(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The samples (epoch, index): float32 (B, 3, H, W), and classes (B,)."""
        images, slots = self._room(len(keys))
        for (_, index), slot, rng in zip(keys, slots, generators(self._seed, keys), strict=True):
            image = self._images[index]
            if self._crop is not None:
                image = self._crop(image, rng)
            y = x = 0
            if self._pad:
                y, x = (int(rng.integers(2 * self._pad + 1)) - self._pad for _ in range(2))
            mirrored = self._flip and rng.random() < 0.5
            put_shifted(image, y, x, slot[:, :, ::-1] if mirrored else slot)
        return self._normalise(images), self._classes([index for _, index in keys])


class ClassificationTest(_Labelled):
    """Labelled images, normalised: as they are, or the middle of them after a resize.

    ``dataset[index]`` is ``(image, label)``: float32 (3, H, W) and the class.

    Args:
        images: a store with labels, or a listing.
        mean, std: as for :class:`ClassificationTrain`.
        resize: pixels of the shorter side that an image is resized to; None with ``crop``.
        crop: S, pixels of a side of the middle that is cut out then.

    Raises:
        ConfigError: as :class:`ClassificationTrain`, or if the crop does not fit.
        DataError: as :class:`ClassificationTrain`.
    """

    def __init__(
        self,
        images: Store | Listing,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        resize: int | None = None,
        crop: int | None = None,
    ) -> None:
        super().__init__(images, mean=mean, std=std, crop=crop)
        self._crop = None
        if crop is not None:
            require_number(
                resize is not None and resize >= crop, "resize", resize, f"at least {crop}"
            )
            self._crop = CentreCrop(resize or crop, crop)

    def batch(self, keys: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The images of these numbers: float32 (B, 3, H, W), and classes (B,)."""
        images, slots = self._room(len(keys))
        for index, slot in zip(keys, slots, strict=True):
            image = self._images[index]
            put(image if self._crop is None else self._crop(image), slot)
        return self._normalise(images), self._classes(keys)


def _labels(images: Store | Listing) -> NDArray[np.int64]:
    if isinstance(images, Listing):
        return images.labels
    if images.labels is None or images.shapes["images"][3] != 3:
        raise DataError(
            f"The store '{images.path}' does not hold labelled colour images; give one that was "
            "made for classification."
        )
    return images.labels


def _shape(images: Store | Listing, crop: int | None) -> tuple[int, int, int]:
    """Height and width of what comes out, and the number of classes."""
    if crop is not None:
        return crop, crop, len(images.classes)
    if isinstance(images, Listing):
        raise DataError(
            f"The images listed in '{images.path}' may differ in size; give the task the sizes to "
            "cut from them, such as crop: 224 and resize: 256."
        )
    _, height, width, _ = images.shapes["images"]
    return height, width, len(images.classes)
