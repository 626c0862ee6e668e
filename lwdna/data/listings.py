"""Listings: labelled images that stay where they are, because they are many and of many sizes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwdna.data.images import find_images, read_image, to_rgb
from lwdna.data.sequence_files import SUFFIX, read_sets
from lwdna.data.stores import Store
from lwdna.errors import DataError
from lwdna.io.hdf5 import Tables, create_store, format_of, read_tables

PathLike = str | os.PathLike[str]

FORMAT = "lwdna-listing"


def write_listing(output: PathLike, folder: PathLike, tables: Tables, sizes: Sequence[int]) -> None:
    """Write a listing: an HDF5 file with tables like those of a store, but without pixels.

    Args:
        output: the file to write.
        folder: where the images lie.
        tables: "labels" (N,), "classes", and "source", the names (N,) relative to the folder.
        sizes: of the files in bytes.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    attributes = {"format": FORMAT, "folder": str(Path(folder).resolve())}
    tables = {**tables, "bytes": np.array(sizes, dtype="<i8")}
    with create_store(output, images={}, tables=tables, attributes=attributes):
        pass


class Listing:
    """A listing opened for reading: like a store of images of any size.

    Attributes:
        path: the file.
        labels: int64 (N,).
        classes: the names of the classes, in the order of the labels.

    Raises:
        DataError: if the file is missing, truncated or damaged.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        tables, attributes = read_tables(path, ("labels", "classes", "source", "bytes"))
        self._folder = str(attributes["folder"])
        # Bytes in one array: DataLoader workers share its memory, but would copy a list of text.
        self._names: NDArray[np.bytes_] = tables["source"]
        self._sizes: NDArray[np.int64] = tables["bytes"]
        self.labels: NDArray[np.int64] = tables["labels"]
        self.classes = tuple(name.decode() for name in tables["classes"].tolist())
        if len({len(values) for values in (self._names, self._sizes, self.labels)}) != 1:
            raise DataError(f"The listing '{path}' is damaged; delete it and run again.")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Image ``index``, uint8 (H, W, 3)."""
        return to_rgb(read_image(Path(self._folder, self._names[index].decode()), cmyk=True))

    def fingerprint(self) -> str:
        """What tells these images from any others: names, sizes of the files, and labels."""
        digest = hashlib.sha256()
        for values in (self._names, self._sizes, self.labels):
            digest.update(values.tobytes())
        return digest.hexdigest()[:16]


def open_labelled(path: PathLike) -> Store | Listing:
    """Open what a dataset for classification was made into: a store, or a listing.

    Raises:
        DataError: if the file is missing, damaged, or neither of them.
    """
    return Listing(path) if format_of(path) == FORMAT else Store(path)


def fingerprint(path: PathLike) -> str:
    """What tells the images of a store, listing or folder from any others: 16 hex digits."""
    if Path(path).suffix == SUFFIX:
        return read_sets(path)[1]
    if not Path(path).is_dir():
        return open_labelled(path).fingerprint()
    digest = hashlib.sha256()
    for image in find_images(path):
        digest.update(image.name.encode() + b"\0" + image.read_bytes())
    return digest.hexdigest()[:16]
