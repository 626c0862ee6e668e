"""The networks of the paper and the datasets they are built for, by name, without PyTorch.

What checks a configuration knows the names from here; :mod:`lwdna.networks` builds the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lwdna.data.catalog import dataset_shape
from lwdna.errors import require_known
from lwdna.io.homes import at_home

Maker: TypeAlias = str
"""Module and name of the class of a network, or of a function that makes it. It is imported when
it is first called: torchvision, which some need, takes seconds."""


Options: TypeAlias = Mapping[str, Any]
"""Arguments of a maker, by name."""

_SMALL: Mapping[Maker, Options] = {
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

_TINY: Mapping[Maker, Options] = {
    "mobilenetv2.MobileNetV2": {"strides": (1, 1, 2, 2, 1, 2, 1)},
    "mobilenetv3.MobileNetV3": {"stem_stride": 1},
    "regnet.regnet": {"stem_stride": 1, "strides": (1, 2, 2, 2)},
    "efficientnet.efficientnet": {"stem_stride": 1, "strides": (1, 2, 1, 2, 1, 2, 1)},
    "resnet50.ResNet50": {"small_stem": True},
}
"""Options for 64 x 64 images. Table 1 has MobileNets and MnasNet of them; the others end at 8 x 8
like their relatives for 32 x 32 images."""

OPTIONS: Mapping[str, Mapping[Maker, Options]] = {
    "cifar10": _SMALL,
    "cifar100": _SMALL,
    "tiny-imagenet": _TINY,
    "digits": _SMALL,
}
"""By dataset and network: where it differs from the one for ImageNet."""


@dataclass(frozen=True)
class Entry:
    """A network of the registry."""

    maker: Maker
    dataset: str | None = None
    """The dataset it is built for when none is named; None for image restoration."""
    options: Options = field(default_factory=dict)
    """What the name itself implies; a user cannot change it."""
    channels: int = 3
    """Channels of the input of an image restoration network."""

    @property
    def make(self) -> Callable[..., Any]:
        """What makes the network."""
        return at_home(f"networks.{self.maker}")  # type: ignore[no-any-return]


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

TABLES_WITHOUT_BATCH_NORM = (2,)
"""Tables whose FLOPs do not count batch norm: only so is DnCNN 9.10 G."""


def input_shape(name: str, dataset: str | None = None) -> tuple[int, int, int, int]:
    """The shape ``(1, C, H, W)`` at which the paper counts the FLOPs of a network.

    Classification: an image of the dataset. Restoration: 128 x 128, for super-resolution the
    low-resolution side.
    """
    entry = find_network(name)
    if entry.dataset is None:
        return 1, entry.channels, RESTORATION_SIZE, RESTORATION_SIZE
    size = dataset_shape(dataset or entry.dataset).size
    return 1, 3, size, size


def find_network(name: str) -> Entry:
    """The entry of a network.

    Raises:
        ConfigError: for an unknown name.
    """
    require_known(
        name,
        NETWORKS,
        f"There is no network '{name}' (a network of your own, or of another package, is "
        "FILE:FUNCTION, such as net.py:make_network):",
    )
    return NETWORKS[name]
