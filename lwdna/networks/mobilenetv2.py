"""MobileNetV2 (Sandler et al., 2018), as in Table 1: Tiny-ImageNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation

from lwdna.networks._initial import draw_weights
from lwdna.networks._pooled import Pooled
from lwdna.networks._widths import one_for_each, scaled

STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, output channels and number of inverted residuals of each stage."""


class MobileNetV2(Pooled):
    """Inverted residuals of torchvision, with torchvision's names of parameters.

    Unlike torchvision's, every channel number is multiplied by the width and rounded down.

    Args:
        num_classes: length of the output.
        width: multiplier of every channel number.
        stem_stride: 2 for Tiny-ImageNet and ImageNet; 1 for 32 x 32 images.
        strides: of each stage; that of the second is 2 only for ImageNet.
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width: float = 1.0,
        stem_stride: int = 2,
        strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
        dropout: float = 0.2,
    ) -> None:
        one_for_each(len(STAGES), strides=strides)
        channels, last = scaled(32, width), scaled(1280, width)
        layers = [Conv2dNormActivation(3, channels, 3, stem_stride, activation_layer=nn.ReLU6)]
        for (expansion, base, blocks), stage_stride in zip(STAGES, strides, strict=True):
            for block in range(blocks):
                stride = stage_stride if block == 0 else 1
                layers.append(InvertedResidual(channels, scaled(base, width), stride, expansion))
                channels = scaled(base, width)
        layers.append(Conv2dNormActivation(channels, last, 1, activation_layer=nn.ReLU6))
        super().__init__(layers, nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights that are not drawn as PyTorch does."""
        draw_weights(self, linear_std=0.01)
