"""Classification data from folders, or zips of them, with a subfolder for every class."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import numpy as np

from lwdna.data.archives import File, Tree, archive_of, open_tree
from lwdna.data.images import image_size, is_image, read_image, say_left_out, to_rgb
from lwdna.data.listings import write_listing
from lwdna.errors import DataError, first_line
from lwdna.io.hdf5 import Tables, create_store
from lwdna.io.logs import progress

PathLike = str | os.PathLike[str]

ILSVRC2012 = {"train": (1000, 1_281_167), "test": (1000, 50_000)}
"""Classes and images of ImageNet's training and validation images."""

_TINY_LABELS = "val/val_annotations.txt"


@dataclass(frozen=True)
class _Labelled:
    """Images of a tree with their labels."""

    tree: Tree
    classes: list[str]
    names: list[str]
    labels: list[int]

    @property
    def files(self) -> list[File]:
        return [self.tree.file(name) for name in self.names]

    @property
    def tables(self) -> Tables:
        labels = np.array(self.labels, dtype="<i8")
        return {"labels": labels, "classes": self.classes, "source": self.names}


def imagefolder(folder: PathLike, output: PathLike, *, split: str, packed: bool = True) -> int:
    """Pack a folder of classes, or list it, whichever split it is of.

    Args:
        folder: as of :func:`imagefolder_store` and :func:`imagefolder_listing`.
        output: the store or listing to write.
        split: "train" or "test"; each has a folder of its own, so that nothing follows from it.
        packed: whether the images are packed, rather than listed.

    Returns:
        N, the number of images.

    Raises:
        DataError: as these.
    """
    return imagefolder_store(folder, output) if packed else imagefolder_listing(folder, output)


def imagefolder_store(folder: PathLike, output: PathLike) -> int:
    """Write a folder of classes, with images that all have the same size, to a store.

    The classes are the names of the subfolders, sorted; images may lie deeper inside them.

    Args:
        folder: holds one subfolder for every class; or a zip of it, in which it may lie in a
            folder of its own.
        output: the store to write: "images" (N, H, W, 3), "labels" (N,), "classes" and "source".

    Returns:
        N, the number of images.

    Raises:
        DataError: if the folder has no subfolder, one of them has no image, two images differ in
            size, or an archive is damaged or hostile.
    """
    with open_tree(folder) as tree:
        return _pack(_by_folder(tree), output)


def imagefolder_listing(folder: PathLike, output: PathLike) -> int:
    """List a folder of classes whose images stay where they are, and may differ in size.

    Args:
        folder: holds one subfolder for every class; no archive.
        output: the listing to write, see :mod:`lwdna.data.listings`.

    Returns:
        N, the number of images.

    Raises:
        DataError: if the folder has no subfolder, one of them has no image, or the header of an
            image cannot be read.
    """
    if archive_of(folder) is not None:
        raise DataError(
            f"The images of '{folder}' are to stay where they are, but cannot be read from an "
            "archive one by one in time; unpack it and name the folder."
        )
    with open_tree(folder) as tree:
        return _list(_by_folder(tree), output)


def imagenet_listing(folder: PathLike, output: PathLike, *, split: str) -> int:
    """List ImageNet (ILSVRC2012), whole: 1000 class folders with all of their images.

    Args:
        folder: of the training or the validation images, each in the folder of its class,
            n01440764 to n15075141.
        output: the listing to write, see :mod:`lwdna.data.listings`.
        split: "train", or "test" for the validation images.

    Returns:
        N, the number of images.

    Raises:
        DataError: saying what is missing, or as :func:`imagefolder_listing`.
    """
    classes, images = ILSVRC2012[split]
    wanted = f"{images:,} images in {classes:,} folders, n01440764 to n15075141"
    with open_tree(folder) as tree:
        if not tree.folders and any(map(is_image, tree.names)):
            raise DataError(
                f"The images in '{folder}' are not in class folders; ILSVRC2012 has {wanted}: let "
                "torchvision sort them, as docs/datasets.md shows."
            )
        odd = [name for name in tree.folders if not re.fullmatch(r"n\d{8}", name)]
        if odd:
            raise DataError(
                f"'{folder}' holds the folder '{odd[0]}', which is no class of ImageNet; name the "
                f"folder that holds {wanted}."
            )
        labelled = _by_folder(tree)
        if (len(labelled.classes), len(labelled.names)) != (classes, images):
            raise DataError(
                f"'{folder}' holds {len(labelled.names):,} images in {len(labelled.classes):,} "
                f"folders, but ILSVRC2012 has {wanted}; add what is missing, or unpack the "
                "official archive again."
            )
        return _list(labelled, output)


