"""MobileNetV1 (Howard et al., 2017), as in Table 1: Tiny-ImageNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lwdna.networks._widths import scaled

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of the depthwise separable blocks."""


def conv_bn(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
    )


class MobileNetV1(nn.Module):
    """A stem and a chain of depthwise separable convolutions.

    Args:
        num_classes: length of the output.
        width: multiplier of every channel number.
        stem_stride: 2 for Tiny-ImageNet and ImageNet; 1 for 32 x 32 images.
        blocks: output channels and stride of each block.
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        num_classes: int = 200,
        width: float = 1.0,
        stem_stride: int = 2,
        blocks: Sequence[Sequence[int]] = BLOCKS,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        channels = scaled(32, width)
        layers = [conv_bn(3, channels, 3, stem_stride)]
        for base, stride in blocks:
            out_channels = scaled(base, width)
            layers.append(
                nn.Sequential(
                    conv_bn(channels, channels, 3, stride, groups=channels),
                    conv_bn(channels, out_channels, 1),
                )
            )
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, 3, S, S)`` to logits ``(B, num_classes)``."""
        x = self.features(x).mean((2, 3))
        return self.classifier(self.dropout(x))  # type: ignore[no-any-return]
