"""EDSR (Lim et al., 2017), the paper's simplified one: 8 residual blocks of 128 channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lwdna.networks._widths import repeated, scaled

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean of the DIV2K training images, on the 0-1 scale."""


class MeanShift(nn.Conv2d):
    """Add or subtract the mean colour, as a fixed 1 x 1 convolution."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        super().__init__(3, 3, 1)

    def reset_parameters(self) -> None:
        """Write the constants."""
        super().reset_parameters()
        self.weight.requires_grad_(False).copy_(torch.eye(3).view(3, 3, 1, 1))
        bias: nn.Parameter = self.bias  # type: ignore[assignment]
        bias.requires_grad_(False).copy_(self.sign * 255 * torch.tensor(RGB_MEAN))


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input; no batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        return x + self.conv2(self.relu(self.conv1(x)))  # type: ignore[no-any-return]


def upsampling(
    channels: int, scale: int, activation: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """A convolution and a pixel shuffle for each doubling of the resolution, or for the tripling.

    Args:
        channels: of the input and output.
        scale: 2, 3, 4 or 8.
        activation: what makes the layer after each, if there is one.
    """
    factors = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}.get(scale)
    if factors is None:
        raise ValueError(f"the scale is {scale} but must be 2, 3, 4 or 8")
    last = [] if activation is None else [activation]
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(channels, factor**2 * channels, 3, padding=1),
                nn.PixelShuffle(factor),
                *(make() for make in last),
            )
            for factor in factors
        )
    )


class EDSR(nn.Module):
    """Residual blocks without batch norm under a long skip, and upsampling by ``scale``.

    The mean colour of the training images is subtracted first and added last.
    """

    def __init__(
        self, width: float = 1.0, blocks: int = 8, channels: int = 128, scale: int = 4
    ) -> None:
        super().__init__()
        c = scaled(channels, width)
        self.sub_mean = MeanShift(-1)
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.body = nn.Sequential(
            *repeated(blocks, lambda: ResidualBlock(c)), nn.Conv2d(c, c, 3, padding=1)
        )
        self.upsample = upsampling(c, scale)
        self.tail = nn.Conv2d(c, 3, 3, padding=1)
        self.add_mean = MeanShift(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to ``(B, 3, scale H, scale W)``, both 0-255."""
        x = self.head(self.sub_mean(x))
        x = self.upsample(x + self.body(x))
        return self.add_mean(self.tail(x))  # type: ignore[no-any-return]
