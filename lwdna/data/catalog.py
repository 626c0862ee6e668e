"""The datasets that are known by name: classes, sizes, numbers of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lwdna.errors import ConfigError, nearest


@dataclass(frozen=True)
class Size:
    """How large a dataset is, as published; the paper uses them whole. 0 is none, or not known."""

    train: int = 0
    """Training images; of restoration sub-images."""
    test: int = 0
    """Test images."""
    pixels: float = 3e5
    """Of a test image, on average; for restoration, whose images differ."""
    side: int = 0
    """Height and width of the images where they are equal and packed into stores."""


SIZES: Mapping[str, Size] = {
    "cifar10": Size(50_000, 10_000, side=32),
    "cifar100": Size(50_000, 10_000, side=32),
    "tiny-imagenet": Size(100_000, 10_000, side=64),
    "imagenet": Size(1_281_167, 50_000),
    "digits": Size(1_797, 1_797, side=32),
    "div2k": Size(32_208),  # sub-images (supplement, Sec. 2.3)
    "div2k-valid": Size(0, 100, 2.8e6),
    "bsd68": Size(0, 68, 154_401),
    "set5": Size(0, 5, 113_491),
    "set12": Size(0, 12, 147_456),
    "set14": Size(0, 14, 230_203),
    "b100": Size(0, 100, 154_401),
    "urban100": Size(0, 100, 7.7e5),
}
"""Known datasets: with labels by their kind, folders of images by the names that the project's
configurations give them."""


@dataclass(frozen=True)
class DatasetShape:
    """What a network must know of a classification dataset."""

    classes: int
    size: int
    """Height and width of an image in pixels."""


DATASETS = {
    "cifar10": DatasetShape(10, 32),
    "cifar100": DatasetShape(100, 32),
    "tiny-imagenet": DatasetShape(200, 64),
    "imagenet": DatasetShape(1000, 224),
    "digits": DatasetShape(10, 32),
}


def dataset_shape(dataset: str) -> DatasetShape:
    """Classes and image size of a dataset.

    Raises:
        ConfigError: for an unknown name.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"There is no dataset '{dataset}': {nearest(dataset, DATASETS)}")
    return DATASETS[dataset]
