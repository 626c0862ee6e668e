"""Following an object through a video: DiMP on any backbone with two maps of features.

``load`` gives a tracker of a file, with ``init(image, box)`` and ``update(image)``; ``build`` makes
the network of one on a backbone, to be trained, and ``save`` writes it. The names are loaded on
first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lwdna.lazy import names_of

if TYPE_CHECKING:
    from lwdna.tracking.dimp import Settings, build, save
    from lwdna.tracking.online import Online, Tracker, load

__all__ = ["Online", "Settings", "Tracker", "build", "load", "save"]

_HOME = {
    "Online": "lwdna.tracking.online",
    "Settings": "lwdna.tracking.dimp",
    "Tracker": "lwdna.tracking.online",
    "build": "lwdna.tracking.dimp",
    "load": "lwdna.tracking.online",
    "save": "lwdna.tracking.dimp",
}

__getattr__ = names_of(__name__, _HOME)
