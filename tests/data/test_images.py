"""Every kind of image file has one stated outcome."""

from __future__ import annotations

import io
import itertools
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from damage import flips
from PIL import Image

from lwdna.data.folders import imagefolder
from lwdna.data.images import find_images, image_size, read_image, to_gray, to_rgb, write_image
from lwdna.data.layout import lay_out
from lwdna.errors import DataError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)


def with_alpha(image: np.ndarray, lowest: int) -> Image.Image:
    if image.ndim == 2:
        image = image[:, :, None]
    alpha = np.full((*image.shape[:2], 1), 255, dtype=np.uint8)
    alpha[2, 3] = lowest
    return Image.fromarray(np.concatenate([image, alpha], axis=2))


def deep_rgb_png() -> bytes:
    """A PNG with 16 bits a channel, which Pillow opens as plain RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(2 * 3 * 4) for _ in range(4))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_rgb_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_size(path) == (6, 5)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm"])
def test_gray_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GRAY).save(path)
    np.testing.assert_array_equal(read_image(path), GRAY)


def test_jpeg(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95)
    assert read_image(tmp_path / "a.jpg").shape == (6, 5, 3)


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array(palette.convert("RGB")))


def test_one_bit_becomes_gray(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), (GRAY > 100) * np.uint8(255))


@pytest.mark.parametrize("image", [RGB, GRAY], ids=["RGBA", "LA"])
def test_opaque_alpha_is_dropped(tmp_path: Path, image: np.ndarray) -> None:
    with_alpha(image, 255).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


READ = pytest.mark.parametrize("read", [read_image, image_size])
"""By the pixels, and by what a listing looks at before a training begins."""


@READ
@pytest.mark.parametrize("image", [RGB, GRAY], ids=["RGBA", "LA"])
def test_transparency_is_refused(tmp_path: Path, image: np.ndarray, read: object) -> None:
    with_alpha(image, 254).save(tmp_path / "half.png")
    with pytest.raises(DataError, match=r"half\.png.*transparent"):
        read(tmp_path / "half.png")


@READ
def test_transparent_colour_is_refused_only_if_it_is_used(tmp_path: Path, read: object) -> None:
    gray = np.full((4, 4), 7, dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "used.png", transparency=7)
    Image.fromarray(gray).save(tmp_path / "unused.png", transparency=8)
    with pytest.raises(DataError, match="transparent"):
        read(tmp_path / "used.png")
    read(tmp_path / "unused.png")
    np.testing.assert_array_equal(read_image(tmp_path / "unused.png"), gray)


@READ
def test_transparent_palette_is_refused(tmp_path: Path, read: object) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    palette.save(tmp_path / "a.png", transparency=0)
    with pytest.raises(DataError, match="transparent"):
        read(tmp_path / "a.png")


@READ
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_refused(tmp_path: Path, suffix: str, read: object) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(path)
    with pytest.raises(DataError, match=r"deep.*8 bits"):
        read(path)


def test_16_bit_rgb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(deep_rgb_png())
    (tmp_path / "deep.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    for name in ("deep.png", "deep.ppm"):
        with pytest.raises(DataError, match="8 bits"):
            read_image(tmp_path / name)


def test_other_colours_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "print.tif")
    with pytest.raises(DataError, match=r"print\.tif.*CMYK"):
        read_image(tmp_path / "print.tif")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(GRAY)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with pytest.raises(DataError, match=r"pages\.tif.*2 frames"):
        read_image(tmp_path / "pages.tif")


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "ppm", "webp"])
def test_every_truncation_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise).save(whole)
    read_image(whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for share in (0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9):
        cut.write_bytes(data[: int(share * len(data))])
        with pytest.raises(DataError, match=f"cut.{suffix}"):
            read_image(cut)


def test_changed_png_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format="PNG")
    path = tmp_path / "changed.png"
    # The last twelve bytes say that there is nothing more.
    for _ in itertools.islice(flips(path, buffer.getvalue(), mask=0x10), buffer.tell() - 12):
        with pytest.raises(DataError, match=r"changed\.png"):
            read_image(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text.png", r"text\.png.*not an image"),
        ("missing.png", r"missing\.png.*does not exist"),
        ("", "directory"),
    ],
)
def test_not_an_image(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=said):
        read_image(tmp_path / name)


def test_written_images_are_read_back(tmp_path: Path) -> None:
    for image in (RGB, GRAY):
        write_image(tmp_path / "new" / "a.png", image)
        np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), image)


def test_gray_is_the_rounded_luma() -> None:
    colours = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    exact = colours @ np.array([0.299, 0.587, 0.114])
    gray = to_gray(colours)
    assert gray.shape == (64, 64) and gray.dtype == np.uint8
    assert np.abs(gray - exact).max() <= 0.5 + 1e-9
    flat = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(to_gray(to_rgb(flat)), flat)
    np.testing.assert_array_equal(to_gray(flat), flat)
    np.testing.assert_array_equal(to_gray(flat[:, :, None]), flat)
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert to_gray(primaries).tolist() == [[76, 150, 29]]


def test_listing(tmp_path: Path) -> None:
    for name in ("b.PNG", "a10.jpg", "a9.Tiff", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.webp").touch()
    assert [path.name for path in find_images(tmp_path)] == ["a10.jpg", "a9.Tiff", "b.PNG"]
    assert len(find_images(tmp_path, recursive=True)) == 4


def test_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image; put images into it"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="does not exist; make it"):
        find_images(tmp_path / "nowhere")


LEFT_OUT = ("a.avif", "b.HEIC", "c.gif", "d.jxl")


@pytest.mark.parametrize("form", ["folder", "zip", "classes"])
def test_images_of_a_format_that_is_not_read_are_named(
    tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    inner = tmp_path / "mine" / ("cat" if form == "classes" else "")
    inner.mkdir(parents=True)
    for name in (*LEFT_OUT, "notes.txt", ".hidden.gif"):
        (inner / name).write_bytes(b"")
    Image.fromarray(RGB).save(inner / "e.png")
    (tmp_path / "out").mkdir()
    if form == "classes":
        imagefolder(tmp_path / "mine", tmp_path / "out/train.h5", split="train")
    elif form == "zip":
        shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path / "mine")
        lay_out(tmp_path / "mine.zip", tmp_path / "out")
    else:
        lay_out(tmp_path / "mine", tmp_path / "out")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    said = record.getMessage()
    assert all(name in said for name in LEFT_OUT[:3]) and "and 1 more" in said
    assert "notes" not in said and "hidden" not in said


def test_a_folder_of_images_that_are_all_read_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(RGB).save(tmp_path / "e.png")
    (tmp_path / "notes.txt").write_text("mine")
    assert len(find_images(tmp_path)) == 1 and not caplog.records
