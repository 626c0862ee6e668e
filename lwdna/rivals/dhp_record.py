"""The latent vectors of a search over time, as HDF5: what Figure 3 is drawn from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwdna.errors import DataError
from lwdna.io.hdf5 import create_store, read_tables

TRAJECTORY = ("step", "flops", "elements")
"""Columns of the trajectory: steps made, FLOPs that count, latent elements that count."""

_TABLES = ("layers", "layer_set", "set_size", "epochs", "latents", "trajectory")


@dataclass(frozen=True)
class LatentRecord:
    """How the latent vectors of a network changed during a search."""

    layers: tuple[str, ...]
    """Convolutions and linear layers, in the order of the network."""
    layer_set: tuple[int, ...]
    """For each layer the number of the latent vector that controls its output channels."""
    latents: Mapping[int, list[NDArray[np.float32]]]
    """By number of epochs finished all latent vectors; 0 is the start."""
    trajectory: NDArray[np.int64]
    """``(checks, 3)``: the columns of :data:`TRAJECTORY`."""
    settings: Mapping[str, int | float | str]
    """Of the search: ``threshold``, ``target_flops`` and the others."""

    def of_layer(self, number: int) -> dict[int, NDArray[np.float32]]:
        """By epoch the latent vector that controls the output channels of a layer, from 1.

        Raises:
            DataError: if there is no such layer.
        """
        if not 1 <= number <= len(self.layers):
            raise DataError(
                f"There is no layer {number} in the record of the latent vectors; give a number "
                f"from 1 to {len(self.layers)}."
            )
        index = self.layer_set[number - 1]
        return {epoch: vectors[index] for epoch, vectors in self.latents.items()}


def write_latents(record: LatentRecord, path: str | os.PathLike[str]) -> None:
    """Write a record atomically; equal records give equal bytes.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    first = next(iter(record.latents.values()))
    tables: dict[str, NDArray[Any] | Sequence[str]] = {
        "layers": record.layers,
        "layer_set": np.array(record.layer_set, np.int64),
        "set_size": np.array([len(vector) for vector in first], np.int64),
        "epochs": np.array(list(record.latents), np.int64),
        "latents": np.stack([np.concatenate(vectors) for vectors in record.latents.values()]),
        "trajectory": record.trajectory,
    }
    with create_store(
        path, images={}, tables=tables, attributes=dict(sorted(record.settings.items()))
    ):
        pass


def read_latents(path: str | os.PathLike[str]) -> LatentRecord:
    """Read what :func:`write_latents` wrote.

    Raises:
        DataError: if the file is missing or damaged.
    """
    tables, settings = read_tables(path, _TABLES)
    ends = np.cumsum(tables["set_size"])[:-1]
    return LatentRecord(
        layers=tuple(name.decode() for name in tables["layers"]),
        layer_set=tuple(int(number) for number in tables["layer_set"]),
        latents={
            int(epoch): np.split(values, ends)
            for epoch, values in zip(tables["epochs"], tables["latents"], strict=True)
        },
        trajectory=tables["trajectory"],
        settings=settings,
    )
