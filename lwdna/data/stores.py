"""HDF5 stores of 8-bit images: written whole, checked when opened, read by many workers."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from lwdna.data.images import GRAY_CONVERSION, to_gray
from lwdna.errors import DataError
from lwdna.files import atomic
from lwdna.logs import progress

FORMAT = "lwdna-store"
VERSION = 1

IN_MEMORY_BYTES = 512 * 2**20
"""Stores whose images take at most this many bytes are held in memory for training."""

# HDF5 1.10's metadata carries checksums, and a fixed version keeps the bytes of a store the
# same under any later library.
_LIBVER = ("v110", "v110")

_TABLES = ("labels", "classes", "source", "shape", "offset", "bytes")

_BROKEN = (AttributeError, OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for metadata that does not hold together."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""What every HDF5 file without a block of its user's begins with, and so every store."""

_SPARE_BYTES = 2**20
"""Room for what is not pixels when disk space is first reserved."""

PathLike = str | os.PathLike[str]
Shape = tuple[int, int, int, int]
"""N, H, W, C."""
Tables = Mapping[str, NDArray[Any] | Sequence[str]]
"""Small datasets of a store: numbers, or text."""


class StoreWriter:
    """Fills the images of a store that :func:`create_store` has laid out."""

    def __init__(self, file: BinaryIO, layout: Mapping[str, _Place]) -> None:
        self._file = file
        self._layout = layout
        self._checksums = {
            name: np.zeros(place.shape[0], dtype="<u4") for name, place in layout.items()
        }

    def put(self, name: str, index: int, item: NDArray[np.uint8]) -> None:
        """Write item ``index``, uint8 (H, W, C), of the image dataset ``name``."""
        place = self._layout[name]
        if item.shape != place.shape[1:] or item.dtype != np.uint8:
            raise ValueError(f"{name}{place.shape} cannot take {item.dtype} {item.shape}")
        data = item.tobytes()
        self._file.seek(place.images + index * len(data))
        self._file.write(data)
        self._checksums[name][index] = zlib.crc32(data)

    def finish(self) -> None:
        """Write the checksums of the images."""
        for name, place in self._layout.items():
            self._file.seek(place.checksums)
            self._file.write(self._checksums[name].tobytes())


@dataclass(frozen=True)
class _Place:
    """Where in the file a dataset of images and its checksums lie, in bytes."""

    shape: Shape
    images: int
    checksums: int


