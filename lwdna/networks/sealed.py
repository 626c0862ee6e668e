"""Sealed files: tensors, and one entry of JSON that says what they are and has a digest of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lwdna.errors import CheckpointError, require_file_name
from lwdna.io.atomic import atomic
from lwdna.io.tensors import digest, parse_json, read_tensors


def seal(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that identify what a file of ``save`` says and holds.

    Args:
        about: what it says, as JSON.
        tensors: by name, of any shape.
    """
    said = json.dumps(json.loads(json.dumps(about)), sort_keys=True)
    return hashlib.sha256(f"{said}{digest(tensors)}".encode()).hexdigest()[:16]


def write_sealed(
    path: str | PathLike[str], about: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        about: what it says, as JSON, with "format" and "version".
        tensors: by name, of any shape; copied to the CPU.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    held = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    said = {**about, "digest": seal(about, held)}
    with atomic(path) as temporary:
        try:
            # One entry: safetensors writes several in an order that varies.
            save_file(held, temporary, {"lwdna": json.dumps(said)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_sealed(
    path: str | PathLike[str], kind: tuple[str, int], *, what: str, source: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a file of :func:`write_sealed`; no code is run from it.

    Args:
        path: the file.
        kind: its "format" and "version".
        what: it is, in words: "a network".
        source: who writes such files, in words.

    Returns:
        What it says, without the digest, and its tensors, of the shapes that they were written in.

    Raises:
        CheckpointError: if the file is missing, damaged or foreign.
        ConfigError: if the path names no file.
    """
    if not require_file_name(path, "small.safetensors").is_file():
        raise CheckpointError(f"There is no weights file '{path}'; check the path.")
    try:
        metadata, state = read_tensors(path)
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"'{path}' is not a whole safetensors file ({error}); give one that {source} wrote, "
            "or, if this was one, delete it and make it again. Weights of other programs are "
            "converted by `lwdna import`."
        ) from error
    with whole_metadata(path):
        about: dict[str, Any] = parse_json(metadata.get("lwdna", "{}"))
        if (about.get("format"), about.get("version")) != kind:
            raise CheckpointError(
                f"'{path}' is not {what} saved by this version of lwdna (its header "
                f"{_what_to_do(about, kind, source)}."
            )
        if about.pop("digest") != seal(about, state):
            raise CheckpointError(
                f"'{path}' is damaged: it does not hold what was written; delete it and make it "
                "again."
            )
    return about, state


def _what_to_do(about: dict[str, Any], kind: tuple[str, int], source: str) -> str:
    """What the header of a file of another kind says, and what to do about it."""
    if "format" not in about:
        return (
            f"says nothing of that); use a file that {source} wrote, or convert weights by "
            "`lwdna import`"
        )
    same = about["format"] == kind[0]
    do = "make it again" if same else f"use a file that {source} wrote"
    return f"says {about['format']}, version {about.get('version')}); {do}"


@contextmanager
def whole_metadata(path: str | PathLike[str]) -> Iterator[None]:
    """Say of a file what it means if what it says cannot be understood."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' has damaged metadata ({error}); delete it and make it again."
        ) from error
