"""Training checkpoints: one safetensors file that holds all a run needs to go on. No pickle."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lwdna.errors import CheckpointError
from lwdna.io.atomic import atomic
from lwdna.io.tensors import parse_json, pieces, read_tensors

logger = logging.getLogger(__name__)

FORMAT = "lwdna-training-checkpoint"
VERSION = "2"
_READABLE = ("1", "2")
"""Version 1 has no record."""

Row: TypeAlias = dict[str, int | float | None]
"""One epoch of the history."""

Key: TypeAlias = Mapping[str, Any]
"""What the result of a run depends on, which tells it from others: nested JSON."""

OptimizerState: TypeAlias = dict[int, dict[str, Any]]
"""Number of a parameter -> name of a quantity -> tensor, number or None; torch's "state"."""


@dataclass
class Checkpoint:
    """The state of a training between two steps.

    The file also holds a checksum. The settings of the optimiser are not stored: they follow
    from the protocol, which ``key`` contains, and from the epoch.
    """

    key: Key
    """Identifies the run: nested JSON of everything that its result depends on."""
    model: dict[str, Tensor] = field(default_factory=dict)
    """``state_dict`` of the network, buffers included."""
    optimizer: OptimizerState = field(default_factory=dict)
    """The ``"state"`` of the optimiser's ``state_dict``."""
    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the epoch at work."""
    sums: dict[str, float] = field(default_factory=dict)
    """Running sums of loss and metrics over these steps."""
    history: list[Row] = field(default_factory=list)
    """One row for each finished epoch."""
    finished: bool = False
    """Whether the training is complete; then ``optimizer`` is not needed and left empty."""
    record: dict[str, Tensor] = field(default_factory=dict)
    """What was observed on the way, by name; see :class:`lwdna.training.companion.Companion`."""


class _DamagedError(CheckpointError):
    """The file cannot be read, though it carries the right name; another may be whole."""


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; the one before it is kept under :func:`previous`.

    Raises:
        CheckpointError, LwdnaError: if the file cannot be written; the old ones remain.
    """
    path = Path(path)
    tensors = {f"model.{name}": tensor for name, tensor in checkpoint.model.items()}
    tensors |= {f"record.{name}": tensor for name, tensor in checkpoint.record.items()}
    plain: dict[str, dict[str, float | None]] = {}
    for number, quantities in checkpoint.optimizer.items():
        for name, value in quantities.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{name}"] = value
            else:
                plain.setdefault(str(number), {})[name] = value
    # safetensors refuses shared storage (tied weights) and non-contiguous tensors: copy them all.
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    state = json.dumps(
        {
            "key": checkpoint.key,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "sums": checkpoint.sums,
            "history": checkpoint.history,
            "finished": checkpoint.finished,
            "optimizer": plain,
        }
    )
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "state": state,
        "checksum": _checksum(state, tensors),
    }
    with atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            raise CheckpointError(
                f"Cannot write the checkpoint '{path}': {error}. The one before it remains; "
                "free some space and run the command again."
            ) from error
        # On disk before the good old file gives up its name.
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous(path))
    if checkpoint.finished:
        previous(path).unlink(missing_ok=True)


def load(path: str | os.PathLike[str], key: Key | None = None) -> Checkpoint:
    """Read a checkpoint, with tensors on the CPU.

    Args:
        path: the file.
        key: if given, the key the checkpoint must have.

    Raises:
        CheckpointError: if the file is missing, truncated, damaged or of another kind, or if its
            key is another one; then the message names the settings that differ.
    """
    checkpoint = _read(Path(path))
    if key is not None:
        _compare(Path(path), checkpoint.key, key)
    return checkpoint


