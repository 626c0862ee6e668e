"""Folders with one subfolder for every class, zips of them, Tiny-ImageNet and ImageNet."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwdna.data import folders
from lwdna.data.folders import (
    imagefolder_listing,
    imagefolder_store,
    imagenet_listing,
    tiny_imagenet_store,
)
from lwdna.data.images import read_image
from lwdna.data.listings import Listing, open_labelled
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
    with pytest.raises(
        DataError, match=r"2\.png' has 8 x 7 pixels, but .*1\.png' has 8 x 6.*packed"
    ):
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


def packed(folder: Path, inside: str) -> Path:
    """A zip of a folder, in which its files lie in the folder ``inside``."""
    archive = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, inside + path.relative_to(folder).as_posix())
    return archive


@pytest.mark.parametrize("inside", ["", "top/", "a/b/"])
def test_a_zip_gives_the_same_store(tmp_path: Path, inside: str) -> None:
    root = tmp_path / "root"
    write(root / "dog" / "1.png", 10)
    write(root / "cat" / "images" / "2.png", 20)
    write(root / "cat" / "3.png", 30)
    imagefolder_store(root, tmp_path / "folder.h5")
    archive = packed(root, inside)
    imagefolder_store(archive, tmp_path / "zip.h5")
    if inside:
        imagefolder_store(archive / inside, tmp_path / "inside.h5")
        one, other = (tmp_path / f"{name}.h5" for name in ("folder", "inside"))
        assert one.read_bytes() == other.read_bytes()
    first, second = Store(tmp_path / "folder.h5"), Store(tmp_path / "zip.h5")
    assert first.fingerprint() == second.fingerprint()
    assert second.sources() == [inside + name for name in first.sources()]
    assert first.classes == second.classes == ("cat", "dog")


def tiny_imagenet(root: Path) -> Path:
    """A miniature in the official layout: 3 classes, 2 training and 1 validation image of each."""
    classes = ["n02", "n03", "n01"]
    for number, name in enumerate(classes):
        for index in range(2):
            path = root / f"train/{name}/images/{name}_{index}.JPEG"
            write(path, 50 * number + 10 * index, (64, 64, 3))
        (root / f"train/{name}/{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
    # Listed in another order than by name, like the official file's numbers.
    for index in (2, 0, 1):
        write(root / f"val/images/val_{index}.JPEG", 100 + 50 * index, (64, 64))
    lines = [f"val_{index}.JPEG\t{classes[index]}\t0\t32\t44\t62\n" for index in (2, 0, 1)]
    (root / "val/val_annotations.txt").write_text("".join(lines))
    write(root / "test/images/test_0.JPEG", 1, (64, 64, 3))
    (root / "wnids.txt").write_text("".join(f"{name}\n" for name in classes))
    return root


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_tiny_imagenet(tmp_path: Path, form: str) -> None:
    source = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    if form == "zip":
        source = packed(source, "tiny-imagenet-200/")
    assert tiny_imagenet_store(source, tmp_path / "train.h5", split="train") == 6
    assert tiny_imagenet_store(source, tmp_path / "test.h5", split="test") == 3
    train, test = Store(tmp_path / "train.h5"), Store(tmp_path / "test.h5")
    assert train.classes == test.classes == ("n01", "n02", "n03")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [int(image[9, 9, 0]) for image in train] == [100, 110, 0, 10, 50, 60]
    # Image 0 is of n02, image 1 of n03, image 2 of n01; all are gray in the file.
    assert [int(image[9, 9, 2]) for image in test] == [100, 150, 200]
    assert test.labels.tolist() == [1, 2, 0]
    assert train.shapes["images"] == (6, 64, 64, 3)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda root: (root / "val/images/val_1.JPEG").unlink(), "does not hold both"),
        (lambda root: shutil.rmtree(root / "train/n02"), "of class 'n02'"),
        (lambda root: (root / "val/val_annotations.txt").unlink(), "no 'val/val_annotations.txt'"),
        (lambda root: (root / "val/val_annotations.txt").write_bytes(b"\xff"), "cannot be read"),
        (lambda root: (root / "val/val_annotations.txt").write_text("x\n"), "cannot be read"),
    ],
)
def test_a_tiny_imagenet_that_is_not_whole(tmp_path: Path, spoil, sentence: str) -> None:
    root = tiny_imagenet(tmp_path / "tiny")
    spoil(root)
    with pytest.raises(DataError, match=sentence):
        tiny_imagenet_store(root, tmp_path / "s.h5", split="test")


def test_another_archive_is_not_tiny_imagenet(tmp_path: Path) -> None:
    write(tmp_path / "root/a/1.png", 1)
    with pytest.raises(DataError, match="no image in train/CLASS/images"):
        tiny_imagenet_store(tmp_path / "root", tmp_path / "s.h5", split="train")


def imagenet(root: Path) -> Path:
    """A miniature of ImageNet's training images: any size, gray, CMYK, and a PNG called JPEG."""
    rng = np.random.default_rng(0)
    for name, sizes in {
        "n01440764": [(60, 80), (90, 40)],
        "n15075141": [(33, 35), (70, 70)],
    }.items():
        (root / name).mkdir(parents=True)
        for index, (height, width) in enumerate(sizes):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((width, height))
            mode = {("n01440764", 1): "L", ("n15075141", 0): "CMYK"}.get((name, index), "RGB")
            form = "PNG" if (name, index) == ("n15075141", 1) else "JPEG"
            image.convert(mode).save(root / name / f"{name}_{index}.JPEG", format=form)
    return root


