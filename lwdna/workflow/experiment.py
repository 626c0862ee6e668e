"""The network of an experiment, as plans and measurements need it: shape, FLOPs, parameters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import lwdna
from lwdna.config.methods import SEARCHES
from lwdna.config.sections import Experiment
from lwdna.networks.build import build_seeded
from lwdna.networks.own import builder
from lwdna.networks.registry import input_shape
from lwdna.networks.user_code import is_own
from lwdna.rivals.search import Effort, Rival
from lwdna.tasks.sections import NetworkSection
from lwdna.tracking.dimp import Dimp, Settings, complexity


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


def count_tracker(section: Experiment) -> tuple[float, float]:
    """FLOPs of a frame and parameters of a tracker on the network of an experiment."""
    parts = section["network"], dict(section["task"]["tracker"])
    return _count_tracker(*(json.dumps(part, sort_keys=True) for part in parts))


@cache
def _count_tracker(network: str, tracker: str) -> tuple[float, float]:
    settings = Settings.read(json.loads(tracker))
    backbone, image = _made(json.loads(network), (1, 3, settings.size, settings.size))
    with torch.device(image.device):
        model = Dimp(backbone, settings)
        flops, _, params = complexity(model)
    return float(flops), float(params)


@cache
def _count(network: str, shape: tuple[int, ...]) -> tuple[float, float]:
    model, example = _made(json.loads(network), shape)
    flops, params = lwdna.complexity(model, example)
    return float(flops), float(params)


def effort(
    shrinkage: str,
    network: NetworkSection,
    shape: tuple[int, ...],
    settings: Mapping[str, Any],
    *,
    images: float,
    epochs: int,
) -> Effort:
    """What a search takes at most.

    Args:
        shrinkage: its name in :data:`lwdna.config.methods.SEARCHES`.
        network: of the configuration, as wide as it is when the search begins.
        shape: of a training image, ``(1, C, H, W)``.
        settings: of the search, ``target_flops`` among them, for such an image.
        images: for training, in an epoch.
        epochs: of its protocol.
    """
    texts = (json.dumps(value, sort_keys=True) for value in (network, dict(settings)))
    return _effort(shrinkage, *texts, shape, images, epochs)


@cache
def _effort(  # noqa: PLR0917, what the cache knows a search by
    shrinkage: str,
    network: str,
    settings: str,
    shape: tuple[int, ...],
    images: float,
    epochs: int,
) -> Effort:
    rival: Rival = SEARCHES[shrinkage].load()
    given = json.loads(settings)
    known = {field.name: field.name.rstrip("_") for field in dataclasses.fields(rival.Settings)}
    chosen = rival.Settings(**{name: given[key] for name, key in known.items() if key in given})
    model, example = _made(json.loads(network), shape)
    return rival.effort(model, example, chosen, images=images, epochs=epochs)


def _made(network: NetworkSection, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """A network and an input of a shape, without data; with it if it is the user's own, whose
    function may compute with its weights."""
    with torch.device("cpu" if is_own(network["name"]) else "meta"):
        example = torch.empty(shape)
        return build_seeded(network, 0, builder((example,))), example


def widened(network: NetworkSection, width: float) -> NetworkSection:
    """A network of the configuration, wider by a factor."""
    return {**network, "width": network.get("width", 1) * width}
