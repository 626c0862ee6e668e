"""RegNetX and RegNetY (Radosavovic et al., 2020), as in Table 1: ImageNet and CIFAR100."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.ops import Conv2dNormActivation

from lwdna.errors import nearest
from lwdna.networks._widths import one_for_each, scaled


class Variant(NamedTuple):
    """What distinguishes a RegNet from another, by stage."""

    depths: tuple[int, ...]
    channels: tuple[int, ...]
    group_width: int
    se_ratio: float | None = None
    """Channels that squeeze-and-excitation squeezes to, relative to the input of its block."""


VARIANTS = {
    "X-200MF": Variant((1, 1, 4, 7), (24, 56, 152, 368), 8),
    "X-400MF": Variant((1, 2, 7, 12), (32, 64, 160, 384), 16),
    "X-4.0GF": Variant((2, 5, 14, 2), (80, 240, 560, 1360), 40),
    "Y-200MF": Variant((1, 1, 4, 7), (24, 56, 152, 368), 8, 0.25),
    "Y-400MF": Variant((1, 3, 6, 6), (48, 104, 208, 440), 8, 0.25),
}


def regnet(
    variant: str = "X-200MF",
    num_classes: int = 1000,
    width: float = 1.0,
    stem_stride: int = 2,
    strides: Sequence[int] = (2, 2, 2, 2),
) -> nn.Module:
    """A RegNet of torchvision with the paper's stages.

    Args:
        variant: a key of ``VARIANTS``.
        num_classes: length of the output.
        width: multiplier of every channel number. A group keeps its width, so that it is the
            number of groups that is multiplied and rounded down.
        stem_stride: 2 for ImageNet, 1 for smaller images.
        strides: of each stage; the first two are 1 for 32 x 32 images.
    """
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant '{variant}': {nearest(variant, VARIANTS)}")
    depths, channels, group_width, se_ratio = VARIANTS[variant]
    stages = len(depths)
    one_for_each(stages, strides=strides)

    def stem(
        in_channels: int,
        channels: int,
        norm: Callable[..., nn.Module],
        activation: Callable[..., nn.Module],
    ) -> nn.Module:
        return Conv2dNormActivation(  # type: ignore[no-any-return]
            in_channels, channels, 3, stem_stride, norm_layer=norm, activation_layer=activation
        )

    blocks = BlockParams(
        depths=list(depths),
        widths=[group_width * _groups(c, group_width, width) for c in channels],
        group_widths=[group_width] * stages,
        bottleneck_multipliers=[1.0] * stages,
        strides=list(strides),
        se_ratio=se_ratio,
    )
    return RegNet(  # type: ignore[no-any-return]
        blocks, num_classes=num_classes, stem_width=scaled(32, width), stem_type=stem
    )


def _groups(channels: int, group_width: int, width: float) -> int:
    groups = int(channels * width) // group_width
    if groups < 1:
        raise ValueError(
            f"{channels} channels at width {width:g} leave no group of {group_width} channels"
        )
    return groups
