"""Tensors by name in files of other programs: safetensors, or PyTorch's own format.

PyTorch's own format is a pickle. It is read here alone, for ``lwdna import`` alone, by PyTorch's
reader of nothing but weights, which makes tensors and containers of them and calls nothing else.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lwdna.errors import CheckpointError, first_line, nearest
from lwdna.io.tensors import read_tensors

_PREFIXES = ("module.", "_orig_mod.")
"""What ``nn.DataParallel`` and ``torch.compile`` put before every name."""


def read_state(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file, by their names in the network that they were saved from.

    Args:
        path: safetensors, or a state_dict that ``torch.save`` wrote, alone or as a part of more.
        part: which of its parts, where there are several.

    Returns:
        Tensors of any shape, on the CPU. They may be views of what is smaller: of a file that
        means harm, one may claim more numbers than there are.

    Raises:
        CheckpointError: if the file is missing, damaged, something else, or needs a ``part``.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file '{path}'; check the path.")
    try:
        content = read_tensors(path)[1] if _is_safetensors(path) else _unpickled(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' cannot be read as weights ({first_line(error).rstrip('.')}); give a file of "
            "safetensors, or the state_dict of a network as torch.save writes it."
        ) from error
    state = _part(path, content, part)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _is_safetensors(path: Path) -> bool:
    """By its first bytes: the length of a header in JSON, which begins with a brace."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _unpickled(path: Path) -> Any:
    """What PyTorch's reader of weights makes of a file.

    Raises:
        ValueError: if it holds more than weights, or is packed.
    """
    with path.open("rb") as file:
        packed = file.read(4) == b"PK\x03\x04"  # by which PyTorch decides how to read it
    if packed or zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError("it is a damaged zip file") from error
        # PyTorch writes them as they are; what is packed may be of any size.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is a zip file that PyTorch did not write")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # Whatever a crafted pickle lets the reader stumble over; its advice is to run the code.
        if type(error).__name__ == "UnpicklingError":
            said = "it holds something else than tensors, and code of a file is not run"
            raise ValueError(said) from error
        raise ValueError(first_line(error).split(".")[0]) from error


def _part(path: Path, content: Any, part: str | None) -> dict[str, Tensor]:
    """The tensors of a file, or of one of its parts."""
    parts = (
        {}
        if not isinstance(content, Mapping)
        else {str(name): inner for name, inner in content.items() if _is_state(inner)}
    )
    if part is not None:
        if part not in parts:
            raise CheckpointError(
                f"'{path}' has no part '{part}' of weights; {_named(part, parts)}"
            )
        return dict(parts[part])
    if _is_state(content):
        return dict(content)
    if len(parts) == 1:
        return dict(next(iter(parts.values())))
    if parts:
        raise CheckpointError(
            f"'{path}' holds weights in several parts: {', '.join(parts)}; say which: --part."
        )
    raise CheckpointError(
        f"'{path}' holds a {type(content).__name__}, and no tensors by name; give the state_dict "
        "of a network."
    )


def _named(part: str, parts: Mapping[str, Any]) -> str:
    return nearest(part, parts) if parts else "it has no parts: leave --part out."


def _is_state(content: Any) -> bool:
    """Whether it is a mapping of names to plain tensors."""
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(
            isinstance(name, str)
            and isinstance(tensor, Tensor)
            and tensor.layout == torch.strided
            and not tensor.is_quantized
            for name, tensor in content.items()
        )
    )
