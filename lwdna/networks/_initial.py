"""Initial weights that several networks share."""

from __future__ import annotations

from torch import nn


def draw_weights(model: nn.Module, *, linear_std: float | None = None) -> None:
    """Draw convolutions from N(0, 2 / (k^2 C_out)), and linear layers from N(0, linear_std^2).

    Without ``linear_std`` linear layers keep PyTorch's default. Biases of what is drawn are 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, 0, linear_std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
