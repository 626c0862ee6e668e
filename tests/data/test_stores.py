"""Stores are written whole, checked when opened, and safe in any number of processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch.utils.data
from damage import flip, flips

from lwdna.data.crops import gray_store
from lwdna.data.images import GRAY_CONVERSION, to_gray
from lwdna.data.stores import Store
from lwdna.errors import DataError, LwdnaError
from lwdna.io.hdf5 import create_store
from lwdna.rivals.dhp_record import read_latents

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 12, 10, 3), dtype=np.uint8)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(path: Path, *, labels: list[int] | None = None) -> Path:
    tables: dict[str, Any] = {
        "source": [f"image {index}.png" for index in range(6)],
        "offset": np.zeros((6, 2), dtype="<i4"),
    }
    if labels is not None:
        tables |= {"labels": np.array(labels, dtype="<i8"), "classes": ["cat", "dög"]}
    with create_store(
        path, images={"images": PIXELS.shape}, tables=tables, attributes={"note": "x"}
    ) as writer:
        for index, item in enumerate(PIXELS):
            writer.put("images", index, item)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store(make(tmp_path / "s.h5", labels=[0, 1, 0, 1, 0, 1]))
    assert len(store) == 6
    np.testing.assert_array_equal(np.stack(list(store)), PIXELS)
    np.testing.assert_array_equal(
        store.read("images", 2, (3, 4, 5, 6)), PIXELS[2, 3 : 3 + 5, 4 : 4 + 6]
    )
    assert store.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert store.classes == ("cat", "dög")
    assert store.attributes["note"] == "x"
    store.verify()


@pytest.mark.parametrize("window", [(0, 0, 13, 10), (-1, 0, 2, 2), (0, 9, 1, 2), (0, 0, 1, -1)])
@pytest.mark.parametrize("held", [True, False])
def test_windows_outside_are_refused(tmp_path: Path, window: tuple, held: bool) -> None:
    store = Store(make(tmp_path / "s.h5"))
    assert store.hold(PIXELS.nbytes if held else PIXELS.nbytes - 1) == held
    with pytest.raises(IndexError, match="outside"):
        store.read("images", 0, window)
    with pytest.raises(IndexError, match="outside"):
        store[6]


@pytest.mark.parametrize("held", [True, False])
def test_pickled_stores_carry_no_pixels(tmp_path: Path, held: bool) -> None:
    store = Store(make(tmp_path / "s.h5"))
    if held:
        assert store.hold()
    np.testing.assert_array_equal(store[1], PIXELS[1])
    data = pickle.dumps(store)
    assert len(data) < PIXELS.nbytes
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy[5], PIXELS[5])


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_forked_workers_read_the_same_after_the_parent_has_read(tmp_path: Path) -> None:
    store = Store(make(tmp_path / "s.h5"))
    np.testing.assert_array_equal(store[0], PIXELS[0])
    loader = torch.utils.data.DataLoader(
        store, batch_size=1, num_workers=2, multiprocessing_context="fork"
    )
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in loader]), PIXELS)
    store.close()
    np.testing.assert_array_equal(store[0], PIXELS[0])


def test_missing_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s\.h5' does not exist; run the step"):
        Store(tmp_path / "s.h5")


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.9999])
def test_truncated_store(tmp_path: Path, share: float) -> None:
    path = make(tmp_path / "s.h5")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=r"s\.h5.*delete it and run again"):
        Store(path)


def test_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match=r"text\.h5' is not an HDF5 file.*delete it and run again"):
        Store(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["images"] = PIXELS
    for read in (Store, read_latents):
        with pytest.raises(DataError, match=r"foreign\.h5.*not a store of this project"):
            read(tmp_path / "foreign.h5")


def test_stores_of_another_kind(tmp_path: Path) -> None:
    images, tables = make(tmp_path / "images.h5"), tmp_path / "tables.h5"
    with create_store(tables, images={}, tables={"numbers": np.arange(3)}, attributes={}):
        pass
    with pytest.raises(DataError, match=r"images\.h5' is one of another kind.*no 'layers'"):
        read_latents(images)
    with pytest.raises(DataError, match=r"tables\.h5' is one of another kind.*no 'images'"):
        Store(tables)


def change(path: Path, what: str) -> None:
    with h5py.File(path, "r+") as file:
        if what == "version":
            file.attrs["version"] = 2
        elif what == "no images":
            del file["images"]
        elif what == "type":
            del file["images"]
            file["images"] = PIXELS.astype(float)
        elif what == "checksums":
            del file["crc32/images"]
            file["crc32/images"] = np.zeros(5, dtype="u4")
        elif what == "label":
            file["labels"][0] = 2
        elif what == "labels":
            del file["labels"]
            file["labels"] = np.zeros(5, dtype="i8")


@pytest.mark.parametrize("what", ["version", "no images", "type", "checksums", "label", "labels"])
def test_what_does_not_hold_together_is_refused(tmp_path: Path, what: str) -> None:
    path = make(tmp_path / "s.h5", labels=[0] * 6)
    change(path, what)
    with pytest.raises(DataError, match=r"s\.h5.*delete it and run again"):
        Store(path)


def test_silent_damage_is_found_and_named(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    flip(path, PIXELS[3].tobytes(), 50)
    store = Store(path)
    with pytest.raises(DataError, match=r"item 3 of 'images' \(from image 3\.png\)"):
        store.verify()
    flip(path, b"image 2.png")
    with pytest.raises(DataError, match="table 'source'"):
        Store(path)


def test_no_damaged_byte_goes_unnoticed(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5", labels=[0, 1] * 3)
    for _ in flips(path, path.read_bytes(), every=37):
        try:
            store = Store(path)
            store.verify()
        except DataError:
            continue
        # A byte that is part of nothing, for example between two datasets.
        np.testing.assert_array_equal(np.stack(list(store)), PIXELS)
        assert store.labels.tolist() == [0, 1] * 3
        store.close()


def test_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    class Interruption(BaseException):
        pass

    shapes = {"images": PIXELS.shape}
    with (
        pytest.raises(Interruption),
        create_store(tmp_path / "s.h5", images=shapes, tables={}, attributes={}) as writer,
    ):
        writer.put("images", 0, PIXELS[0])
        raise Interruption
    assert names(tmp_path) == []


def test_interrupted_write_leaves_the_old_store(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    before = path.read_bytes()
    shapes = {"images": PIXELS.shape}
    with (
        pytest.raises(ValueError, match="stop"),
        create_store(path, images=shapes, tables={}, attributes={}),
    ):
        raise ValueError("stop")
    assert path.read_bytes() == before and names(tmp_path) == ["s.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", [2_000, 1_100_000, 1_300_000])
@pytest.mark.parametrize("reserve", [True, False])
def test_full_disk_is_one_sentence(tmp_path: Path, limit: int, reserve: bool) -> None:
    script = f"""
