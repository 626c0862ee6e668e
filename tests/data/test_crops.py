"""The rule of sub-images, and the stores that are cut by it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwdna.data.bicubic import imresize
from lwdna.data.crops import crop_images, gray_store, tile_starts, tiles
from lwdna.data.stores import Store
from lwdna.errors import ConfigError, DataError
from lwdna.io.hdf5 import create_store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(folder: Path, name: str, height: int, width: int, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("height", "width", "threshold", "count"),
    [
        (1356, 2040, 0, 40),
        (1356, 2040, 48, 40),
        (1248, 2040, 0, 40),
        (1248, 2040, 48, 32),
        (2040, 2040, 48, 64),
        (480, 480, 48, 1),
    ],
)
def test_counts_of_div2k(height: int, width: int, threshold: int, count: int) -> None:
    assert len(tiles(height, width, crop=480, step=240, threshold=threshold)) == count


def test_starts() -> None:
    assert tile_starts(1356, 480, 240, 48) == [0, 240, 480, 720, 876]
    assert tile_starts(1248, 480, 240, 48) == [0, 240, 480, 720]
    assert tile_starts(1249, 480, 240, 48) == [0, 240, 480, 720, 769]
    assert tile_starts(480, 480, 240, 0) == [0]
    assert tiles(720, 480, crop=480, step=240, threshold=48) == [(0, 0), (240, 0)]


def test_impossible_rules() -> None:
    with pytest.raises(DataError, match="shorter"):
        tile_starts(479, 480, 240, 48)
    for numbers in ((0, 240, 48), (480, 0, 48), (480, 240, -1)):
        with pytest.raises(ConfigError, match="at least"):
            tile_starts(1000, *numbers)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_low_resolution_partners_lie_in_step(tmp_path: Path, scale: int) -> None:
    sizes = {"a.png": (75, 62), "b.png": (48, 48)}
    paths = [write(tmp_path, name, *size) for name, size in sizes.items()]
    count = crop_images(paths, tmp_path / "s.h5", size=48, step=24, threshold=4, scale=scale)
    store = Store(tmp_path / "s.h5")
    # 75 x 62 is cut to multiples: rows 0, 24; columns 0 and, flush with the border, 12 or 14.
    cut = [75 - 75 % scale, 62 - 62 % scale]
    left = cut[1] - 48
    assert store.table("offset").tolist() == [[0, 0], [0, left], [24, 0], [24, left], [0, 0]]
    assert store.table("shape").tolist() == [cut] * 4 + [[48, 48]]
    assert store.sources() == ["a.png"] * 4 + ["b.png"]
    side = 48 // scale
    assert count == len(store) == 5
    assert store.shapes == {"images": (5, 48, 48, 3), "lr": (5, side, side, 3)}
    assert store.attributes["scale"] == scale and store.attributes["crop_threshold"] == 4
    for index, (y, x) in enumerate(store.table("offset")):
        height, width = store.table("shape")[index]
        image = np.array(Image.open(tmp_path / store.sources()[index]))[:height, :width]
        np.testing.assert_array_equal(store[index], image[y : y + 48, x : x + 48])
        top, left = y // scale, x // scale
        small = imresize(image, 1 / scale)[top : top + side, left : left + side]
        np.testing.assert_array_equal(store.read("lr", index), small)
    store.verify()


def test_gray_images_are_stored_as_rgb_and_scale_is_optional(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "g.png")
    paths = [tmp_path / "g.png"] * 2
    assert crop_images(paths, tmp_path / "s.h5", size=16, step=8, threshold=9, scale=None) == 2
    store = Store(tmp_path / "s.h5")
    assert list(store.shapes) == ["images"] and "scale" not in store.attributes
    np.testing.assert_array_equal(store[1], np.repeat(gray[:16, :16, None], 3, axis=2))


def test_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, "ä.png", 40, 40)
    for name in ("first.h5", "second.h5"):
        crop_images([path], tmp_path / name, size=32, step=16, threshold=0, scale=2)
        time.sleep(1.1)  # HDF5 notes times in seconds, unless it is told not to.
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()
    assert Store(tmp_path / "first.h5").sources()[0] == "ä.png"


def test_bad_images_are_named_before_anything_is_written(tmp_path: Path) -> None:
    good = write(tmp_path, "good.png", 64, 64)
    small = write(tmp_path, "small.png", 64, 31)
    output = tmp_path / "s.h5"
    rule = {"size": 32, "step": 16, "threshold": 0, "scale": None}
    with pytest.raises(DataError, match=r"small\.png' has 64 x 31 pixels"):
        crop_images([good, small], output, **rule)
    with pytest.raises(DataError, match=r"missing\.png"):
        crop_images([good, tmp_path / "missing.png"], output, **rule)
    with pytest.raises(DataError, match="No image"):
        crop_images([], output, **rule)
    assert names(tmp_path) == ["good.png", "small.png"]


def test_damage_found_while_writing_leaves_nothing(tmp_path: Path) -> None:
    good = write(tmp_path, "good.png", 64, 64)
    cut = write(tmp_path, "cut.png", 64, 64)
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.png"):
        crop_images([good, cut], tmp_path / "s.h5", size=32, step=16, threshold=0, scale=None)
    assert names(tmp_path) == ["cut.png", "good.png"]


@pytest.mark.parametrize(("size", "step", "scale"), [(50, 24, 4), (48, 25, 4), (48, 24, 1)])
def test_scale_must_divide_the_rule(tmp_path: Path, size: int, step: int, scale: int) -> None:
    image = write(tmp_path, "a.png", 64, 64)
    with pytest.raises(ConfigError, match="must be 2 or more and divide both"):
        crop_images([image], tmp_path / "s.h5", size=size, step=step, threshold=0, scale=scale)


def test_a_store_with_classes_does_not_become_gray(tmp_path: Path) -> None:
    tables = {"labels": np.zeros(1, "<i8"), "classes": ["cat"]}
    images = {"images": (1, 8, 8, 3)}
    with create_store(tmp_path / "c.h5", images=images, tables=tables, attributes={}) as writer:
        writer.put("images", 0, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="holds images with classes, which a gray store has not"):
        gray_store(tmp_path / "c.h5", tmp_path / "gray.h5")
    assert names(tmp_path) == ["c.h5"]
