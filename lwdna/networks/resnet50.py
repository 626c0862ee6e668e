"""ResNet50 (He et al., 2016), as in Table 1: ImageNet."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from lwdna.networks._initial import draw_weights
from lwdna.networks._widths import scaled


class ResNet50(nn.Module):
    """Bottlenecks of torchvision, with torchvision's names of parameters, so its weights load.

    Args:
        num_classes: length of the output.
        width: multiplier of every channel number.
        small_stem: begin with a 3 x 3 convolution that keeps the resolution, and without pooling,
            for images smaller than ImageNet's.
    """

    def __init__(
        self, num_classes: int = 1000, width: float = 1.0, small_stem: bool = False
    ) -> None:
        super().__init__()
        stem, *inner = (scaled(c, width) for c in (64, 64, 128, 256, 512))
        kernel, stride = (3, 1) if small_stem else (7, 2)
        self.conv1 = nn.Conv2d(3, stem, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(stem, inner[0], 3, 1)
        self.layer2 = _stage(4 * inner[0], inner[1], 4, 2)
        self.layer3 = _stage(4 * inner[1], inner[2], 6, 2)
        self.layer4 = _stage(4 * inner[2], inner[3], 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * inner[3], num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights that are not drawn as PyTorch does."""
        draw_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, 3, S, S)`` to logits ``(B, num_classes)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(in_channels: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks whose output has four times their inner channels; the first has a projection."""
    projection = nn.Sequential(
        nn.Conv2d(in_channels, 4 * inner, 1, stride, bias=False), nn.BatchNorm2d(4 * inner)
    )
    first = Bottleneck(in_channels, inner, stride, projection)
    return nn.Sequential(first, *(Bottleneck(4 * inner, inner) for _ in range(1, blocks)))
