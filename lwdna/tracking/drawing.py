"""Boxes drawn into images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwdna.data.images import to_rgb

GREEN = (0, 220, 60)


def with_box(
    image: NDArray[np.uint8], box: Sequence[float], colour: tuple[int, int, int] = GREEN
) -> NDArray[np.uint8]:
    """A copy of an image with a frame just inside the edges of a box.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        box: x, y, width, height in pixels; what lies outside of the image is not drawn.
        colour: of the frame, which is thicker in larger images.

    Returns:
        uint8 (H, W, 3).
    """
    drawn = np.array(to_rgb(image))
    height, width = drawn.shape[:2]
    x, y, w, h = box
    left, top = round(x), round(y)
    right, bottom = max(left + 1, round(x + w)), max(top + 1, round(y + h))
    # Two pixels at least: videos have one colour for each two by two.
    thick = min(max(2, round(min(height, width) / 200)), right - left, bottom - top)
    for x0, y0, x1, y1 in (
        (left, top, right, top + thick),
        (left, bottom - thick, right, bottom),
        (left, top, left + thick, bottom),
        (right - thick, top, right, bottom),
    ):
        drawn[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = colour
    return drawn