@contextmanager
def create_store(
    path: PathLike,
    *,
    images: Mapping[str, Shape],
    tables: Tables,
    attributes: Mapping[str, int | float | str],
) -> Iterator[StoreWriter]:
    """Create a store; it appears under ``path`` when the block has succeeded, or not at all.

    The disk space is reserved first. The same content gives the same bytes.

    Args:
        path: the file to create.
        images: the shape (N, H, W, C) of every dataset of images, which the block has to fill;
            one of them is called "images". None for a file of tables.
        tables: small datasets, written at once: numbers, or text.
        attributes: what to note about how the store was made.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    with atomic(path) as temporary:
        # HDF5 only lays the file out, and the pixels are written past it: when the disk becomes
        # full, HDF5 loses the error or crashes, where a plain write raises it.
        _reserve(temporary, sum(math.prod(shape) for shape in images.values()) + _SPARE_BYTES)
        layout = _lay_out(temporary, images, tables, attributes)
        _reserve(temporary, temporary.stat().st_size)
        with temporary.open("r+b") as file:
            writer = StoreWriter(file, layout)
            yield writer
            writer.finish()


def _lay_out(
    path: Path,
    images: Mapping[str, Shape],
    tables: Tables,
    attributes: Mapping[str, int | float | str],
) -> dict[str, _Place]:
    """Write everything but the images and their checksums."""
    # Contiguous and not compressed. Measured on 300 photographs of 480 x 480 x 3: a random
    # 192 x 192 patch takes 0.10 ms and a 48 x 48 one 0.07 ms; chunks of 96 x 96 take 0.18 and
    # 0.06 ms, and with LZF 1.1 and 0.3 ms for 12 % less disk. A patch lies within p rows of one
    # sub-image, which is one short stretch of the file.
    allocated = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    allocated.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    allocated.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout = {}
    try:
        with h5py.File(path, "w", libver=_LIBVER) as file:
            for key, value in {"format": FORMAT, "version": VERSION, **attributes}.items():
                file.attrs[key] = _fixed_length([value])[0] if isinstance(value, str) else value
            for name, values in tables.items():
                array = values if isinstance(values, np.ndarray) else _fixed_length(values)
                dataset = file.create_dataset(name, data=array, track_times=False)
                dataset.attrs["crc32"] = _table_checksum(array)
            for name, shape in images.items():
                offsets = [
                    file.create_dataset(at, size, dtype, dcpl=allocated, track_times=False).id
                    for at, size, dtype in (
                        (name, shape, "u1"),
                        (f"crc32/{name}", shape[:1], "<u4"),
                    )
                ]
                layout[name] = _Place(shape, *(offset.get_offset() for offset in offsets))
    except RuntimeError as error:
        # So HDF5 reports a failed write when it closes a file.
        raise OSError(str(error)) from error
    return layout


def _reserve(path: Path, size: int) -> None:
    """Make the disk set ``size`` bytes aside, so that a full one is reported before the work."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # Some network file systems cannot reserve.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


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
        self._file: h5py.File | None = None
        self._process = 0
        self._hold = False
        self._held: dict[str, NDArray[np.uint8]] = {}
        try:
            with _open(self.path) as file:
                self._check(file)
        except _BROKEN as error:
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
        if not self._hold and zlib.crc32(item.data) != self._checksum(index):
            raise self._damaged(f"item {index} of 'images' has changed since it was written")
        return item

    def _checksum(self, index: int) -> int:
        try:
            return int(self._array("crc32/images")[index])
        except OSError as error:
            raise self._damaged(str(error)) from error

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
        try:
            pixels: NDArray[np.uint8] = self._array(name)[index, y : y + height, x : x + width]
        except OSError as error:
            raise self._damaged(str(error)) from error
        return pixels

    def sources(self) -> list[str]:
        """The name of the image that each item was made from; empty if none was noted."""
        with _open(self.path) as file:
            return _strings(file["source"]) if "source" in file else []

    def table(self, name: str) -> NDArray[Any] | None:
        """A small dataset of numbers, such as the "offset" (y, x) of each item in its source."""
        with _open(self.path) as file:
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
            with _open(self.path) as file:
                for name in self.shapes:
                    self._compare(name, file[name], file)
        except _BROKEN as error:
            raise self._damaged(str(error)) from error

    def fingerprint(self) -> str:
        """What tells this content from any other: a digest of the checksums of every item."""
        digest = hashlib.sha256()
        with _open(self.path) as file:
            for name, shape in self.shapes.items():
                digest.update(f"{name} {shape}".encode())
                digest.update(file[f"crc32/{name}"][()].tobytes())
            if self.labels is not None:
                digest.update(self.labels.tobytes())
        return digest.hexdigest()[:16]

    def close(self) -> None:
        """Close the file in this process; it is opened again when it is read."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_held": {}}

    def _array(self, name: str) -> Any:
        """The dataset, in memory or in the file as this process has opened it."""
        if self._hold:
            if not self._held:
                self._load()
            return self._held[name]
        if self._file is None or self._process != os.getpid():
            self._file = h5py.File(self.path, "r", locking=False)
            self._process = os.getpid()
        return self._file[name]

    def _load(self) -> None:
        try:
            with _open(self.path) as file:
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
        if not _has_format(file) or file.attrs["format"] != FORMAT.encode():
            raise _foreign(self.path)
        _check_version(file, self.path)
        if "images" not in file:
            raise _without(self.path, "images")
        for name in _TABLES:
            if name in file and _table_checksum(file[name][()]) != file[name].attrs["crc32"]:
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
        self.attributes = _attributes(file)
        if "classes" in file:
            self.classes = tuple(_strings(file["classes"]))
        if "labels" in file:
            self._check_labels(file["labels"][()], count)

    def _check_labels(self, labels: NDArray[np.int64], count: int) -> None:
        if labels.dtype != np.int64 or labels.shape != (count,):
            raise self._damaged(f"the labels are {labels.dtype} {labels.shape}")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise self._damaged(f"the labels do not lie in 0..{len(self.classes) - 1}")
        self.labels = labels

    def _damaged(self, reason: str) -> DataError:
        return _damaged(self.path, reason)


def format_of(path: PathLike) -> str:
    """The format that an HDF5 file of this project notes: "lwdna-store"; "" for other files.

    Raises:
        DataError: if the file is missing or damaged.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            noted = file.attrs.get("format", b"")
            return noted.decode() if isinstance(noted, bytes) else ""
    except _BROKEN as error:
        raise _damaged(path, str(error)) from error


