"""Tensors in safetensors files of any origin: no code is run, and memory is bounded by the file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

HEADER_BYTES = 16 * 2**20
"""The longest header that is read: names, shapes and metadata. Ours have less than 1 MiB."""

_PYTORCH = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF")
"""What files of ``torch.save`` begin with, as a zip and as they were before; as lengths of a header
of safetensors, both are too large."""


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file, on the CPU, as copies of what is in the file.

    Tensors have the shapes that they were written with.

    Raises:
        ValueError: if the file is truncated, damaged or no safetensors file.
        OSError: if it cannot be read.
    """
    with Path(path).open("rb") as start:
        first = start.read(8)
    if first.startswith(_PYTORCH):
        raise ValueError("it is of PyTorch's own format, which `lwdna import` converts")
    length = int.from_bytes(first, "little")
    if length > HEADER_BYTES:
        raise ValueError(f"its header would have {length:,} bytes")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # A copy each: the file itself is only mapped, and may be renamed and replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, AttributeError, KeyError, RuntimeError, TypeError) as error:
        # What the library raises for a type of numbers that it knows and PyTorch does not.
        raise ValueError(str(error)) from error


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: if it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def digest(state: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that identify names, shapes, types and values of tensors."""
    total = hashlib.sha256()
    for piece in pieces(state):
        total.update(piece)
    return total.hexdigest()[:16]


def pieces(tensors: Mapping[str, Tensor]) -> Iterator[bytes]:
    """Headers, with the shape, and raw bytes of tensors, in the order of their names."""
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
