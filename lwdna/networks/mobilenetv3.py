"""MobileNetV3 (Howard et al., 2019), as in Table 1: ImageNet and Tiny-ImageNet.

The paper's networks differ from the published ones, and torchvision's, in the last blocks of the
large one, in the head of the small one, and in squeeze-and-excitation.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig
from torchvision.ops import Conv2dNormActivation

from lwdna.errors import nearest
from lwdna.networks._initial import draw_weights
from lwdna.networks._pooled import Pooled
from lwdna.networks._widths import rounded

ROWS = {
    "large": (
        (3, 16, 16, False, "RE", 1),
        (3, 64, 24, False, "RE", 2),
        (3, 72, 24, False, "RE", 1),
        (5, 72, 40, True, "RE", 2),
        *((5, 120, 40, True, "RE", 1),) * 2,
        (3, 240, 80, False, "HS", 2),
        (3, 200, 80, False, "HS", 1),
        *((3, 184, 80, False, "HS", 1),) * 2,
        (3, 480, 112, True, "HS", 1),
        (3, 672, 112, True, "HS", 1),
        (5, 672, 160, True, "HS", 1),
        (5, 672, 160, True, "HS", 2),
        (5, 960, 160, True, "HS", 1),
    ),
    "small": (
        (3, 16, 16, True, "RE", 2),
        (3, 72, 24, False, "RE", 2),
        (3, 88, 24, False, "RE", 1),
        (5, 96, 40, True, "HS", 2),
        *((5, 240, 40, True, "HS", 1),) * 2,
        (5, 120, 48, True, "HS", 1),
        (5, 144, 48, True, "HS", 1),
        (5, 288, 96, True, "HS", 2),
        *((5, 576, 96, True, "HS", 1),) * 2,
    ),
}
"""Kernel size, expanded and output channels, squeeze-and-excitation, ReLU or h-swish, stride."""


class SqueezeExcitation(nn.Module):
    """Weigh channels by two linear layers; a quarter of the channels, rounded down, between them.

    Args:
        channels: of the input and output.
        _squeeze: what torchvision's block would have it be, a multiple of 8; not used.
    """

    def __init__(self, channels: int, _squeeze: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 4)
        self.activation = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(channels // 4, channels)
        self.scale_activation = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        scale = self.fc2(self.activation(self.fc1(x.mean((2, 3)))))
        return x * self.scale_activation(scale).unsqueeze(2).unsqueeze(3)  # type: ignore[no-any-return]


class MobileNetV3(Pooled):
    """Inverted residuals of torchvision with another squeeze-and-excitation, and the paper's head.

    Args:
        variant: "large" or "small".
        num_classes: length of the output.
        width: multiplier of every channel number, which is then rounded to a multiple of 8; of
            the 1280 channels before the classifier only if it is above 1.
        stem_stride: 2 for ImageNet, 1 for smaller images.
    """

    def __init__(
        self,
        variant: str = "large",
        num_classes: int = 1000,
        width: float = 1.0,
        stem_stride: int = 2,
    ) -> None:
        if variant not in ROWS:
            raise ValueError(f"there is no variant '{variant}': {nearest(variant, ROWS)}")
        conv = partial(Conv2dNormActivation, activation_layer=nn.Hardswish)
        channels = rounded(16, width)
        layers = [conv(3, channels, 3, stem_stride)]
        last = channels
        for kernel, base, out_channels, excite, activation, stride in ROWS[variant]:
            last, after = rounded(base, width), rounded(out_channels, width)
            config = InvertedResidualConfig(
                channels, kernel, last, after, excite, activation, stride, 1, 1.0
            )
            layers.append(InvertedResidual(config, nn.BatchNorm2d, SqueezeExcitation))
            channels = after
        layers.append(conv(channels, last, 1))
        if variant == "small":
            layers.append(SqueezeExcitation(last))
        head = rounded(1280, max(1.0, width))
        classifier = nn.Sequential(
            nn.Linear(last, head), nn.Hardswish(inplace=True), nn.Linear(head, num_classes)
        )
        super().__init__(layers, classifier)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights that are not drawn as PyTorch does."""
        draw_weights(self, linear_std=0.01)
