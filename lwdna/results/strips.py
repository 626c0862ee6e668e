"""Strips of a restored image: the same part of it, before and after each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lwdna.config.methods import METHODS
from lwdna.data.images import to_gray
from lwdna.data.photographs import PHOTOGRAPHS
from lwdna.errors import ConfigError, DataError, nearest
from lwdna.results.layouts import NOT_RUN
from lwdna.results.panels import Output, draw_panels

SIZE = 128
"""Pixels of a side of the part that is shown, if nothing else is said."""

_STEP = 8
"""Pixels between two places that are tried for the part."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Image) -> Image:
        """That part of ``(H, W)`` or ``(H, W, 3)``."""
        rows = slice(self.top, self.top + self.height)
        return image[rows, self.left : self.left + self.width]


def region_of(
    image: Image, *, size: int = SIZE, centre: Sequence[int] | None = None, name: str = ""
) -> Region:
    """The part of an image to look at.

    Args:
        image: bytes ``(H, W)`` or ``(H, W, 3)``.
        size: of a side in pixels; an image that is smaller is shown whole.
        centre: row and column of the middle; near a border the part is moved inside. If there is
            none, what a photograph of :data:`lwdna.data.photographs.PHOTOGRAPHS` shows (a face),
            else where there is most detail: the largest mean of absolute differences between
            neighbours.
        name: of the image.

    Raises:
        ConfigError: if the centre lies outside the image.
    """
    height, width = image.shape[:2]
    known = PHOTOGRAPHS.get(name)
    if centre is None and known is not None and (known.height, known.width) == (height, width):
        centre = known.focus
    if centre is not None and not (0 <= centre[0] < height and 0 <= centre[1] < width):
        raise ConfigError(
            f"The part of the image '{name}' to be shown has its centre in row {centre[0]} and "
            f"column {centre[1]}, but the image has {height} rows and {width} columns; give "
            "numbers from 0 that are smaller."
        )
    rows, columns = min(size, height), min(size, width)
    if centre is None:
        top, left = _most_detailed(image, rows, columns)
    else:
        top = min(max(centre[0] - rows // 2, 0), height - rows)
        left = min(max(centre[1] - columns // 2, 0), width - columns)
    return Region(top, left, rows, columns)


def plot_strip(
    images: Mapping[str, Image | None],
    outputs: Sequence[Output],
    *,
    region: Region,
    psnr_db: Mapping[str, float | None],
    scale: str = "",
    title: str = "",
    note: str = "",
) -> None:
    """A whole image with a box, and what is in the box in that image and in others like it.

    Args:
        images: by caption, from left to right, whole images of one size: bytes ``(H, W)`` or
            ``(H, W, 3)``, the clean one first. None is shown as not run.
        outputs: paths that end in ``.png``, ``.svg`` or ``.pdf``; one file is written for each.
        region: what is in the box.
        psnr_db: by caption the PSNR in dB; captions without one get none.
        scale: the banner at the bottom, or empty.
        title: of the figure.
        note: small print about this strip, such as what the PSNR was computed on.

    Raises:
        DataError: if there is no image, or one is not made of bytes or not of the first one's size.
        ConfigError: if an output ends in something else, or ``psnr_db``
            has a caption that no image has.
        LwdnaError: if a file cannot be written.
    """
    for caption in psnr_db:
        if caption not in images:
            raise ConfigError(
                f"There is a PSNR, but no image '{caption}'; {nearest(caption, images)}"
            )
    clean = next(iter(images.values()), None)
    if clean is None:
        raise DataError("A strip starts with the clean image, but there is none; give it.")
    for caption, image in images.items():
        _check(caption, image, clean)
    count = len(images) + 1
    # Room for the caption above and the PSNR below each image.
    width, height = clean.shape[1], clean.shape[0]
    inches = 10 / count * max(region.height / region.width, height / width) + 0.5
    footer = [note, scale]

    def draw(grid: list[Axes]) -> None:
        _plot(grid[0], "Whole image", clean, "auto")
        _frame(grid[0], region)
        for axes, (caption, image) in zip(grid[1:], images.items(), strict=True):
            part = np.full((region.height, region.width), 238, np.uint8)
            if image is None:
                axes.text(0.5, 0.5, NOT_RUN, transform=axes.transAxes, ha="center", va="center")
            else:
                part = region.cut(image)
            _plot(axes, caption, part, "nearest")
            psnr = psnr_db.get(caption)
            axes.set_xlabel("" if psnr is None else f"{psnr:.2f} dB")

    draw_panels(
        outputs, title, [], footer, draw, panels=count, columns=count, height=inches, gap=0.08
    )


def _most_detailed(image: Image, rows: int, columns: int) -> tuple[int, int]:
    """Top and left of the part in which neighbours differ most."""
    gray = to_gray(image).astype(np.float64)
    detail = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    # Sums over parts are differences of sums from the corner.
    total = np.pad(detail, ((1, 1), (1, 1))).cumsum(0).cumsum(1)
    tops = np.arange(0, gray.shape[0] - rows + 1, _STEP)
    lefts = np.arange(0, gray.shape[1] - columns + 1, _STEP)
    bottom, right = tops + rows, lefts + columns
    inside = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(tops, right)]
        - total[np.ix_(bottom, lefts)]
        + total[np.ix_(tops, lefts)]
    )
    best = np.unravel_index(np.argmax(inside), inside.shape)
    return int(tops[best[0]]), int(lefts[best[1]])


def _check(caption: str, image: Image | None, clean: Image) -> None:
    if image is None:
        return
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise DataError(
            f"The image '{caption}' is an array of {image.dtype} and shape {image.shape}; a strip "
            "takes bytes (height, width) or (height, width, 3). Round and convert it."
        )
    if image.shape[:2] != clean.shape[:2]:
        raise DataError(
            f"The image '{caption}' is {image.shape[0]} x {image.shape[1]} pixels, and the first "
            f"one {clean.shape[0]} x {clean.shape[1]}; give images of one size."
        )


def _plot(axes: Axes, caption: str, image: Image, interpolation: str) -> None:
    axes.set_title(caption, loc="center")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    # At the top: a wide image and its square parts stand in one row.
    axes.set_anchor("N")
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation=interpolation)


def _frame(axes: Axes, region: Region) -> None:
    """A box that is seen on dark and on light."""
    for colour, width in (("white", 3.4), (METHODS["lw-dna"].colour, 1.8)):
        corner = (region.left - 0.5, region.top - 0.5)
        axes.add_patch(
            Rectangle(
                corner, region.width, region.height, fill=False, edgecolor=colour, linewidth=width
            )
        )
