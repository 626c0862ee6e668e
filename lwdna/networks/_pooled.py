"""Networks that classify the mean of their features over the image."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class Pooled(nn.Module):
    """Features, their mean over the image, and a classifier of that.

    Args:
        layers: the features, one after the other: ``(B, 3, S, S)`` to ``(B, C, H, W)``.
        classifier: maps ``(B, C)`` to logits ``(B, num_classes)``.
    """

    def __init__(self, layers: Iterable[nn.Module], classifier: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, 3, S, S)`` to logits ``(B, num_classes)``."""
        return self.classifier(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]