def tiny_imagenet_store(archive: PathLike, output: PathLike, *, split: str) -> int:
    """Write Tiny-ImageNet-200 to a store: 64 x 64 pixels, labels by sorted class name.

    The official validation images serve as test images, since the labels of the test images were
    never published. They lie in one folder, with their classes in ``val/val_annotations.txt``.

    Args:
        archive: the official zip, or the folder in it.
        output: as in :func:`imagefolder_store`.
        split: "train", or "test" for the validation images.

    Returns:
        N, the number of images: 100,000 or 10,000.

    Raises:
        DataError: if the archive is not what it should be.
    """
    with open_tree(archive) as tree:
        top = "tiny-imagenet-200/" if "tiny-imagenet-200" in tree.folders else ""
        pattern = re.compile(rf"{top}train/([^/]+)/images/[^/]+")
        found = [(name, pattern.fullmatch(name)) for name in tree.names if is_image(name)]
        classes = sorted({match[1] for _, match in found if match})
        number = {name: label for label, name in enumerate(classes)}
        if split == "train":
            pairs = [(name, match[1]) for name, match in found if match]
        else:
            pairs = [(f"{top}val/images/{name}", label) for name, label in _annotations(tree, top)]
        present = set(tree.names)
        for name, label in pairs:
            if name not in present or label not in number:
                raise DataError(
                    f"'{archive}' names the image '{name}' of class '{label}', but does not hold "
                    "both; replace it by the official archive."
                )
        if not pairs:
            raise DataError(
                f"'{archive}' holds no image in train/CLASS/images/; give the official "
                "tiny-imagenet-200.zip."
            )
        names, labels = [name for name, _ in pairs], [number[label] for _, label in pairs]
        return _pack(_Labelled(tree, classes, names, labels), output)


def _annotations(tree: Tree, top: str) -> list[tuple[str, str]]:
    """File and class of each validation image: a line is "val_0.JPEG, class, box", by tabs."""
    name = top + _TINY_LABELS
    if name not in tree.names:
        raise DataError(f"'{tree.path}' has no '{_TINY_LABELS}'; give the official archive.")
    try:
        with tree.file(name).open("rb") as file:
            lines = file.read().decode().splitlines()
        pairs = [tuple(line.split("\t")[:2]) for line in lines if line.strip()]
        return sorted((file, label) for file, label in pairs)
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{tree.path}' has a '{_TINY_LABELS}' that cannot be read ({first_line(error)}); "
            "replace it by the official archive."
        ) from error


def _by_folder(tree: Tree) -> _Labelled:
    """Label the images of a tree by their folder at its top."""
    names = [name for name in tree.names if is_image(name)]
    say_left_out(tree.names, tree.path)
    classes, where = tree.folders, ""
    if archive_of(tree.path) is not None:
        # An archive often holds the one folder that was packed.
        where = _shared_folder(names)
        classes = sorted({name.removeprefix(where).split("/")[0] for name in names if "/" in name})
    if not classes:
        raise DataError(
            f"The folder '{tree.path}' has no subfolder; put the images into one subfolder for "
            "every class."
        )
    number = {name: label for label, name in enumerate(classes)}
    names = [name for name in names if "/" in name.removeprefix(where)]
    labels = [number[name.removeprefix(where).split("/")[0]] for name in names]
    empty = sorted(set(range(len(classes))) - set(labels))
    if empty:
        raise DataError(
            f"The folder '{tree.path / classes[empty[0]]}' holds no image; put images of the class "
            "into it, or remove it."
        )
    return _Labelled(tree, classes, names, labels)


def _shared_folder(names: list[str]) -> str:
    """The folders around the class folders: "top/" for top/cat/1.png and top/dog/2.png."""
    shared = ""
    while names and all(name.removeprefix(shared).count("/") > 1 for name in names):
        outer = {name.removeprefix(shared).split("/")[0] for name in names}
        if len(outer) > 1:
            break
        shared += f"{outer.pop()}/"
    return shared


def _pack(labelled: _Labelled, output: PathLike) -> int:
    files = labelled.files
    height, width = _common_size(files)
    images = {"images": (len(files), height, width, 3)}
    with create_store(output, images=images, tables=labelled.tables, attributes={}) as writer:
        for index, file in enumerate(progress(files, description="read images", unit="image")):
            writer.put("images", index, to_rgb(read_image(file)))
    return len(files)


def _list(labelled: _Labelled, output: PathLike) -> int:
    sizes = []
    for name in progress(labelled.names, description="check images", unit="image"):
        path = labelled.tree.path / name
        image_size(path, cmyk=True)  # refuses now what would stop a training after days
        sizes.append(path.stat().st_size)
    write_listing(output, labelled.tree.path, labelled.tables, sizes)
    return len(sizes)


def _common_size(files: list[File]) -> tuple[int, int]:
    size = image_size(files[0])
    for file in progress(files[1:], description="check sizes", unit="image"):
        other = image_size(file)
        if other != size:
            raise DataError(
                f"The image '{file}' has {other[0]} x {other[1]} pixels, but '{files[0]}' has "
                f"{size[0]} x {size[1]}; make all images the same size, or leave them where they "
                "are (packed: false)."
            )
    return size
