"""The network of an experiment, as plans and measurements need it: shape, FLOPs, parameters."""

from __future__ import annotations

import json
from functools import cache

import torch
from torch import Tensor, nn

import lwdna
from lwdna.config.sections import Experiment
from lwdna.networks.build import build_seeded
from lwdna.networks.own import builder
from lwdna.networks.registry import input_shape
from lwdna.networks.user_code import is_own
from lwdna.shrinkage.latents import hypernetwork_size
from lwdna.tasks.sections import NetworkSection


def label(section: Experiment) -> str:
    """How a network is called in a plan: its label and what it is trained on."""
    return f"{section['label']} ({section['train']})"


def shape_of(section: Experiment) -> tuple[int, int, int, int]:
    """The shape (1, C, H, W) of a training image or patch of an experiment."""
    network = section["network"]
    one, channels, height, width = counted_shape(network)
    side = section["task"].get("patch_size")
    return (one, channels, side, side) if side else (one, channels, height, width)


def counted_shape(network: NetworkSection) -> tuple[int, int, int, int]:
    """The shape (1, C, H, W) for which the FLOPs of a network are counted."""
    if "input" in network:
        channels, height, width = network["input"]
        return 1, channels, height, width
    return input_shape(network["name"], network.get("dataset"))


def count(network: NetworkSection, shape: tuple[int, ...]) -> tuple[float, float]:
    """FLOPs and parameters of a network of the configuration, for an input of a shape."""
    return _count(json.dumps(network, sort_keys=True), shape)


@cache
def _count(network: str, shape: tuple[int, ...]) -> tuple[float, float]:
    model, example = _made(json.loads(network), shape)
    flops, params = lwdna.complexity(model, example)
    return float(flops), float(params)


def hypernetwork(network: NetworkSection, shape: tuple[int, ...], embedding: int) -> int:
    """Numbers in the hypernetworks of a network of the configuration."""
    model, example = _made(network, shape)
    return hypernetwork_size(lwdna.ChannelGraph(model, example), model, embedding)


def _made(network: NetworkSection, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """A network and an input of a shape, without data; with it if it is the user's own, whose
    function may compute with its weights."""
    with torch.device("cpu" if is_own(network["name"]) else "meta"):
        example = torch.empty(shape)
        return build_seeded(network, 0, builder((example,))), example


def widened(network: NetworkSection, width: float) -> NetworkSection:
    """A network of the configuration, wider by a factor."""
    return {**network, "width": network.get("width", 1) * width}