import os, resource, signal
import numpy as np
from lwdna.io.hdf5 import create_store
from lwdna.errors import LwdnaError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
if not {reserve}:
    del os.posix_fallocate
try:
    with create_store({str(tmp_path / "s.h5")!r}, images={{"images": (99, 99, 99, 3)}},
                      tables={{}}, attributes={{}}) as writer:
        for index in range(99):
            writer.put("images", index, np.full((99, 99, 3), 7, dtype=np.uint8))
except LwdnaError as error:
    raise SystemExit(str(error))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.stderr.startswith(f"Cannot write '{tmp_path / 's.h5'}': "), run.stderr
    assert names(tmp_path) == []


def test_errors_share_one_base() -> None:
    assert issubclass(DataError, LwdnaError)


def test_gray_store(tmp_path: Path) -> None:
    source = make(tmp_path / "colour.h5")
    assert gray_store(source, tmp_path / "gray.h5") == 6
    gray = Store(tmp_path / "gray.h5")
    assert gray.shapes == {"images": (6, 12, 10, 1)}
    assert gray.attributes["conversion"] == GRAY_CONVERSION and "601" in GRAY_CONVERSION
    assert gray.attributes["note"] == "x"
    assert gray.sources() == Store(source).sources()
    assert gray.table("offset").shape == (6, 2)
    for index in range(6):
        np.testing.assert_array_equal(gray[index][:, :, 0], to_gray(PIXELS[index]))
    gray.verify()
    with pytest.raises(DataError, match="1 channel"):
        gray_store(tmp_path / "gray.h5", tmp_path / "again.h5")


def test_a_store_that_is_not_held_in_memory_is_compared_too(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    flip(path, PIXELS[3].tobytes(), 50)
    store = Store(path)
    np.testing.assert_array_equal(store[2], PIXELS[2])
    with pytest.raises(DataError, match="item 3 of 'images' has changed"):
        _ = store[3]
    with pytest.raises(DataError, match="item 3 of 'images'"):
        store.hold(limit=0)
    with pytest.raises(DataError, match="item 3 of 'images'"):
        gray_store(path, tmp_path / "gray.h5")
    assert not (tmp_path / "gray.h5").exists()


def test_a_store_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    store = Store(path)
    np.testing.assert_array_equal(store[0], PIXELS[0])
    start = path.read_bytes().index(PIXELS[4].tobytes())
    os.truncate(path, start + 5)
    np.testing.assert_array_equal(store.read("images", 3), PIXELS[3])
    with pytest.raises(DataError, match=r"s\.h5' is truncated.*ends before item 4 of 'images'"):
        store.read("images", 4)


def test_other_images_in_the_place_of_a_store(tmp_path: Path) -> None:
    store = Store(make(tmp_path / "s.h5"))
    shapes = {"images": (9, 4, 4, 3)}
    with create_store(tmp_path / "s.h5", images=shapes, tables={}, attributes={}) as writer:
        for index in range(9):
            writer.put("images", index, np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"s\.h5' was replaced.*run the command again"):
        store.read("images", 0)
