"""The networks of the paper, as plain modules: ``build("ResNet56", dataset="cifar10", width=2)``.

One file a family, one line a network in ``NETWORKS``. No network knows that it will be shrunk.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import nn

from lwdna.errors import ConfigError, nearest
from lwdna.provenance import NetworkSpec, Provenance, set_provenance

Maker: TypeAlias = str
"""Module and name of the class of a network, or of a function that makes it. It is imported when
it is first called: torchvision, which some need, takes seconds."""


@dataclass(frozen=True)
class DatasetShape:
    """What a network must know of a classification dataset."""

    classes: int
    size: int
    """Height and width of an image in pixels."""
    options: Mapping[Maker, Mapping[str, Any]] = field(default_factory=dict)
    """By network: where it differs for this dataset from the one for ImageNet."""


_SMALL: Mapping[Maker, Mapping[str, Any]] = {
    "mobilenetv1.MobileNetV1": {"stem_stride": 1},
    "mobilenetv2.MobileNetV2": {"stem_stride": 1, "strides": (1, 1, 2, 2, 1, 2, 1)},
    "mobilenetv3.MobileNetV3": {"stem_stride": 1},
    "mnasnet.MnasNet": {"stem_stride": 1},
    "regnet.regnet": {"stem_stride": 1, "strides": (1, 1, 2, 2)},
    "efficientnet.efficientnet": {"stem_stride": 1, "strides": (1, 1, 1, 2, 1, 2, 1)},
    "resnet50.ResNet50": {"small_stem": True},
}
"""Options for 32 x 32 images. Table 1 has RegNet and EfficientNet of them; the others follow the
authors' code, and ResNet50 common practice."""

_TINY: Mapping[Maker, Mapping[str, Any]] = {
    "mobilenetv2.MobileNetV2": {"strides": (1, 1, 2, 2, 1, 2, 1)},
    "mobilenetv3.MobileNetV3": {"stem_stride": 1},
    "regnet.regnet": {"stem_stride": 1, "strides": (1, 2, 2, 2)},
    "efficientnet.efficientnet": {"stem_stride": 1, "strides": (1, 2, 1, 2, 1, 2, 1)},
    "resnet50.ResNet50": {"small_stem": True},
}
"""Options for 64 x 64 images. Table 1 has MobileNets and MnasNet of them; the others end at 8 x 8
like their relatives for 32 x 32 images."""

DATASETS = {
    "cifar10": DatasetShape(10, 32, _SMALL),
    "cifar100": DatasetShape(100, 32, _SMALL),
    "tiny-imagenet": DatasetShape(200, 64, _TINY),
    "imagenet": DatasetShape(1000, 224),
    "digits": DatasetShape(10, 32, _SMALL),
}


@dataclass(frozen=True)
class Entry:
    """A network of the registry."""

    maker: Maker
    dataset: str | None = None
    """The dataset it is built for when none is named; None for image restoration."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the name itself implies; a user cannot change it."""
    channels: int = 3
    """Channels of the input of an image restoration network."""

    @property
    def make(self) -> Callable[..., nn.Module]:
        """What makes the network."""
        module, name = self.maker.split(".")
        make: Callable[..., nn.Module] = getattr(import_module(f"{__name__}.{module}"), name)
        return make


RESNET_DEPTHS = (8, 14, 20, 26, 32, 38, 44, 56, 110)
"""Depths of the ResNets for small images; ResNet50 is ImageNet's, of another kind."""

NETWORKS = {
    **{
        f"ResNet{depth}": Entry("resnet.ResNet", "cifar10", {"depth": depth})
        for depth in RESNET_DEPTHS
    },
    "DenseNet40": Entry("densenet.DenseNet", "cifar100", {"depth": 40}),
    "EfficientNet": Entry("efficientnet.efficientnet", "cifar100"),
    "MnasNet": Entry("mnasnet.MnasNet", "tiny-imagenet"),
    "MobileNetV1": Entry("mobilenetv1.MobileNetV1", "tiny-imagenet"),
    "MobileNetV2": Entry("mobilenetv2.MobileNetV2", "tiny-imagenet"),
    "MobileNetV3-large": Entry("mobilenetv3.MobileNetV3", "tiny-imagenet", {"variant": "large"}),
    "MobileNetV3-small": Entry("mobilenetv3.MobileNetV3", "imagenet", {"variant": "small"}),
    "RegNetX-200MF": Entry("regnet.regnet", "cifar100", {"variant": "X-200MF"}),
    "RegNetX-400MF": Entry("regnet.regnet", "cifar100", {"variant": "X-400MF"}),
    "RegNetX-4.0GF": Entry("regnet.regnet", "imagenet", {"variant": "X-4.0GF"}),
    "RegNetY-200MF": Entry("regnet.regnet", "cifar100", {"variant": "Y-200MF"}),
    "RegNetY-400MF": Entry("regnet.regnet", "cifar100", {"variant": "Y-400MF"}),
    "ResNet50": Entry("resnet50.ResNet50", "imagenet"),
    "DnCNN": Entry("dncnn.DnCNN", channels=1),
    "U-Net": Entry("unet.UNet", channels=1),
    "EDSR": Entry("edsr.EDSR"),
    "SRResNet": Entry("srresnet.SRResNet"),
}

