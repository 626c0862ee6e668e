"""Folders with one subfolder for every class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwdna.data.folders import imagefolder_store
from lwdna.data.stores import Store
from lwdna.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, value: int, shape: tuple[int, ...] = (8, 6, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


def test_classes_and_labels(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "dog" / "1.png", 10)
    write(root / "cat" / "images" / "2.png", 20)
    write(root / "cat" / "3.png", 30, (8, 6))
    write(root / ".cache" / "4.png", 40)
    (root / "notes.txt").touch()
    assert imagefolder_store(root, tmp_path / "s.h5") == 3
    store = Store(tmp_path / "s.h5")
    assert store.classes == ("cat", "dog")
    assert store.sources() == ["cat/3.png", "cat/images/2.png", "dog/1.png"]
    assert store.labels.tolist() == [0, 0, 1]
    assert [int(image[0, 0, 2]) for image in store] == [30, 20, 10]
    assert store.shapes["images"] == (3, 8, 6, 3)


def test_unequal_sizes_are_named(tmp_path: Path) -> None:
    write(tmp_path / "root" / "a" / "1.png", 1)
    write(tmp_path / "root" / "b" / "2.png", 2, (8, 7, 3))
    with pytest.raises(DataError, match=r"2\.png' has 8 x 7 pixels, but .*1\.png' has 8 x 6"):
        imagefolder_store(tmp_path / "root", tmp_path / "s.h5")
    assert names(tmp_path) == ["root"]


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        imagefolder_store(tmp_path / "root", tmp_path / "s.h5")
    (tmp_path / "root").mkdir()
    with pytest.raises(DataError, match="no subfolder"):
        imagefolder_store(tmp_path / "root", tmp_path / "s.h5")
    write(tmp_path / "root" / "a" / "1.png", 1)
    (tmp_path / "root" / "b").mkdir()
    with pytest.raises(DataError, match="b' holds no image"):
        imagefolder_store(tmp_path / "root", tmp_path / "s.h5")
