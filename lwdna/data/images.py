"""Reading images: one stated outcome for every kind of file, and one conversion to gray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lwdna.data.archives import File, Member, require_utf8
from lwdna.errors import DataError
from lwdna.io.atomic import atomic

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm", ".pgm", ".webp")
"""File names with these endings, in any case, are taken for images."""

GRAY_CONVERSION = "ITU-R BT.601 full-range luma: 0.299 R + 0.587 G + 0.114 B, rounded"
"""The one conversion of colour to gray, as it is written into stores."""

_FORMATS = ("PNG", "BMP", "JPEG", "TIFF", "PPM", "WEBP")
_ALLOWED = "8-bit gray or RGB, as png, bmp, jpeg, tiff, ppm, pgm or webp"

_OTHER_SUFFIXES = (
    *(".apng", ".arw", ".avif", ".cr2", ".cr3", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif"),
    *(".ico", ".jfif", ".jp2", ".jpe", ".jxl", ".nef", ".pbm", ".pfm", ".pnm", ".psd"),
    *(".raw", ".svg", ".tga"),
)
"""File names of images with these endings are left out, which is said."""

PathLike = str | os.PathLike[str]


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return name.lower().endswith(SUFFIXES)


def say_left_out(names: Iterable[str], where: object) -> None:
    """Warn of images that are left out because their format is not read.

    Args:
        names: of the files there are.
        where: the folder or archive that holds them.
    """
    odd = [
        name
        for name in names
        if name.lower().endswith(_OTHER_SUFFIXES)
        and not any(part.startswith(".") for part in name.split("/"))
    ]
    if odd:
        named = ", ".join(odd[:3]) + (f" and {len(odd) - 3:,} more" if len(odd) > 3 else "")
        logger.warning(
            "Images in '%s' are left out, since their format is not read: %s. Convert them (%s), "
            "or remove them.",
            where,
            named,
            _ALLOWED,
        )


def read_image(path: PathLike | Member, *, cmyk: bool = False) -> NDArray[np.uint8]:
    """Read an image file as 8-bit gray or RGB, changing its pixels as little as possible.

    ==========================  ==================================================
    in the file                 outcome
    ==========================  ==================================================
    8-bit gray, 8-bit RGB       as they are
    palette                     converted to RGB
    1 bit                       gray with values 0 and 255
    alpha, everywhere opaque    the alpha is dropped
    alpha, partly transparent   DataError: the background is unknown
    16 or more bits, float      DataError: the range is ambiguous
    CMYK                        DataError; with ``cmyk``, converted to RGB without a
                                profile, as torchvision does: some of ImageNet's are
    other colours               DataError
    several frames or pages     DataError
    damaged, truncated, empty   DataError
    ==========================  ==================================================

    An orientation noted in the EXIF data is not applied. The checksums of a PNG are verified.

    Returns:
        uint8, (H, W) for gray or (H, W, 3) for RGB, values 0-255.

    Raises:
        DataError: if the file is missing or one of the kinds above; the message names it.
    """
    path = path if isinstance(path, Member) else Path(path)
    with _opened(path) as image:
        image.verify()
    with _opened(path) as image:
        _check_kind(image, path, cmyk)
        image.load()
        return np.array(_simplified(image, path), dtype=np.uint8)


def image_size(path: PathLike | Member, *, cmyk: bool = False) -> tuple[int, int]:
    """Read height and width in pixels from the header of an image.

    The pixels are read of one with transparency alone, to see whether there is any.

    Raises:
        DataError: if the header is damaged, or the image of a kind that :func:`read_image` refuses.
    """
    path = path if isinstance(path, Member) else Path(path)
    with _opened(path) as image:
        _check_kind(image, path, cmyk)
        if _may_be_transparent(image):
            image.load()
            _simplified(image, path)
        return image.height, image.width


def write_image(path: PathLike, image: NDArray[np.uint8]) -> None:
    """Write a uint8 image, (H, W) or (H, W, 3), to ``path`` as PNG, whole or not at all."""
    with atomic(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def to_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert a uint8 image to gray by the full-range luma of ITU-R BT.601.

    0.299 R + 0.587 G + 0.114 B, rounded half up, computed in integers. The paper does not say
    how its gray DIV2K images were made; this is the conversion of this project.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), values 0-255. Gray stays as it is.

    Returns:
        uint8 (H, W).
    """
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return image[:, :, 0]
    wide = image.astype(np.uint32)
    luma = (299 * wide[:, :, 0] + 587 * wide[:, :, 1] + 114 * wide[:, :, 2] + 500) // 1000
    return luma.astype(np.uint8)


