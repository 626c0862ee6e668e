"""Where a network comes from: enough to build it again, and what is left of each layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from torch import nn


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


def provenance_of(model: nn.Module) -> Provenance:
    """Where a network comes from; nothing is known of a module made elsewhere."""
    return cast(Provenance, getattr(model, "provenance", Provenance()))


def set_provenance(model: nn.Module, provenance: Provenance) -> None:
    """Note on a network where it comes from; a copy of the network keeps the note."""
    model.provenance = provenance  # type: ignore[assignment]
