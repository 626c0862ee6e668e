"""Videos in which an object is followed."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Video(Protocol):
    """A video of one object, whose frames are read when they are asked for."""

    @property
    def name(self) -> str:
        """What the video is called in results."""

    @property
    def still(self) -> bool:
        """Whether it is a single picture, to be shown several times."""

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(N, 4): x, y, width, height in pixels; NaN where nothing is known."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(N,): whether the object can be seen, as far as the data set says."""

    def __len__(self) -> int:
        """N, the number of frames."""

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, uint8 (H, W) or (H, W, 3)."""
