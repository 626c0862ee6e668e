"""DenseNet without bottlenecks (Huang et al., 2017), as in Table 1: DenseNet40 on CIFAR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lwdna.networks._widths import scaled


def bn_relu_conv(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    """Batch norm, ReLU, convolution."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False),
    )


class DenseLayer(nn.Module):
    """A 3 x 3 convolution whose output is appended to its input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.layers = bn_relu_conv(in_channels, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C + growth, H, W)``."""
        return torch.cat([x, self.layers(x)], 1)


class DenseNet(nn.Module):
    """A stem of 24 channels and three dense blocks of ``(depth - 4) / 3`` layers.

    The transitions between them keep the number of channels.

    Args:
        depth: layers with weights, 3 n + 4.
        num_classes: length of the output.
        width: multiplier of every channel number.
        growth: channels that a layer appends.
    """

    def __init__(
        self, depth: int = 40, num_classes: int = 10, width: float = 1.0, growth: int = 12
    ) -> None:
        super().__init__()
        if depth < 7 or (depth - 4) % 3:
            raise ValueError(f"the depth is {depth} but must be 3 n + 4 with n of at least 1")
        channels, appended = scaled(24, width), scaled(growth, width)
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
        for block in range(3):
            if block > 0:
                layers += [bn_relu_conv(channels, channels, 1), nn.AvgPool2d(2)]
            for _ in range((depth - 4) // 3):
                layers.append(DenseLayer(channels, appended))
                channels += appended
        self.features = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights that are not drawn as PyTorch does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.kaiming_normal_(self.classifier.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, 3, 32, 32)`` to logits ``(B, num_classes)``."""
        x = self.pool(self.relu(self.norm(self.features(x))))
        return self.classifier(x.flatten(1))  # type: ignore[no-any-return]
