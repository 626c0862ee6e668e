"""PyTorch data sets whose augmentation and noise are functions of (seed, epoch, index) alone.

Training sets are indexed by a pair ``(epoch, index)``, which the sampler yields. So a run that
was killed and resumed sees the same bits as one that was not, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lwdna.data.bicubic import imresize
from lwdna.data.images import find_images, read_image, to_gray, to_rgb
from lwdna.data.listings import Listing, open_labelled
from lwdna.data.stores import Store
from lwdna.errors import ConfigError, DataError, nearest

PathLike = str | os.PathLike[str]


class ClassificationTrain(Dataset[tuple[Tensor, int]]):
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
        _require(pad >= 0, "pad", pad, "at least 0")
        _require(crop is None or pad == 0, "pad", pad, "0 where there is a crop")
        _require(seed >= 0, "seed", seed, "at least 0")
        self.shape = _shape(images, crop)
        """Height, width and number of classes."""
        self.classes = images.classes
        """Names, in the order of the labels."""
        self._labels = _labels(images)
        self._normalise = _Normalisation(mean, std)
        self._images = images
        self._pad = pad
        self._flip = flip
        self._crop = None if crop is None else _RandomResizedCrop(crop)
        self._seed = seed
        if isinstance(images, Store):
            images.hold()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = key
        rng = np.random.default_rng([self._seed, epoch, index])
        image = self._images[index]
        if self._crop is not None:
            image = self._crop(image, rng)
        if self._pad:
            height, width, _ = image.shape
            y, x = rng.integers(0, 2 * self._pad + 1, size=2)
            border = (self._pad, self._pad)
            image = np.pad(image, (border, border, (0, 0)))[y : y + height, x : x + width]
        if self._flip and rng.random() < 0.5:
            image = image[:, ::-1]
        return self._normalise(image), int(self._labels[index])


class ClassificationTest(Dataset[tuple[Tensor, int]]):
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
        self.shape = _shape(images, crop)
        """Height, width and number of classes."""
        self.classes = images.classes
        """Names, in the order of the labels."""
        self._labels = _labels(images)
        self._normalise = _Normalisation(mean, std)
        self._images = images
        self._crop = None
        if crop is not None:
            _require(resize is not None and resize >= crop, "resize", resize, f"at least {crop}")
            self._crop = _CentreCrop(resize or crop, crop)
        if isinstance(images, Store):
            images.hold()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self._images[index]
        if self._crop is not None:
            image = self._crop(image)
        return self._normalise(image), int(self._labels[index])


class _RestorationTrain(Dataset[tuple[Tensor, Tensor]]):
    """What the two restoration tasks share: which sub-image, which patch, which orientation.

    An epoch has ``samples_per_epoch`` samples, which walk through the N sub-images in turn:
    sample ``index`` of ``epoch`` comes from sub-image ``(epoch * samples_per_epoch + index) mod
    N``. So N samples per epoch visit each sub-image once an epoch, more visit them again, and
    fewer go on in the next epoch where the last one ended.
    """

    def __init__(
        self, store: Store, *, name: str, patch_size: int, samples_per_epoch: int | None, seed: int
    ) -> None:
        _require(patch_size >= 1, "patch_size", patch_size, "at least 1")
        _require(seed >= 0, "seed", seed, "at least 0")
        samples = len(store) if samples_per_epoch is None else samples_per_epoch
        _require(samples >= 1, "samples_per_epoch", samples, "at least 1")
        _, height, width, _ = store.shapes[name]
        if patch_size > min(height, width):
            raise DataError(
                f"Patches of {patch_size} pixels do not fit into the {height} x {width} pixels "
                f"of '{name}' in the store '{store.path}'; make patch_size smaller or the "
                "sub-images larger."
            )
        self._store = store
        self._patch_size = patch_size
        self._samples = samples
        self._seed = seed
        self._last_start = np.array([height - patch_size, width - patch_size])
        store.hold()

    def __len__(self) -> int:
        return self._samples

    def _draw(self, epoch: int, index: int) -> tuple[np.random.Generator, int, int, int, _Turn]:
        """The random numbers of a sample: generator, sub-image, patch offset, orientation."""
        rng = np.random.default_rng([self._seed, epoch, index])
        item = (epoch * self._samples + index) % len(self._store)
        y, x = (int(start) for start in rng.integers(0, self._last_start + 1))
        return rng, item, y, x, _Turn(rng)


class SuperResolutionTrain(_RestorationTrain):
    """Pairs of patches for super-resolution (supplement, "Super-resolution").

    ``dataset[epoch, index]`` is ``(lr, hr)``: float32 (3, p, p) and (3, p s, p s), values 0-255,
    cut from the same place of a sub-image, then flipped in both directions and transposed
    together, each with probability 1/2.

    Args:
        store: with "images" and "lr" at this scale.
        patch_size: p, pixels of the low-resolution patch: 48 for EDSR, 24 for SRResNet.
        scale: s.
        samples_per_epoch: by default the number N of sub-images. The samples walk through the
            sub-images in turn: sample i of epoch e comes from number (e samples_per_epoch + i)
            mod N.
        seed: of places and orientations.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the store has no low-resolution images at this scale, or the patch does not
            fit into them.
    """

    def __init__(
        self,
        store: Store,
        *,
        patch_size: int,
        scale: int,
        samples_per_epoch: int | None = None,
        seed: int,
    ) -> None:
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
        super().__init__(
            store,
            name="lr",
            patch_size=patch_size,
            samples_per_epoch=samples_per_epoch,
            seed=seed,
        )
        self._scale = scale

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        _, item, y, x, turn = self._draw(*key)
        p, s = self._patch_size, self._scale
        lr = self._store.read("lr", item, (y, x, p, p))
        hr = self._store.read("images", item, (y * s, x * s, p * s, p * s))
        return _tensor(turn(lr)), _tensor(turn(hr))


class DenoisingTrain(_RestorationTrain):
    """Noisy and clean gray patches (supplement, "Denoising").

    ``dataset[epoch, index]`` is ``(noisy, clean)``: float32 (1, p, p), the clean one with values
    0-255. The patch is flipped in both directions and transposed, each with probability 1/2; then
    noise is added, which is neither clipped nor rounded.

    Args:
        store: gray, see :func:`lwdna.data.stores.gray_store`.
        patch_size: p, pixels of the patch: 64 for DnCNN, 128 for the U-Net.
        sigma: standard deviation of the noise on the scale 0-255; 70 in the paper.
        samples_per_epoch: as in :class:`SuperResolutionTrain`.
        seed: of places, orientations and noise.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the store is not gray, or the patch does not fit into its images.
    """

    def __init__(
        self,
        store: Store,
        *,
        patch_size: int,
        sigma: float,
        samples_per_epoch: int | None = None,
        seed: int,
    ) -> None:
        _require(sigma >= 0, "sigma", sigma, "at least 0")
        channels = store.shapes["images"][3]
        if channels != 1:
            raise DataError(
                f"The store '{store.path}' holds images of {channels} channels, and denoising "
                "works on gray; make a gray store of it first."
            )
        super().__init__(
            store,
            name="images",
            patch_size=patch_size,
            samples_per_epoch=samples_per_epoch,
            seed=seed,
        )
        self._sigma = sigma

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        rng, item, y, x, turn = self._draw(*key)
        p = self._patch_size
        clean = _tensor(turn(self._store.read("images", item, (y, x, p, p))))
        return clean + _noise(rng, (1, p, p), self._sigma), clean


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
        _require(scale >= 1, "scale", scale, "at least 1")
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
        return _tensor(imresize(hr, 1 / s)), _tensor(hr)


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
        _require(sigma >= 0, "sigma", sigma, "at least 0")
        _require(seed >= 0, "seed", seed, "at least 0")
        self.names = _names(paths)
        self._paths = list(paths)
        self._sigma = sigma
        self._seed = seed

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean = _tensor(to_gray(read_image(self._paths[index]))[:, :, None])
        # CRC-32 rather than hash(), which differs from one Python process to the next.
        name = zlib.crc32(self.names[index].encode())
        rng = np.random.default_rng([self._seed, name])
        return clean + _noise(rng, tuple(clean.shape), self._sigma), clean


TrainDataset = ClassificationTrain | SuperResolutionTrain | DenoisingTrain
TestDataset = ClassificationTest | SuperResolutionTest | DenoisingTest


def train_dataset(task: Mapping[str, Any], path: PathLike, *, seed: int) -> TrainDataset:
    """Make the training set of a task from its store.

    Args:
        task: "kind" and what that kind needs: "classification" mean, std, flip and either pad or
            crop; "super-resolution" scale and patch_size; "denoising" sigma and patch_size. The
            last two also take samples_per_epoch. Other keys are left alone.
        path: the store, or the listing for classification.
        seed: of augmentation and noise.

    Raises:
        ConfigError: if the kind does not exist, a key is missing or a number is out of range.
        DataError: if the store is damaged or does not fit the task.
    """
    kind = _kind(task)
    if kind == "classification":
        return ClassificationTrain(
            open_labelled(path),
            mean=_key(task, "mean"),
            std=_key(task, "std"),
            pad=0 if "crop" in task else _key(task, "pad"),
            flip=_key(task, "flip"),
            crop=task.get("crop"),
            seed=seed,
        )
    patch_size, samples = _key(task, "patch_size"), task.get("samples_per_epoch")
    if kind == "super-resolution":
        return SuperResolutionTrain(
            Store(path),
            patch_size=patch_size,
            scale=_key(task, "scale"),
            samples_per_epoch=samples,
            seed=seed,
        )
    return DenoisingTrain(
        Store(path),
        patch_size=patch_size,
        sigma=_key(task, "sigma"),
        samples_per_epoch=samples,
        seed=seed,
    )


def test_dataset(task: Mapping[str, Any], path: PathLike, *, seed: int = 0) -> TestDataset:
    """Make the test set of a task: from a store for classification, else from a folder of images.

    Args:
        task: as in :func:`train_dataset`; only mean and std (and crop and resize), scale, or sigma
            are needed.
        path: the store, listing or folder.
        seed: of the noise, for denoising.

    Raises:
        ConfigError: if the kind does not exist, a key is missing or a number is out of range.
        DataError: if the store is damaged, or the folder is missing or holds no image.
    """
    kind = _kind(task)
    if kind == "classification":
        return ClassificationTest(
            open_labelled(path),
            mean=_key(task, "mean"),
            std=_key(task, "std"),
            crop=task.get("crop"),
            resize=_key(task, "resize") if "crop" in task else None,
        )
    if kind == "super-resolution":
        return SuperResolutionTest(find_images(path), scale=_key(task, "scale"))
    return DenoisingTest(find_images(path), sigma=_key(task, "sigma"), seed=seed)


def fingerprint(path: PathLike) -> str:
    """What tells the images of a store, listing or folder from any others: 16 hex digits."""
    if not Path(path).is_dir():
        return open_labelled(path).fingerprint()
    digest = hashlib.sha256()
    for image in find_images(path):
        digest.update(image.name.encode() + b"\0" + image.read_bytes())
    return digest.hexdigest()[:16]


# pytest would take an imported function of this name for a test.
test_dataset.__test__ = False  # type: ignore[attr-defined]


class _Normalisation:
    """uint8 (H, W, 3) to float32 (3, H, W): (x / 255 - mean) / std."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        for name, values, lowest in (("mean", mean, 0.0), ("std", std, 1e-6)):
            if len(values) != 3 or not all(lowest <= value <= 1 for value in values):
                raise ConfigError(
                    f"The {name} of the images is {list(values)}; give three numbers on the scale "
                    "0-1 (divide those of 0-255 by 255), and no standard deviation of 0."
                )
        self._mean = torch.tensor(list(mean), dtype=torch.float32).view(3, 1, 1)
        self._std = torch.tensor(list(std), dtype=torch.float32).view(3, 1, 1)

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        return (_tensor(image) / 255 - self._mean) / self._std


