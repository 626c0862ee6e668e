"""Photographs that scikit-image and scikit-learn carry inside their packages."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lwdna.data.images import read_image, write_image
from lwdna.errors import DataError, require_known


@dataclass(frozen=True)
class Photograph:
    """A photograph in an installed package.

    Attributes:
        package: the package that carries it.
        file: its path inside the package.
        height: in pixels.
        width: in pixels.
        colour: whether it is RGB rather than gray.
        focus: row and column of what one looks at first, such as a face, if there is such a thing.
    """

    package: str
    file: str
    height: int
    width: int
    colour: bool
    focus: tuple[int, int] | None = None


PHOTOGRAPHS: dict[str, Photograph] = {
    "astronaut": Photograph("skimage", "data/astronaut.png", 512, 512, True, (112, 224)),
    "brick": Photograph("skimage", "data/brick.png", 512, 512, False),
    "camera": Photograph("skimage", "data/camera.png", 512, 512, False),
    "chelsea": Photograph("skimage", "data/chelsea.png", 300, 451, True, (110, 220)),
    "china": Photograph("sklearn", "datasets/images/china.jpg", 427, 640, True),
    "coffee": Photograph("skimage", "data/coffee.png", 400, 600, True, (255, 345)),
    "coins": Photograph("skimage", "data/coins.png", 303, 384, False),
    "flower": Photograph("sklearn", "datasets/images/flower.jpg", 427, 640, True),
    "grass": Photograph("skimage", "data/grass.png", 512, 512, False),
    "gravel": Photograph("skimage", "data/gravel.png", 512, 512, False),
    "hubble_deep_field": Photograph("skimage", "data/hubble_deep_field.jpg", 872, 1000, True),
    "ihc": Photograph("skimage", "data/ihc.png", 512, 512, True),
    "moon": Photograph("skimage", "data/moon.png", 512, 512, False),
    "motorcycle_left": Photograph("skimage", "data/motorcycle_left.png", 500, 741, True),
    "motorcycle_right": Photograph("skimage", "data/motorcycle_right.png", 500, 741, True),
    "retina": Photograph("skimage", "data/retina.jpg", 1411, 1411, True),
    "rocket": Photograph("skimage", "data/rocket.jpg", 427, 640, True),
}
"""The photographs by name; patterns, drawings and scanned pages of the packages are left out.

The two motorcycles are one scene seen by two cameras: never train on one and test on the other.
The Hubble field, the slide of tissue (ihc), the retina and the moon are not everyday scenes.
"""


def lay_out(names: Iterable[str], output: Path, *, split: str) -> None:
    """As :func:`export_photographs`, whichever split the names are of."""
    export_photographs(names, output)


def export_photographs(names: Iterable[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write photographs as ``{folder}/{name}.png``; the network is never used.

    Args:
        names: keys of :data:`PHOTOGRAPHS`.
        folder: made if it does not exist.

    Returns:
        The files, in the order of the names.

    Raises:
        ConfigError: if a name does not exist.
        DataError: if the installed package does not carry the photograph.
    """
    chosen = list(names)
    for name in chosen:
        _require_known(name)
    written = []
    for name in chosen:
        path = Path(folder) / f"{name}.png"
        write_image(path, read_image(installed(name)))
        written.append(path)
    return written


def installed(name: str) -> Path:
    """The file of a photograph inside the package, which is found without importing it.

    Raises:
        ConfigError: if the name does not exist.
        DataError: if the installed package does not carry the photograph.
    """
    _require_known(name)
    photograph = PHOTOGRAPHS[name]
    spec = importlib.util.find_spec(photograph.package)
    for location in (spec.submodule_search_locations if spec else None) or []:
        path = Path(location) / photograph.file
        if path.is_file():
            return path
    raise DataError(
        f"The installed version of {photograph.package} does not carry the photograph '{name}'; "
        "choose another one, or install a version that does."
    )


def _require_known(name: str) -> None:
    require_known(name, PHOTOGRAPHS, f"The photograph '{name}' does not exist;")
