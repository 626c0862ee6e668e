"""The paper's sub-images: overlapping tiles of the training images, cut once and stored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwdna.data.bicubic import imresize
from lwdna.data.images import GRAY_CONVERSION, image_size, read_image, to_gray, to_rgb
from lwdna.data.stores import Store
from lwdna.errors import ConfigError, DataError
from lwdna.io.hdf5 import PathLike, Tables, create_store
from lwdna.io.logs import progress


def tile_starts(size: int, crop: int, step: int, threshold: int) -> list[int]:
    """First pixels of the tiles along one side of an image.

    0, step, 2 step, ... while the tile ends inside; one more tile flush with the border if more
    than ``threshold`` pixels are left over.

    Args:
        size: pixels along the side.
        crop: pixels of a tile.
        step: pixels between two tiles.
        threshold: pixels that may be left over at the border.

    Raises:
        ConfigError: if crop or step is not positive, or the threshold is negative.
        DataError: if the side is shorter than a tile.
    """
    if crop < 1 or step < 1 or threshold < 0:
        raise ConfigError(
            f"Sub-images have size {crop}, step {step} and threshold {threshold}; size and step "
            "must be at least 1 and the threshold at least 0."
        )
    if size < crop:
        raise DataError(f"A side of {size} pixels is shorter than a sub-image of {crop} pixels.")
    starts = list(range(0, size - crop + 1, step))
    if size - (starts[-1] + crop) > threshold:
        starts.append(size - crop)
    return starts


def tiles(
    height: int, width: int, *, crop: int, step: int, threshold: int
) -> list[tuple[int, int]]:
    """Offsets (y, x) of all tiles of an image, row by row.

    With crop 480, step 240 and threshold 48, the 800 training images of DIV2K give the 32,208
    sub-images of the paper.

    Raises:
        ConfigError: as in :func:`tile_starts`.
        DataError: as in :func:`tile_starts`.
    """
    rows = tile_starts(height, crop, step, threshold)
    columns = tile_starts(width, crop, step, threshold)
    return [(y, x) for y in rows for x in columns]


def crop_images(
    images: Sequence[Path],
    output: str | os.PathLike[str],
    *,
    size: int,
    step: int,
    threshold: int,
    scale: int | None,
) -> int:
    """Cut images into sub-images and write them to a store, one image in memory at a time.

    With ``scale``, every image is first cut at its right and bottom border to a multiple of the
    scale, the whole of it is made smaller by :func:`lwdna.data.bicubic.imresize`, and both are
    cut in step: sub-image ``(y, x)`` has the low-resolution partner ``(y / scale, x / scale)``.

    Args:
        images: the files, in the order of the store.
        output: the store to write: "images" (N, size, size, 3), with ``scale`` also "lr"
            (N, size/scale, size/scale, 3), and the tables "source" (file name), "shape" (H, W)
            of the image that was tiled and "offset" (y, x) in it.
        size: pixels of a sub-image; 480 in the paper.
        step: pixels between two sub-images; 240 in the paper.
        threshold: pixels that may be left over at the border; 48 in the paper.
        scale: 2, 3, 4, ... for super-resolution; None for no low-resolution partner.

    Returns:
        N, the number of sub-images.

    Raises:
        ConfigError: if the numbers do not fit together, or size or step is no multiple of scale.
        DataError: if there is no image, or one cannot be read or is smaller than a sub-image.
    """
    if scale is not None and (scale < 2 or size % scale or step % scale):
        raise ConfigError(
            f"Sub-images of size {size} and step {step} do not fit the scale {scale}; the scale "
            "must be 2 or more and divide both."
        )
    if not images:
        raise DataError("No image was given to cut into sub-images; give at least one.")
    # Headers first: a small or foreign image is reported before hours of writing.
    plan = [(path, *_offsets(path, size, step, threshold, scale or 1)) for path in images]
    cuts = [(path.name, cut, offset) for path, cut, offsets in plan for offset in offsets]
    total = len(cuts)
    shapes = {"images": (total, size, size, 3)}
    attributes = {"crop_size": size, "crop_step": step, "crop_threshold": threshold}
    if scale is not None:
        shapes["lr"] = (total, size // scale, size // scale, 3)
        attributes["scale"] = scale
    tables: Tables = {
        "source": [name for name, _, _ in cuts],
        "shape": np.array([cut for _, cut, _ in cuts], dtype="<i4"),
        "offset": np.array([offset for _, _, offset in cuts], dtype="<i4"),
    }
    with create_store(output, images=shapes, tables=tables, attributes=attributes) as writer:
        index = 0
        for path, (height, width), offsets in progress(
            plan, description="cut sub-images", unit="image"
        ):
            image = to_rgb(read_image(path))[:height, :width]
            small = None if scale is None else imresize(image, 1 / scale)
            for y, x in offsets:
                writer.put("images", index, _window(image, y, x, size))
                if small is not None and scale is not None:
                    partner = _window(small, y // scale, x // scale, size // scale)
                    writer.put("lr", index, partner)
                index += 1
    return total


def _offsets(
    path: Path, size: int, step: int, threshold: int, scale: int
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Height and width of the image after the cut to a multiple of the scale, and its tiles."""
    height, width = image_size(path)
    cut = height - height % scale, width - width % scale
    if min(cut) < size:
        raise DataError(
            f"The image '{path}' has {height} x {width} pixels, fewer than a sub-image of "
            f"{size} x {size}; remove it or make the sub-images smaller."
        )
    return cut, tiles(*cut, crop=size, step=step, threshold=threshold)


def _window(image: NDArray[np.uint8], y: int, x: int, size: int) -> NDArray[np.uint8]:
    return image[y : y + size, x : x + size]


def gray_store(source: PathLike, output: PathLike) -> int:
    """Make a gray store from a colour store, for denoising; the low-resolution images are left out.

    Args:
        source: a store with "images" (N, H, W, 3).
        output: the store to write, with "images" (N, H, W, 1) by :func:`lwdna.data.images.to_gray`
            and the attribute "conversion".

    Returns:
        N, the number of images.

    Raises:
        DataError: if the source is not a colour store, or its images have classes.
    """
    colour = Store(source)
    count, height, width, channels = colour.shapes["images"]
    if channels != 3:
        raise DataError(
            f"The store '{source}' holds images of {channels} channel(s); give a colour store."
        )
    if colour.labels is not None:
        raise DataError(
            f"The store '{source}' holds images with classes, which a gray store has not; give a "
            "store of sub-images (lwdna crop)."
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
