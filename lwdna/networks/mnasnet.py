"""MnasNet (Tan et al., 2019), as in Table 1: Tiny-ImageNet."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from lwdna.networks._pooled import Pooled
from lwdna.networks._widths import rounded

STAGES = (
    (3, 3, 24, 3, 2),
    (5, 3, 40, 3, 2),
    (5, 6, 80, 3, 2),
    (3, 6, 96, 2, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
"""Kernel size, expansion, output channels, number of blocks and stride of each stage."""


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and linear projection, added to an input of equal shape."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inside = expansion * in_channels
        self.layers = nn.Sequential(
            Conv2dNormActivation(in_channels, inside, 1),
            Conv2dNormActivation(inside, inside, kernel, stride, groups=inside),
            Conv2dNormActivation(inside, channels, 1, activation_layer=None),
        )
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C, H / stride, W / stride)``."""
        out = self.layers(x)
        return x + out if self.residual else out  # type: ignore[no-any-return]


class MnasNet(Pooled):
    """The structure of torchvision's, with PyTorch's default initialisation and batch norm.

    Args:
        num_classes: length of the output.
        width: multiplier of the channels of the stages, which are then rounded to a multiple of
            8. The stem (32), the separable block (16) and the last convolution (1280) keep theirs.
        stem_stride: 2 for Tiny-ImageNet and ImageNet; 1 for 32 x 32 images.
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width: float = 1.0,
        stem_stride: int = 2,
        dropout: float = 0.2,
    ) -> None:
        layers: list[nn.Module] = [
            Conv2dNormActivation(3, 32, 3, stem_stride),
            Conv2dNormActivation(32, 32, 3, groups=32),
            Conv2dNormActivation(32, 16, 1, activation_layer=None),
        ]
        channels = 16
        for kernel, expansion, base, blocks, stage_stride in STAGES:
            for block in range(blocks):
                out_channels, stride = rounded(base, width), stage_stride if block == 0 else 1
                layers.append(InvertedResidual(channels, out_channels, kernel, stride, expansion))
                channels = out_channels
        layers.append(Conv2dNormActivation(channels, 1280, 1))
        super().__init__(layers, nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes)))