class _RandomResizedCrop:
    """Torchvision's transform on uint8 (H, W, 3), driven by a generator of ours."""

    def __init__(self, size: int) -> None:
        # Imported here because it takes seconds, and only ImageNet and the like need it.
        from torchvision.transforms import v2  # noqa: PLC0415

        _require(size >= 1, "crop", size, "at least 1")
        self._transform = v2.RandomResizedCrop(size)

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        # Torchvision draws from torch's global generator, which is given back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            return np.asarray(self._transform(Image.fromarray(image)))


class _CentreCrop:
    """Resize the shorter side of uint8 (H, W, 3), then cut out the middle."""

    def __init__(self, resize: int, crop: int) -> None:
        from torchvision.transforms import v2  # noqa: PLC0415

        _require(crop >= 1, "crop", crop, "at least 1")
        self._transform = v2.Compose([v2.Resize(resize), v2.CenterCrop(crop)])

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(self._transform(Image.fromarray(image)))


class _Turn:
    """One of the eight orientations, drawn at random and applied to (H, W, C) images."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._horizontal, self._vertical, self._transposed = rng.random(3) < 0.5

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._horizontal:
            image = image[:, ::-1]
        if self._vertical:
            image = image[::-1]
        return image.transpose(1, 0, 2) if self._transposed else image


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, C) to float32 (C, H, W), values 0-255."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) * sigma


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


def _require(holds: bool, name: str, value: float | None, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value}; it must be {allowed}.")


_KINDS = ("classification", "super-resolution", "denoising")


def _kind(task: Mapping[str, Any]) -> str:
    kind = str(_key(task, "kind"))
    if kind not in _KINDS:
        raise ConfigError(f"The task kind '{kind}' does not exist; {nearest(kind, _KINDS)}")
    return kind


def _key(task: Mapping[str, Any], name: str) -> Any:
    if name not in task:
        raise ConfigError(f"The task {dict(task)} has no '{name}'; add it.")
    return task[name]