def read_tables(
    path: PathLike, names: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, int | float | str]]:
    """Read tables and attributes that :func:`create_store` wrote; text is bytes in UTF-8.

    Raises:
        DataError: if the file is missing, damaged, of another version, or without such a table.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            if not _has_format(file):
                raise _foreign(path)
            _check_version(file, path)
            for name in names:
                if name not in file:
                    raise _without(path, name)
            tables: dict[str, NDArray[Any]] = {name: file[name][()] for name in names}
            for name, values in tables.items():
                if _table_checksum(values) != file[name].attrs["crc32"]:
                    raise _damaged(path, f"the table '{name}' has changed since it was written")
            return tables, _attributes(file)
    except _BROKEN as error:
        raise _damaged(path, str(error)) from error


def gray_store(source: PathLike, output: PathLike) -> int:
    """Make a gray store from a colour store, for denoising; the low-resolution images are left out.

    Args:
        source: a store with "images" (N, H, W, 3).
        output: the store to write, with "images" (N, H, W, 1) by :func:`lwdna.data.images.to_gray`
            and the attribute "conversion".

    Returns:
        N, the number of images.

    Raises:
        DataError: if the source is not a colour store.
    """
    colour = Store(source)
    count, height, width, channels = colour.shapes["images"]
    if channels != 3:
        raise DataError(
            f"The store '{source}' holds images of {channels} channel(s); give a colour store."
        )
    attributes = {
        key: value
        for key, value in colour.attributes.items()
        if key not in {"format", "version", "scale"}
    }
    attributes["conversion"] = GRAY_CONVERSION
    tables: dict[str, Any] = {name: colour.table(name) for name in ("shape", "offset")}
    tables = {name: values for name, values in tables.items() if values is not None}
    if sources := colour.sources():
        tables["source"] = sources
    images = {"images": (count, height, width, 1)}
    with create_store(output, images=images, tables=tables, attributes=attributes) as writer:
        for index in progress(range(count), description="gray", unit="image"):
            writer.put("images", index, to_gray(colour[index])[:, :, None])
    colour.close()
    return count


def _check_version(file: h5py.File, path: Path) -> None:
    version = int(file.attrs["version"])
    if version != VERSION:
        raise DataError(
            f"The store '{path}' has version {version}, and this program reads version {VERSION}; "
            "delete it and run again."
        )


def _attributes(file: h5py.File) -> dict[str, int | float | str]:
    return {
        key: value.decode() if isinstance(value, bytes) else value.item()
        for key, value in file.attrs.items()
    }


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"The store '{path}' is truncated or damaged ({reason}); delete it and run again."
    )


def _foreign(path: Path) -> DataError:
    return DataError(
        f"'{path}' is an HDF5 file, but not a store of this project; give another file, or move "
        "this one away and run again to make the store."
    )


def _without(path: Path, name: str) -> DataError:
    return DataError(
        f"The store '{path}' is one of another kind, as it has no '{name}'; give another file, or, "
        "if it had, it is damaged: delete it and run again."
    )


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise DataError(f"The store '{path}' does not exist; run the step that makes it.")
    with path.open("rb") as start:
        if start.read(len(_SIGNATURE)) != _SIGNATURE:
            raise DataError(
                f"'{path}' is not an HDF5 file, as stores are; give another file, or, if it was "
                "one, it is damaged: delete it and run again."
            )
    # Stores are never changed in place, so they need no lock, which some network file systems
    # refuse.
    with h5py.File(path, "r", locking=False) as file:
        if _has_format(file):
            _require_plain(file, path.stat().st_size)
        yield file


def _has_format(file: h5py.File) -> bool:
    """Whether a file notes its format as ours do; text of variable length is not even read."""
    return "format" in file.attrs and file.attrs.get_id("format").dtype.kind == "S"


def _require_plain(group: h5py.Group, size: int) -> None:
    """Refuse what no store has, before anything is read: whoever made the file may mean harm.

    Links lead to other files, and so do virtual and external data; text of variable length,
    filters and space that is not there can take any amount of time and memory.

    Raises:
        ValueError: naming the first such thing.
    """
    _require_plain_attributes(group)
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"'{name}' is a link")
        item = group[name]
        if isinstance(item, h5py.Group) and name == "crc32" and group.name == "/":
            _require_plain(item, size)
        elif isinstance(item, h5py.Dataset):
            _require_plain_attributes(item)
            start = item.id.get_offset()
            inside = item.nbytes == 0 or (start is not None and start + item.nbytes <= size)
            elsewhere = item.external or item.is_virtual or item.chunks
            if item.dtype.kind not in "iufS" or elsewhere or not inside:
                raise ValueError(f"'{name}' is not stored plainly in the file")
        else:
            raise ValueError(f"'{name}' is a group or a type")


def _require_plain_attributes(item: h5py.Group | h5py.Dataset) -> None:
    for name in item.attrs:
        identity = item.attrs.get_id(name)
        if identity.dtype.kind not in "iufS" or identity.shape != ():
            raise ValueError(f"the attribute '{name}' is neither a number nor a text")


def _fixed_length(texts: Sequence[str]) -> NDArray[Any]:
    """Texts as UTF-8 of one length.

    HDF5 keeps text of variable length apart, without a checksum: one damaged bit there can make
    the library run forever.
    """
    encoded = [text.encode() for text in texts]
    length = max([1, *map(len, encoded)])
    return np.array(encoded, dtype=f"S{length}").astype(h5py.string_dtype("utf-8", length))


def _strings(dataset: h5py.Dataset) -> list[str]:
    return [str(text) for text in dataset.asstr()[()]]


def _table_checksum(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def _origin(file: h5py.File, index: int) -> str:
    return f" (from {file['source'].asstr()[index]})" if "source" in file else ""
