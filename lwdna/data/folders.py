"""Classification data from a folder with one subfolder of images for every class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lwdna.data.images import find_images, image_size, read_image, to_rgb
from lwdna.data.stores import Tables, create_store
from lwdna.errors import DataError
from lwdna.logs import progress

PathLike = str | os.PathLike[str]


def imagefolder_store(folder: PathLike, output: PathLike) -> int:
    """Write a folder of classes to a store: CIFAR, Tiny-ImageNet and the like.

    The classes are the names of the subfolders, sorted; images may lie deeper inside them.

    Args:
        folder: holds one subfolder for every class, with images that all have the same size.
        output: the store to write: "images" (N, H, W, 3), "labels" (N,), "classes" and "source".

    Returns:
        N, the number of images.

    Raises:
        DataError: if the folder has no subfolder, one of them has no image, or two images differ
            in size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"The folder '{folder}' does not exist; make it, with one subfolder of images for "
            "every class."
        )
    classes = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not classes:
        raise DataError(
            f"The folder '{folder}' has no subfolder; put the images into one subfolder for "
            "every class."
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = find_images(folder / name, recursive=True)
        paths += found
        labels += [label] * len(found)
    height, width = _common_size(paths)
    shape = (len(paths), height, width, 3)
    tables: Tables = {
        "labels": np.array(labels, dtype="<i8"),
        "classes": classes,
        "source": [path.relative_to(folder).as_posix() for path in paths],
    }
    with create_store(output, images={"images": shape}, tables=tables, attributes={}) as writer:
        for index, path in enumerate(progress(paths, description="read images", unit="image")):
            writer.put("images", index, to_rgb(read_image(path)))
    return len(paths)


def _common_size(paths: list[Path]) -> tuple[int, int]:
    size = image_size(paths[0])
    for path in progress(paths[1:], description="check sizes", unit="image"):
        other = image_size(path)
        if other != size:
            raise DataError(
                f"The image '{path}' has {other[0]} x {other[1]} pixels, but '{paths[0]}' has "
                f"{size[0]} x {size[1]}; make all images the same size."
            )
    return size
