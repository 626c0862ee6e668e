"""EfficientNet-B0 (Tan & Le, 2019), as in Table 1: CIFAR100, without dropout."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig

from lwdna.networks._widths import one_for_each, scaled

EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
KERNELS = (3, 3, 5, 3, 5, 5, 3)
CHANNELS = (32, 16, 24, 40, 80, 112, 192, 320)
"""Of the stem, and of the output of each stage."""
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""In each stage; so are the expansions and kernel sizes."""


class _Stage(MBConvConfig):  # type: ignore[misc]
    """A stage whose channel numbers are rounded down, as in the authors' code."""

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, _least: int | None = None) -> int:
        return scaled(channels, width_mult)


def efficientnet(
    num_classes: int = 1000,
    width: float = 1.0,
    stem_stride: int = 2,
    strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
) -> nn.Module:
    """EfficientNet-B0 of torchvision, without dropout and stochastic depth.

    Args:
        num_classes: length of the output.
        width: multiplier of every channel number.
        stem_stride: 2 for ImageNet, 1 for smaller images.
        strides: of each stage; those with 24 and 40 channels have 1 for 32 x 32 images.
    """
    one_for_each(len(BLOCKS), strides=strides)
    columns = (EXPANSIONS, KERNELS, strides, CHANNELS[:-1], CHANNELS[1:], BLOCKS)
    stages = [_Stage(*stage, width_mult=width) for stage in zip(*columns, strict=True)]
    network: nn.Module = EfficientNet(
        stages, 0.0, 0.0, num_classes=num_classes, last_channel=scaled(1280, width)
    )
    network.get_submodule("features.0.0").stride = (stem_stride, stem_stride)  # type: ignore
    return network