def test_images_of_any_size_are_listed(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "train")
    assert imagefolder_listing(root, tmp_path / "l.h5") == 4
    listing = open_labelled(tmp_path / "l.h5")
    assert isinstance(listing, Listing) and len(listing) == 4
    assert listing.classes == ("n01440764", "n15075141")
    assert listing.labels.tolist() == [0, 0, 1, 1]
    assert [image.shape for image in listing] == [
        (60, 80, 3),
        (90, 40, 3),
        (33, 35, 3),
        (70, 70, 3),
    ]
    np.testing.assert_array_equal(listing[0], read_image(root / "n01440764/n01440764_0.JPEG"))
    cmyk = np.asarray(Image.open(root / "n15075141/n15075141_0.JPEG").convert("RGB"))
    np.testing.assert_array_equal(listing[2], cmyk)
    with pytest.raises(DataError, match="CMYK"):
        read_image(root / "n15075141/n15075141_0.JPEG")
    with pytest.raises(DataError, match="not a store"):
        Store(tmp_path / "l.h5")


def test_the_fingerprint_of_a_listing_tells_a_change(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "train")

    def fingerprint() -> str:
        imagefolder_listing(root, tmp_path / "l.h5")
        return Listing(tmp_path / "l.h5").fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    (root / "n15075141/n15075141_0.JPEG").rename(root / "n15075141/other.JPEG")
    second = fingerprint()
    with (root / "n15075141/other.JPEG").open("ab") as file:
        file.write(b"x")
    assert len({first, second, fingerprint()}) == 3


def test_damaged_listings_are_refused(tmp_path: Path) -> None:
    imagefolder_listing(imagenet(tmp_path / "train"), tmp_path / "l.h5")
    data = (tmp_path / "l.h5").read_bytes()
    (tmp_path / "l.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="damaged"):
        open_labelled(tmp_path / "l.h5")
    (tmp_path / "l.h5").write_bytes(data.replace(b"n01440764_1", b"n01440764_7"))
    with pytest.raises(DataError, match="'source' has changed"):
        open_labelled(tmp_path / "l.h5")


def test_an_image_that_cannot_be_read_is_found_when_it_is_listed(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "train")
    (root / "n15075141/n15075141_1.JPEG").write_bytes(b"")
    with pytest.raises(DataError, match=r"n15075141_1\.JPEG"):
        imagefolder_listing(root, tmp_path / "l.h5")
    assert not (tmp_path / "l.h5").exists()


def test_images_in_a_zip_do_not_stay_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unpack it and name the folder"):
        imagefolder_listing(packed(imagenet(tmp_path / "train"), ""), tmp_path / "l.h5")


def test_a_whole_imagenet_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "ILSVRC2012", {"train": (2, 4)})
    root = imagenet(tmp_path / "train")
    assert imagenet_listing(root, tmp_path / "l.h5", split="train") == 4


def test_an_imagenet_that_is_not_whole_says_what_is_missing(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "val")
    wanted = "50,000 images in 1,000 folders, n01440764 to n15075141"
    with pytest.raises(
        DataError, match=f"holds 4 images in 2 folders, but ILSVRC2012 has {wanted}"
    ):
        imagenet_listing(root, tmp_path / "l.h5", split="test")
    (root / "train").mkdir()
    with pytest.raises(DataError, match="folder 'train', which is no class"):
        imagenet_listing(root, tmp_path / "l.h5", split="train")
    write(tmp_path / "flat/ILSVRC2012_val_00000001.JPEG", 1)
    with pytest.raises(DataError, match=f"not in class folders; ILSVRC2012 has {wanted}"):
        imagenet_listing(tmp_path / "flat", tmp_path / "l.h5", split="test")
    assert not (tmp_path / "l.h5").exists()