RESTORATION_SIZE = 128
"""Height and width at which the paper counts the FLOPs of image restoration networks."""


def network_names() -> list[str]:
    """The names that ``build`` knows."""
    return list(NETWORKS)


def build(
    name: str, *, dataset: str | None = None, width: float = 1.0, **options: Any
) -> nn.Module:
    """Build a network of the paper with its default initialisation.

    Args:
        name: as in Tables 1 and 2 (``"ResNet56"``, ``"RegNetX-200MF"``, ``"U-Net"``), or
            ``"EDSR"``, ``"SRResNet"``; ResNet also with the other ``RESNET_DEPTHS``.
        dataset: for classification, what fixes classes and strides; by default the first that
            Table 1 has of this network.
        width: multiplier of the channel numbers (``w`` of the paper's widening). The network's
            class says how they are rounded, and which are not multiplied.
        options: passed to the network's class, for example ``blocks=2`` for EDSR.

    Returns:
        A plain module; classification maps ``(B, 3, S, S)`` to ``(B, classes)``, restoration
        ``(B, C, H, W)`` to ``(B, C, s H, s W)`` on the 0-255 scale.

    Raises:
        ConfigError: for an unknown name, dataset or option, or a width that leaves no channel.
    """
    entry = _find(name)
    if not (isinstance(width, int | float) and 0 < width < math.inf):
        raise ConfigError(f"The width multiplier is {width!r}; give a number above 0.")
    arguments = dict(entry.options)
    if entry.dataset is None:
        if dataset is not None:
            raise ConfigError(
                f"{name} restores images and is the same for every dataset, but dataset "
                f"'{dataset}' was given; leave it out."
            )
    else:
        shape = dataset_shape(dataset or entry.dataset)
        arguments |= {"num_classes": shape.classes, **shape.options.get(entry.maker, {})}
    allowed = set(inspect.signature(entry.make).parameters) - {"width"} - set(entry.options)
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


def build_seeded(
    network: Mapping[str, Any], seed: int, make: Callable[..., nn.Module] = build
) -> nn.Module:
    """Build a network from its section of the configuration, with weights drawn from a seed.

    Args:
        network: ``name``, and ``dataset``, ``width`` and ``options`` if any.
        seed: of PyTorch's generator on the CPU, whose state is kept.
        make: what builds it, with the arguments of :func:`build`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(
            network["name"],
            dataset=network.get("dataset"),
            width=network.get("width", 1.0),
            **network.get("options", {}),
        )


def draw_again(model: nn.Module, seed: int) -> None:
    """Draw the weights of a network anew, as for one that was built with these sizes.

    That is ``reset_parameters()`` of each layer and then of what it is put into, if that has a
    method of this name; statistics of batch norm start again.

    Args:
        model: of any sizes, such as a shrunk network.
        seed: of PyTorch's generator on the CPU, whose state is kept.

    Raises:
        ConfigError: if a trained parameter belongs to a module without ``reset_parameters``.
    """
    for name, module in model.named_modules():
        own = [key for key, p in module.named_parameters(recurse=False) if p.requires_grad]
        if own and not hasattr(module, "reset_parameters"):
            raise ConfigError(
                f"The weights of {type(model).__name__} cannot be drawn anew: '{own[0]}' of "
                f"'{name or 'the network'}', a {type(module).__name__}, has no method "
                "reset_parameters that does it; write one."
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in reversed(list(model.modules())):
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()


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
    entry = _find(name)
    if entry.dataset is None:
        return 1, entry.channels, RESTORATION_SIZE, RESTORATION_SIZE
    size = dataset_shape(dataset or entry.dataset).size
    return 1, 3, size, size


def _find(name: str) -> Entry:
    if name not in NETWORKS:
        raise ConfigError(f"There is no network '{name}': {nearest(name, NETWORKS)}")
    return NETWORKS[name]
