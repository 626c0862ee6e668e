"""U-Net (Ronneberger et al., 2015), as in Table 2: gray images with Gaussian noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwdna.networks._widths import at_least, scaled


class DoubleConv(nn.Module):
    """Two 3 x 3 convolutions, each followed by ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights by Xavier's rule; biases are 0."""
        for conv in (self.conv1, self.conv2):
            nn.init.xavier_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C, H, W)``."""
        return functional.relu(self.conv2(functional.relu(self.conv1(x))))


class UpBlock(nn.Module):
    """Transposed convolution, concatenation with the skip connection, two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.convs = DoubleConv(2 * channels, channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``(B, 2 C, H, W)`` and a skip ``(B, C, 2 H, 2 W)`` to ``(B, C, 2 H, 2 W)``."""
        return self.convs(torch.cat([self.up(x), skip], 1))  # type: ignore[no-any-return]


DEEPEST = 16
"""Levels; each halves the image, so that more would need images of more than 65,536 pixels."""


class UNet(nn.Module):
    """Encoder and decoder of ``depth`` levels; height and width must divide by ``multiple``."""

    def __init__(self, width: float = 1.0, depth: int = 5, channels: int = 32) -> None:
        super().__init__()
        at_least(1, depth=depth)
        if depth > DEEPEST:
            raise ValueError(f"the depth is {depth} but must be {DEEPEST} or less")
        widths = [scaled(channels, width) * 2**level for level in range(depth)]
        self.down = nn.ModuleList(
            DoubleConv(before, after) for before, after in zip([1, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.multiple = 2 ** (depth - 1)
        self.up = nn.ModuleList(UpBlock(c) for c in reversed(widths[:-1]))
        self.tail = nn.Conv2d(widths[0], 1, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the last layer like the others."""
        nn.init.xavier_normal_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map noisy images ``(B, 1, H, W)``, 0-255, to clean ones of the same shape."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(x, skips.pop())
        return self.tail(x)  # type: ignore[no-any-return]
