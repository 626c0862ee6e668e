"""DnCNN (Zhang et al., 2017), as in Table 2: gray images with Gaussian noise."""

from __future__ import annotations

from torch import Tensor, nn

from lwdna.networks._widths import repeated, scaled


class DnCNN(nn.Module):
    """A head, ``blocks`` of convolution, batch norm and ReLU, and a tail for the residual."""

    def __init__(self, width: float = 1.0, blocks: int = 15, channels: int = 64) -> None:
        super().__init__()
        c = scaled(channels, width)
        self.head = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            *repeated(
                blocks,
                lambda: nn.Sequential(
                    nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(inplace=True)
                ),
            )
        )
        self.tail = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map noisy images ``(B, 1, H, W)``, 0-255, to clean ones of the same shape."""
        return x + self.tail(self.body(self.head(x)))  # type: ignore[no-any-return]
