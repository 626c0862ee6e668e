"""The pictures that a command is given: which they are, and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lwdna.data.images import find_images, image_size
from lwdna.errors import ConfigError, DataError, nearest


def listed(paths: Sequence[Path]) -> list[Path]:
    """The pictures that files and folders name, after a look at the header of each.

    Raises:
        DataError: if a file is no picture, a folder has none, or two are called the same.
    """
    found = [
        picture for path in paths for picture in (find_images(path) if path.is_dir() else [path])
    ]
    seen: dict[str, Path] = {}
    for picture in found:
        image_size(picture)
        if picture.stem in seen:
            raise DataError(
                f"'{seen[picture.stem]}' and '{picture}' have the same name, by which results are "
                "called; rename one, or apply the network to them one after the other."
            )
        seen[picture.stem] = picture
    return found


def beside(pictures: Sequence[Path], reference: Path) -> dict[Path, Path]:
    """By picture, the clean one that it is compared with: of the same name, without suffix.

    Args:
        pictures: of :func:`listed`.
        reference: a folder, or a file where there is one picture.

    Raises:
        ConfigError: if one picture is given for several.
        DataError: if one is missing.
    """
    if not reference.is_dir():
        if len(pictures) != 1:
            raise ConfigError(
                f"The reference '{reference}' is one file, but there are {len(pictures)} pictures; "
                "give a folder that has one of the same name for each."
            )
        image_size(reference)
        return {pictures[0]: reference}
    known = {path.stem: path for path in find_images(reference)}
    for picture in pictures:
        if picture.stem not in known:
            raise DataError(
                f"There is no picture '{picture.stem}' in the reference '{reference}': "
                f"{nearest(picture.stem, known)}"
            )
        image_size(known[picture.stem])
    return {picture: known[picture.stem] for picture in pictures}


def named(output: Path, pictures: Sequence[Path], read: Sequence[Path], ending: str) -> list[Path]:
    """What is written for each picture: a PNG of its name, with an ending.

    Args:
        output: the folder.
        pictures: of :func:`listed`.
        read: files that must not be written over.
        ending: put after each name.

    Raises:
        ConfigError: if one would be written over what is read.
    """
    written = [output / f"{picture.stem}{ending}.png" for picture in pictures]
    kept = {path.resolve(): path for path in read}
    for path in written:
        if path.resolve() in kept:
            raise ConfigError(
                f"'{kept[path.resolve()]}' would be written over by what is made of it; give "
                "another folder for --output."
            )
    return written
