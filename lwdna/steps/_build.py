"""Building networks from their section of the configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import lwdna
from lwdna.data.datasets import ClassificationTest, ClassificationTrain
from lwdna.errors import ConfigError
from lwdna.evaluation import input_multiple
from lwdna.networks import dataset_shape
from lwdna.provenance import provenance_of


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


def check_fits(model: nn.Module, data: Any, patch_size: int = 0) -> None:
    """Refuse images or patches that the network was not built for.

    Raises:
        ConfigError: naming the sizes (and the numbers of classes) of both.
    """
    multiple = input_multiple(model)
    if patch_size % multiple:
        raise ConfigError(
            f"task.patch_size is {patch_size}, but this network needs a multiple of {multiple}."
        )
    spec = provenance_of(model).spec
    if spec is None or not isinstance(data, ClassificationTrain | ClassificationTest):
        return
    shape = dataset_shape(spec.dataset or "")
    wanted = (shape.size, shape.size, spec.options.get("num_classes", shape.classes))
    if data.shape != wanted:
        raise ConfigError(
            f"{spec.name} for {spec.dataset} takes images of {wanted[0]} x {wanted[1]} in "
            f"{wanted[2]} classes, but there are images of {data.shape[0]} x {data.shape[1]} in "
            f"{data.shape[2]} classes; set network.dataset to fit the images."
        )
