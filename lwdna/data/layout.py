"""The images of a folder or an archive, laid out in one folder."""

from __future__ import annotations

from pathlib import Path

from lwdna.data.archives import archive_of, open_tree
from lwdna.data.images import find_images, image_size, is_image, say_left_out
from lwdna.errors import DataError
from lwdna.io.logs import progress


def lay_out(source: Path, output: Path, *, split: str = "test") -> None:
    """Link the images of a folder into another, or unpack those of a zip, at any depth, into it.

    Args:
        source: a folder, a zip, or a folder inside a zip: ``a.zip/HR``.
        output: an existing folder.
        split: "train" or "test"; each has a folder of its own, so that nothing follows from it.

    Raises:
        DataError: if there is no image, one is damaged, two in a zip have one name, or the zip is
            damaged or hostile.
    """
    if archive_of(source):
        _unpack(source, output)
    else:
        _link(source, output)


def _link(folder: Path, output: Path) -> None:
    for image in find_images(folder):
        image_size(image)  # refuses now what would stop a test after hours of training
        (output / image.name).symlink_to(image.resolve())


def _unpack(archive: Path, output: Path) -> None:
    """Write the images of an archive under their own names, without the folders they lie in."""
    with open_tree(archive) as tree:
        names = [name for name in tree.names if is_image(name)]
        say_left_out(tree.names, archive)
        if not names:
            raise DataError(f"The archive '{archive}' holds no image; name another one.")
        for name in progress(names, description="unpack", unit="image"):
            image = tree.file(name)
            target = output / image.name
            image_size(image)
            if target.exists():
                raise DataError(
                    f"The archive '{archive}' holds two images called '{image.name}'; name the "
                    "folder in it that is meant, such as a.zip/HR."
                )
            with image.open("rb") as file:
                target.write_bytes(file.read())
