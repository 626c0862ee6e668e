"""Stores of 8-bit images: HDF5 files checked when opened, read by many workers."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from lwdna.errors import DataError
from lwdna.io.hdf5 import (
    BROKEN,
    FORMAT,
    PathLike,
    Shape,
    attributes_of,
    check_version,
    damaged,
    foreign,
    has_format,
    open_checked,
    strings,
    table_checksum,
    without,
)

IN_MEMORY_BYTES = 512 * 2**20
"""Stores whose images take at most this many bytes are held in memory for training."""

_TABLES = ("labels", "classes", "source", "shape", "offset", "bytes")


class _Opened(NamedTuple):
    """A file that a process has opened."""

    process: int
    file: h5py.File
    starts: dict[str, int]
    """Of each dataset of images, the byte of the file with which it begins."""
    checksums: NDArray[np.uint32]
    """(N,), of "images"."""


class Store:
    """A store opened for reading.

    The file is opened when it is first read, once in every process, so that a store can be
    pickled and given to any number of DataLoader workers, forked or spawned.

    Attributes:
        path: the file.
        shapes: (N, H, W, C) of every dataset of images.
        attributes: what was noted about how the store was made.
        labels: int64 (N,), or None.
        classes: the names of the classes, in the order of the labels; may be empty.

    Raises:
        DataError: if the file is missing, truncated, damaged, or not a store of this version.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.shapes: dict[str, Shape] = {}
        self.attributes: dict[str, int | float | str] = {}
        self.labels: NDArray[np.int64] | None = None
        self.classes: tuple[str, ...] = ()
        self._opened: _Opened | None = None
        self._hold = False
        self._held: dict[str, NDArray[np.uint8]] = {}
        try:
            with open_checked(self.path) as file:
                self._check(file)
        except BROKEN as error:
            raise self._damaged(str(error)) from error

    def __len__(self) -> int:
        return self.shapes["images"][0]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Item ``index`` of "images", uint8 (H, W, C), compared with its checksum.

        Raises:
            IndexError: if there is none.
            DataError: if it has changed since it was written, or cannot be read any more.
        """
        item = self.read("images", index)
        if not self._hold and zlib.crc32(item.data) != self._open().checksums[index]:
            raise self._damaged(f"item {index} of 'images' has changed since it was written")
        return item

    def read(
        self, name: str, index: int, window: tuple[int, int, int, int] | None = None
    ) -> NDArray[np.uint8]:
        """Read one image, or a window of it without the rest.

        Args:
            name: the dataset, "images" or "lr".
            index: the item.
            window: y, x, height and width; None for the whole image.

        Returns:
            uint8 (height, width, C).

        Raises:
            IndexError: if the window does not lie in the image, or the image in the store.
            DataError: if the file cannot be read any more.
        """
        count, rows, columns, _ = self.shapes[name]
        y, x, height, width = window or (0, 0, rows, columns)
        inside = 0 <= y <= y + height <= rows and 0 <= x <= x + width <= columns
        if not (0 <= index < count and inside):
            raise IndexError(f"{name}[{index}] {window} lies outside {self.shapes[name]}")
        if self._hold:
            if not self._held:
                self._load()
            return self._held[name][index, y : y + height, x : x + width]
        return self._rows(name, index, y, height)[:, x : x + width].copy()

    def _rows(self, name: str, index: int, y: int, height: int) -> NDArray[np.uint8]:
        """Whole rows of an image, (height, W, C): one stretch of the file.

        HDF5 would read the window piece by piece, which takes eight times as long.
        """
        _, rows, columns, channels = self.shapes[name]
        row = columns * channels
        opened = self._open()
        start = opened.starts[name] + (index * rows + y) * row
        try:
            content = os.pread(opened.file.id.get_vfd_handle(), height * row, start)
        except OSError as error:
            raise self._damaged(str(error)) from error
        if len(content) < height * row:
            raise self._damaged(f"it ends before item {index} of '{name}'")
        return np.frombuffer(content, dtype=np.uint8).reshape(height, columns, channels)

    def sources(self) -> list[str]:
        """The name of the image that each item was made from; empty if none was noted."""
        with open_checked(self.path) as file:
            return strings(file["source"]) if "source" in file else []

    def table(self, name: str) -> NDArray[Any] | None:
        """A small dataset of numbers, such as the "offset" (y, x) of each item in its source."""
        with open_checked(self.path) as file:
            return file[name][()] if name in file else None

    def hold(self, limit: int = IN_MEMORY_BYTES) -> bool:
        """Hold all images in memory if they take at most ``limit`` bytes; say whether they do.

        Either way all are compared with their checksums. A pickled store leaves them behind and
        reads them again where it is unpickled.

        Raises:
            DataError: naming the first damaged item.
        """
        self._hold = sum(math.prod(shape) for shape in self.shapes.values()) <= limit
        if self._hold:
            self._load()
        else:
            self.verify()
        return self._hold

    def verify(self) -> None:
        """Read everything and compare it with the checksums noted when it was written.

        Raises:
            DataError: naming the first damaged item.
        """
        try:
            with open_checked(self.path) as file:
                for name in self.shapes:
                    self._compare(name, file[name], file)
        except BROKEN as error:
            raise self._damaged(str(error)) from error

    def fingerprint(self) -> str:
        """What tells this content from any other: a digest of the checksums of every item."""
        digest = hashlib.sha256()
        with open_checked(self.path) as file:
            for name, shape in self.shapes.items():
                digest.update(f"{name} {shape}".encode())
                digest.update(file[f"crc32/{name}"][()].tobytes())
            if self.labels is not None:
                digest.update(self.labels.tobytes())
        return digest.hexdigest()[:16]

    def close(self) -> None:
        """Close the file in this process; it is opened again when it is read."""
        if self._opened is not None and self._opened.process == os.getpid():
            self._opened.file.close()
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_held": {}}

    def _open(self) -> _Opened:
        """The file, as this process has opened it."""
        if self._opened is None or self._opened.process != os.getpid():
            try:
                with ExitStack() as stack:
                    file = stack.enter_context(h5py.File(self.path, "r", locking=False))
                    if {name: file[name].shape for name in self.shapes} != self.shapes:
                        raise DataError(
                            f"The store '{self.path}' was replaced by one of other images while "
                            "it was in use; run the command again."
                        )
                    starts = {name: file[name].id.get_offset() for name in self.shapes}
                    checksums = file["crc32/images"][()]
                    stack.pop_all()
            except BROKEN as error:
                raise self._damaged(str(error)) from error
            self._opened = _Opened(os.getpid(), file, starts, checksums)
        return self._opened

    def _load(self) -> None:
        try:
            with open_checked(self.path) as file:
                held = {name: file[name][()] for name in self.shapes}
                for name, pixels in held.items():
                    self._compare(name, pixels, file)
                self._held = held
        except OSError as error:
            raise self._damaged(str(error)) from error

    def _compare(self, name: str, pixels: Any, file: h5py.File) -> None:
        """Compare the images of a dataset with their checksums."""
        expected = file[f"crc32/{name}"][()]
        for index in range(len(expected)):
            if zlib.crc32(pixels[index].data) != expected[index]:
                raise self._damaged(
                    f"item {index} of '{name}'{_origin(file, index)} has changed since it was "
                    "written"
                )

    def _check(self, file: h5py.File) -> None:
        if not has_format(file) or file.attrs["format"] != FORMAT.encode():
            raise foreign(self.path)
        check_version(file, self.path)
        if "images" not in file:
            raise without(self.path, "images")
        for name in _TABLES:
            if name in file and table_checksum(file[name][()]) != file[name].attrs["crc32"]:
                raise self._damaged(f"the table '{name}' has changed since it was written")
        count = file["images"].shape[0]
        for name in ("images", "lr"):
            if name not in file:
                continue
            dataset = file[name]
            if dataset.ndim != 4 or dataset.dtype != np.uint8 or dataset.shape[0] != count:
                raise self._damaged(f"'{name}' is {dataset.dtype} {dataset.shape}")
            if file[f"crc32/{name}"].shape != (count,):
                raise self._damaged(f"the checksums of '{name}' are incomplete")
            self.shapes[name] = dataset.shape
        if count == 0:
            raise self._damaged("it holds no image")
        self.attributes = attributes_of(file)
        if "classes" in file:
            self.classes = tuple(strings(file["classes"]))
        if "labels" in file:
            self._check_labels(file["labels"][()], count)

    def _check_labels(self, labels: NDArray[np.int64], count: int) -> None:
        if labels.dtype != np.int64 or labels.shape != (count,):
            raise self._damaged(f"the labels are {labels.dtype} {labels.shape}")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise self._damaged(f"the labels do not lie in 0..{len(self.classes) - 1}")
        self.labels = labels

    def _damaged(self, reason: str) -> DataError:
        return damaged(self.path, reason)


def _origin(file: h5py.File, index: int) -> str:
    return f" (from {file['source'].asstr()[index]})" if "source" in file else ""
