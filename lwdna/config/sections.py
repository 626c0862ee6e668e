"""The sections of a configuration, as types; what they hold is said in ``config/schema.yaml``."""

from __future__ import annotations

from typing import Any, NotRequired, TypeAlias, TypedDict

from lwdna.data.catalog import DatasetSection
from lwdna.tasks.sections import ProtocolSection

Experiment: TypeAlias = dict[str, Any]
"""A section of ``experiments``: ``network``, ``task``, ``methods``, and a section of each search by
its name, as :data:`lwdna.config.methods.SEARCHES` has them."""


class Replica(TypedDict, total=False):
    """A network of the paper that is shrunk again."""

    network: str
    dataset: str
    rho: float
    tau: float
    batch_size: int
    batches: int
    embedding: int
    patch_size: int


class Replication(TypedDict, total=False):
    """The section ``replication``."""

    seeds: list[int]
    width: float
    images: str
    networks: dict[str, Replica]


class Config(TypedDict):
    """A configuration, checked and completed."""

    scale: str
    seeds: list[int]
    datasets: dict[str, DatasetSection]
    protocols: dict[str, ProtocolSection]
    experiments: dict[str, Experiment]
    only: dict[str, list[str]]
    """What is to run, by a facet: datasets, networks, methods, experiments."""
    tensorboard: bool
    replication: NotRequired[Replication]
