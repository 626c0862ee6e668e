"""Where a network comes from: enough to build it again, and what is left of each layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NetworkSpec:
    """The arguments of ``lwdna.build`` that made a network."""

    name: str
    dataset: str | None
    width: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """How a network was made: built from ``spec``, then cut down to the channels ``kept``.

    ``spec`` is None for a module that ``lwdna.build`` did not make; ``kept`` is None for a
    network that was not shrunk, else it maps each layer to the indices of its output channels
    in the network of ``spec`` that were kept.
    """

    spec: NetworkSpec | None = None
    kept: dict[str, list[int]] | None = None