def to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a gray uint8 image, (H, W) or (H, W, 1), three equal channels; RGB stays as it is."""
    if image.ndim == 2:
        image = image[:, :, None]
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def find_images(folder: PathLike, *, recursive: bool = False) -> list[Path]:
    """List the images in a folder, sorted by name; hidden files are left out.

    Args:
        folder: the folder.
        recursive: also list the images in its subfolders.

    Raises:
        DataError: if the folder is missing or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"The folder of images '{folder}' does not exist; make it and put images into it "
            f"({_ALLOWED})."
        )
    candidates = list(folder.rglob("*") if recursive else folder.iterdir())
    say_left_out(sorted(path.relative_to(folder).as_posix() for path in candidates), folder)
    images = sorted(
        path
        for path in candidates
        if is_image(path.name)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not images:
        raise DataError(f"The folder '{folder}' holds no image; put images into it ({_ALLOWED}).")
    for path in images:
        require_utf8(path.relative_to(folder))
    return images


@contextmanager
def _opened(path: File) -> Iterator[Image.Image]:
    try:
        # Only these formats: others run programs or download when they are opened.
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            yield image
    except (DataError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"The image '{path}' does not exist; put it there.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"The image '{path}' cannot be read: {error.strerror}.") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"'{path}' is not an image that can be read; replace it by an intact file ({_ALLOWED})."
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"The image '{path}' has more pixels than an image can be trusted to have ({error}); "
            "cut it into parts, or leave it out."
        ) from error
    except Exception as error:
        # A decoder raises whatever it stumbles over: SyntaxError, struct.error, IndexError, ...
        raise DataError(
            f"The image '{path}' is damaged or truncated ({error}); replace it by an intact file."
        ) from error


def _check_kind(image: Image.Image, path: File, cmyk: bool) -> None:
    """Refuse, from the header alone, what cannot become 8-bit gray or RGB without a guess."""
    if _deep(image):
        raise DataError(
            f"The image '{path}' has more than 8 bits a channel; their range is ambiguous, so "
            "convert it to 8 bits first."
        )
    if image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA"} | ({"CMYK"} if cmyk else set()):
        raise DataError(
            f"The image '{path}' has the colour mode {image.mode}; convert it to 8-bit gray or RGB."
        )
    frames = getattr(image, "n_frames", 1)
    # Many cameras hide a preview behind the photograph of a JPEG, which Pillow calls MPO.
    if frames > 1 and image.format != "MPO":
        raise DataError(f"The image '{path}' has {frames} frames; save one of them as an image.")


def _deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a channel; for RGB, Pillow's mode does not tell."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return True
    # A tile is (decoder, extents, offset, args); args hold the raw mode, e.g. "RGB;16B".
    for tile in getattr(image, "tile", []):
        args: Any = tile[3]
        for arg in args if isinstance(args, tuple) else (args,):
            if isinstance(arg, str) and ";16" in arg:
                return True
            if image.format == "PPM" and isinstance(arg, int) and tile[0] != "raw" and arg > 255:
                return True
    return False


def _may_be_transparent(image: Image.Image) -> bool:
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    alpha = image.mode in {"LA", "PA", "RGBA"} or palette.endswith("A")
    return alpha or "transparency" in image.info


def _simplified(image: Image.Image, path: File) -> Image.Image:
    """The loaded image in mode L or RGB."""
    target = "L" if image.mode in {"1", "L", "LA"} else "RGB"
    if _may_be_transparent(image):
        image = image.convert("LA" if target == "L" else "RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            raise DataError(
                f"The image '{path}' is partly transparent; flatten it onto a background first."
            )
    return image if image.mode == target else image.convert(target)
