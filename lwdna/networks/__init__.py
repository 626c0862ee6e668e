"""The networks of the paper, as plain modules: ``build("ResNet56", dataset="cifar10", width=2)``.

One file a family, one line a network in ``NETWORKS``. No network knows that it will be shrunk.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from lwdna.errors import ConfigError, nearest
from lwdna.networks.dncnn import DnCNN
from lwdna.networks.edsr import EDSR
from lwdna.networks.mobilenetv1 import MobileNetV1
from lwdna.networks.resnet import ResNet
from lwdna.networks.srresnet import SRResNet
from lwdna.networks.unet import UNet
from lwdna.provenance import NetworkSpec, Provenance, set_provenance


@dataclass(frozen=True)
class DatasetShape:
    """What a network must know of a classification dataset."""

    classes: int
    size: int
    """Height and width of an image in pixels."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By network family: the options with which the paper builds it for this dataset."""


DATASETS = {
    "cifar10": DatasetShape(10, 32, {"MobileNetV1": {"stem_stride": 1}}),
    "cifar100": DatasetShape(100, 32, {"MobileNetV1": {"stem_stride": 1}}),
    "tiny-imagenet": DatasetShape(200, 64),
    "imagenet": DatasetShape(1000, 224),
    "digits": DatasetShape(10, 32, {"MobileNetV1": {"stem_stride": 1}}),
}


@dataclass(frozen=True)
class Entry:
    """A network of the registry."""

    make: Callable[..., nn.Module]
    dataset: str | None = None
    """The dataset it is built for when none is named; None for image restoration."""
    channels: int = 3
    """Channels of the input of an image restoration network."""


NETWORKS = {
    "ResNet": Entry(ResNet, "cifar10"),
    "MobileNetV1": Entry(MobileNetV1, "tiny-imagenet"),
    "DnCNN": Entry(DnCNN, channels=1),
    "U-Net": Entry(UNet, channels=1),
    "EDSR": Entry(EDSR),
    "SRResNet": Entry(SRResNet),
}

RESNET_DEPTHS = (8, 14, 20, 26, 32, 38, 44, 56, 110)
"""Depths of the ResNets for small images; ResNet50 and others are ImageNet's, of another kind."""

RESTORATION_SIZE = 128
"""Height and width at which the paper counts the FLOPs of image restoration networks."""


def network_names() -> list[str]:
    """The names that ``build`` knows."""
    resnets = [f"ResNet{depth}" for depth in RESNET_DEPTHS]
    return [*resnets, *(name for name in NETWORKS if name != "ResNet")]


def build(
    name: str, *, dataset: str | None = None, width: float = 1.0, **options: Any
) -> nn.Module:
    """Build a network of the paper with its default initialisation.

    Args:
        name: as in Tables 1 and 2 (``"ResNet56"``, ``"MobileNetV1"``, ``"DnCNN"``, ``"U-Net"``),
            or ``"EDSR"``, ``"SRResNet"``; ResNet also with the other ``RESNET_DEPTHS``.
        dataset: for classification, what fixes classes and strides; by default the paper's.
        width: multiplier of every channel number, rounded down (``w`` of the paper's widening).
        options: passed to the network's class, for example ``blocks=2`` for EDSR.

    Returns:
        A plain module; classification maps ``(B, 3, S, S)`` to ``(B, classes)``, restoration
        ``(B, C, H, W)`` to ``(B, C, s H, s W)`` on the 0-255 scale.

    Raises:
        ConfigError: for an unknown name, dataset or option, or a width that leaves no channel.
    """
    family, entry, implied = _find(name)
    if not (isinstance(width, int | float) and 0 < width < math.inf):
        raise ConfigError(f"The width multiplier is {width!r}; give a number above 0.")
    arguments: dict[str, Any] = dict(implied)
    if entry.dataset is None:
        if dataset is not None:
            raise ConfigError(
                f"{name} restores images and is the same for every dataset, but dataset "
                f"'{dataset}' was given; leave it out."
            )
    else:
        shape = dataset_shape(dataset or entry.dataset)
        arguments |= {"num_classes": shape.classes} | shape.options.get(family, {})
    allowed = set(inspect.signature(entry.make).parameters) - {"width"} - set(implied)
    for option in options:
        if option not in allowed:
            raise ConfigError(f"{name} has no option '{option}': {nearest(option, allowed)}")
    try:
        network = entry.make(width=width, **(arguments | options))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot be built with width {width} and {options}: {error}."
        ) from error
    spec = NetworkSpec(name, dataset or entry.dataset, float(width), dict(options))
    set_provenance(network, Provenance(spec))
    return network


def dataset_shape(dataset: str) -> DatasetShape:
    """Classes and image size of a dataset.

    Raises:
        ConfigError: for an unknown name.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"There is no dataset '{dataset}': {nearest(dataset, DATASETS)}")
    return DATASETS[dataset]


def input_shape(name: str, dataset: str | None = None) -> tuple[int, int, int, int]:
    """The shape ``(1, C, H, W)`` at which the paper counts the FLOPs of a network.

    Classification: an image of the dataset. Restoration: 128 x 128, for super-resolution the
    low-resolution side.
    """
    _, entry, _ = _find(name)
    if entry.dataset is None:
        return 1, entry.channels, RESTORATION_SIZE, RESTORATION_SIZE
    size = dataset_shape(dataset or entry.dataset).size
    return 1, 3, size, size


def _find(name: str) -> tuple[str, Entry, dict[str, Any]]:
    """Family, registry entry and the options that the name itself implies."""
    for depth in RESNET_DEPTHS:
        if name == f"ResNet{depth}":
            return "ResNet", NETWORKS["ResNet"], {"depth": depth}
    if name in NETWORKS and name != "ResNet":
        return name, NETWORKS[name], {}
    raise ConfigError(f"There is no network '{name}': {nearest(name, network_names())}")
