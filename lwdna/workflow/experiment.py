"""The network of an experiment, as plans and measurements need it: shape, FLOPs, parameters."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch

import lwdna
from lwdna.networks.build import build_seeded
from lwdna.networks.registry import input_shape
from lwdna.shrinkage.latents import hypernetwork_size
from lwdna.workflow.run import Section


def label(section: Section) -> str:
    """How a network is called in a plan: its label and what it is trained on."""
    return f"{section['label']} ({section['train']})"


def shape_of(section: Section) -> tuple[int, int, int, int]:
    """The shape (1, C, H, W) of a training image or patch of an experiment."""
    network = section["network"]
    one, channels, height, width = input_shape(network["name"], network.get("dataset"))
    side = section["task"].get("patch_size")
    return (one, channels, side, side) if side else (one, channels, height, width)


def count(network: Section, shape: tuple[int, ...]) -> tuple[float, float]:
    """FLOPs and parameters of a network of the configuration, for an input of a shape."""
    return _count(json.dumps(network, sort_keys=True), shape)


@cache
def _count(network: str, shape: tuple[int, ...]) -> tuple[float, float]:
    with torch.device("meta"):  # weights are not needed
        model = build_seeded(json.loads(network), seed=0)
    flops, params = lwdna.complexity(model, torch.empty(shape, device="meta"))
    return float(flops), float(params)


def hypernetwork(network: Section, shape: tuple[int, ...], embedding: int) -> int:
    """Numbers in the hypernetworks of a network of the configuration."""
    with torch.device("meta"):
        model = build_seeded(network, seed=0)
    graph = lwdna.ChannelGraph(model, torch.empty(shape, device="meta"))
    return hypernetwork_size(graph, model, embedding)


def widened(network: Section, width: float) -> dict[str, Any]:
    """A network of the configuration, wider by a factor."""
    return {**network, "width": network.get("width", 1) * width}
