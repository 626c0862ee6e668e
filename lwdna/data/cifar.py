"""CIFAR-10 and CIFAR-100 from their official Python archives."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwdna.data.downloads import verify
from lwdna.data.versions import read_versions, version_of
from lwdna.errors import ConfigError, DataError, first_line, require_known
from lwdna.io.hdf5 import Tables, create_store

PathLike = str | os.PathLike[str]

_SIDE = 32


@dataclass(frozen=True)
class _Layout:
    """Where an official archive has what."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: bytes
    meta: str
    classes: bytes


LAYOUTS = {
    "cifar10": _Layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        ("test_batch",),
        b"labels",
        "batches.meta",
        b"label_names",
    ),
    "cifar100": _Layout(
        "cifar-100-python", ("train",), ("test",), b"fine_labels", "meta", b"fine_label_names"
    ),
}
"""By dataset; CIFAR-100 has 100 fine classes, its 20 coarse ones are not used."""


def pack(archive: PathLike, output: PathLike, *, split: str, kind: str) -> int:
    """As :func:`cifar_store`, by the checksum that the table of datasets has of the archive."""
    version = version_of(archive, read_versions())
    checksum = version.checksum if version is not None else ""
    return cifar_store(archive, output, kind=kind, split=split, checksum=checksum)


def cifar_store(
    archive: PathLike, output: PathLike, *, kind: str, split: str, checksum: str
) -> int:
    """Write the training or test images of CIFAR to a store, in the order of the archive.

    The archive holds pickles, the only ones that this project reads. They are read only after the
    checksum of the whole archive, and nothing in them but arrays, numbers and text.

    Args:
        archive: ``cifar-10-python.tar.gz`` or ``cifar-100-python.tar.gz``.
        output: the store to write: "images" (N, 32, 32, 3), "labels" (N,), "classes" and "source".
        kind: "cifar10" or "cifar100".
        split: "train" or "test".
        checksum: of the archive, such as ``md5:c58f...``; never empty.

    Returns:
        N, the number of images: 50,000 or 10,000.

    Raises:
        ConfigError: if the kind does not exist, or there is no checksum.
        DataError: if the archive is missing, has another checksum, or holds something else.
    """
    require_known(kind, LAYOUTS, f"The dataset '{kind}' is no CIFAR;")
    if not checksum:
        raise ConfigError(
            f"The checksum of '{archive}' is not known, and its pickles are not read without; "
            "give the official archive under its own name."
        )
    verify(archive, checksum)
    layout = LAYOUTS[kind]
    with _opened(archive) as tar:
        batches = [_read(tar, layout, name) for name in getattr(layout, split)]
        classes = [name.decode() for name in _read(tar, layout, layout.meta)[layout.classes]]
        pixels, labels, sources = [], [], []
        for batch in batches:
            pixels.append(_pixels(batch[b"data"]))
            labels += batch[layout.labels]
            sources += [name.decode() for name in batch[b"filenames"]]
        images = np.concatenate(pixels)
    tables: Tables = {
        "labels": np.array(labels, dtype="<i8"),
        "classes": classes,
        "source": sources,
    }
    with create_store(
        output, images={"images": images.shape}, tables=tables, attributes={}
    ) as writer:
        for index, image in enumerate(images):
            writer.put("images", index, image)
    return len(images)


@contextmanager
def _opened(archive: PathLike) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            yield tar
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _foreign(archive, error) from error


def _read(tar: tarfile.TarFile, layout: _Layout, name: str) -> dict[bytes, Any]:
    """Unpickle a file of the archive, a dictionary with keys of bytes."""
    file = tar.extractfile(f"{layout.folder}/{name}")
    if file is None:
        raise ValueError(f"{name} is not a file")
    with file:
        content = file.read()
    try:
        # The official archives were written by Python 2, whose text is bytes here.
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        # A damaged pickle raises whatever it stumbles over.
        raise ValueError(f"{name}: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{name} holds no dictionary")
    return loaded


def _pixels(data: Any) -> NDArray[np.uint8]:
    """(N, 3072) by channels, as the archives have it, to (N, 32, 32, 3)."""
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise ValueError("the images are no bytes")
    return np.ascontiguousarray(data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


class _Unpickler(pickle.Unpickler):
    """Makes arrays, numbers and text, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled array needs; anything else is refused."""
        allowed = {
            "_reconstruct": np.zeros(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": np.dtype,
        }
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[name]


def _foreign(archive: PathLike, error: Exception) -> DataError:
    return DataError(
        f"'{Path(archive)}' does not hold what the official archive does ({first_line(error)}); "
        "delete it and run again."
    )
