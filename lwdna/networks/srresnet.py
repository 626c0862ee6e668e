"""SRResNet (Ledig et al., 2017): 16 residual blocks of 64 channels."""

from __future__ import annotations

from torch import Tensor, nn

from lwdna.networks._widths import repeated, scaled
from lwdna.networks.edsr import upsampling


class ResidualBlock(nn.Module):
    """Convolution, batch norm, PReLU, convolution, batch norm, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        residual = self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))
        return x + residual  # type: ignore[no-any-return]


class SRResNet(nn.Module):
    """Residual blocks with batch norm and PReLU under a long skip, upsampling by ``scale``."""

    def __init__(
        self, width: float = 1.0, blocks: int = 16, channels: int = 64, scale: int = 4
    ) -> None:
        super().__init__()
        c = scaled(channels, width)
        self.head = nn.Sequential(nn.Conv2d(3, c, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *repeated(blocks, lambda: ResidualBlock(c)),
            nn.Conv2d(c, c, 3, padding=1),
            nn.BatchNorm2d(c),
        )
        self.upsample = upsampling(c, scale, nn.PReLU)
        self.tail = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to ``(B, 3, scale H, scale W)``, both 0-255."""
        x = self.head(x)
        x = self.upsample(x + self.body(x))
        return self.tail(x)  # type: ignore[no-any-return]