def load_latest(path: str | os.PathLike[str], key: Key | None = None) -> Checkpoint | None:
    """Read the newest whole checkpoint of a run: ``path``, or else the one before it.

    A damaged file is renamed to ``*.damaged`` with a warning, so that it is never kept in place
    of a whole one. Only the process that trains here may call this.

    Returns:
        The checkpoint, or None where there is none yet.

    Raises:
        CheckpointError: as :func:`load`; a checkpoint of another run is never passed over.
    """
    path = Path(path)
    damaged: list[_DamagedError] = []
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            checkpoint = load(candidate, key)
        except _DamagedError as error:
            logger.warning("%s It is put aside, and the one before it is tried.", error)
            candidate.replace(candidate.with_suffix(".damaged"))
            damaged.append(error)
        else:
            return checkpoint
    if damaged:
        raise CheckpointError(
            f"No whole checkpoint is left in '{path.parent}': {damaged[0]} Run the command again "
            "to train from the start, or put a good copy there first."
        )
    return None


def previous(path: str | os.PathLike[str]) -> Path:
    """Where the checkpoint before the newest is kept: ``checkpoint.previous.safetensors``."""
    path = Path(path)
    return path.with_suffix(f".previous{path.suffix}")


def name_of(key: Key) -> str:
    """A name for a folder that belongs to a run with this key alone: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> Checkpoint:
    try:
        metadata, tensors = read_tensors(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint '{path}'; check the path.") from error
    except ValueError as error:
        raise _DamagedError(
            f"The checkpoint '{path}' is truncated or damaged ({error})."
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint '{path}' cannot be read: {error.strerror or error}; make it readable."
        ) from error
    if metadata.get("format") != FORMAT or metadata.get("version") not in _READABLE:
        raise CheckpointError(
            f"'{path}' is no training checkpoint of this version of lwdna (found format "
            f"{metadata.get('format')!r}, version {metadata.get('version')!r}; expected "
            f"{FORMAT!r}, {VERSION!r}); move it away to train from the start."
        )
    if metadata.get("checksum") != _checksum(metadata.get("state", ""), tensors):
        raise _DamagedError(f"The checkpoint '{path}' is damaged (its checksum is wrong).")
    try:
        return _understood(parse_json(metadata["state"]), tensors)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is no training checkpoint that lwdna wrote ({error!r}); move it away to "
            "train from the start."
        ) from error


def _understood(state: Any, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """The checkpoint of parsed metadata and tensors."""
    optimizer: OptimizerState = {int(k): dict(v) for k, v in state["optimizer"].items()}
    model: dict[str, Tensor] = {}
    record: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        if part in ("model", "record"):
            (model if part == "model" else record)[rest] = tensor
        else:
            number, quantity = rest.split(".", 1)
            optimizer.setdefault(int(number), {})[quantity] = tensor
    return Checkpoint(
        key=dict(state["key"]),
        model=model,
        optimizer=optimizer,
        epoch=int(state["epoch"]),
        step=int(state["step"]),
        sums=dict(state["sums"]),
        history=[dict(row) for row in state["history"]],
        finished=bool(state["finished"]),
        record=record,
    )


def _compare(path: Path, found: Key, wanted: Key) -> None:
    """Raise a CheckpointError that lists what differs between two keys."""
    theirs = dict(_flat(found))
    ours = dict(_flat(json.loads(json.dumps(wanted))))
    missing = "nothing"
    differences = [
        f"{name} was {theirs.get(name, missing)} and is now {ours.get(name, missing)}"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name, missing) != ours.get(name, missing)
    ]
    if differences:
        raise CheckpointError(
            f"The checkpoint '{path}' belongs to a run with other settings: "
            f"{'; '.join(differences)}. Set them back, or delete the folder '{path.parent}' to "
            "train from the start."
        )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested JSON as (dotted name, JSON)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, json.dumps(value)


def _checksum(state: str, tensors: Mapping[str, Tensor]) -> str:
    total = zlib.crc32(state.encode())
    for piece in pieces(tensors):
        total = zlib.crc32(piece, total)
    return f"{total:08x}"
