"""Building networks from their section of the configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import lwdna


def build_seeded(network: dict[str, Any], seed: int) -> nn.Module:
    """Build a network from its section of the configuration, with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lwdna.build(
            network["name"],
            dataset=network.get("dataset"),
            width=network.get("width", 1.0),
            **network.get("options", {}),
        )
