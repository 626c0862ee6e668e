"""Synthetic motion over photographs: videos whose boxes are known exactly.

An object is cut from one photograph with a soft mask and moves over another, under a camera that
drifts. Things cut from its own photograph move beside it, and something may pass before it.
Every number follows from (seed, index), and every frame can be had without those before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from lwdna.errors import ConfigError, DataError

Array = NDArray[np.float64]

TRAIN_PHOTOGRAPHS = ("astronaut", "chelsea", "china", "coins", "motorcycle_left", "rocket")
TEST_PHOTOGRAPHS = ("camera", "coffee", "flower", "gravel", "brick")
"""By default; no scene is in both, as :func:`check_disjoint` says of any other choice."""

_SAME_SCENE = {"motorcycle_left": "motorcycle", "motorcycle_right": "motorcycle"}


def check_disjoint(train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse photographs of a scene that are trained on and tested on.

    Raises:
        ConfigError: naming one.
    """
    scenes = {_SAME_SCENE.get(name, name) for name in train}
    for name in test:
        if _SAME_SCENE.get(name, name) in scenes:
            raise ConfigError(f"The photograph '{name}' shows what is trained on; test on others.")


@dataclass(frozen=True)
class Motion:
    """How videos are made; lengths are in pixels."""

    frames: int = 50
    height: int = 240
    width: int = 320
    smallest: float = 26.0
    """Side of a square of the area of the smallest object, at its middle size."""
    largest: float = 60.0
    """Likewise of the largest."""
    speed: float = 3.5
    """Of the object along each axis, in pixels a frame, about; at times a few times as much."""
    rotation: float = 0.35
    """Radians from the object's first position, at most."""
    distractors: int = 2
    """Other things from the photograph of the object, at most."""
    occluders: float = 0.5
    """Chance that something passes before the object."""
    softness: float = 1.5
    """Width of the edge of a mask."""


@dataclass(frozen=True)
class _Thing:
    """Something cut out of a photograph: its outline, its texture, and its poses in all frames."""

    texture: NDArray[np.uint8]
    place: Array
    """(2,), row and column of its middle in the photograph."""
    waves: Array
    """(waves, 2): amplitude and phase of the outline's distance from the middle."""
    centres: Array
    """(N, 2), x and y."""
    sizes: Array
    """(N, 2): half widths and half heights."""
    angles: Array
    """(N,) in radians."""
    gains: Array
    """(N,): factors of the brightness."""

    def radius(self, directions: NDArray[np.complex128]) -> Array:
        """Of the outline in directions, numbers of magnitude 1, for a thing of half width 1."""
        outline = np.ones(directions.shape)
        power = directions
        for amplitude, phase in self.waves:
            power = power * directions
            outline += amplitude * (math.cos(phase) * power.real - math.sin(phase) * power.imag)
        return outline

    def box(self, frame: int) -> Array:
        """(4,): the bounds of its outline, x, y, width, height."""
        points = self._axes(frame) @ (np.stack([_CIRCLE.real, _CIRCLE.imag]) * self._outline)
        points += self.centres[frame][:, None]
        low, high = points.min(1), points.max(1)
        return np.concatenate([low, high - low])

    @cached_property
    def _outline(self) -> Array:
        """(720,): the radius all around."""
        return self.radius(_CIRCLE)

    @property
    def area(self) -> float:
        """Of what is within the outline, for a thing of half width and half height 1."""
        return float((self._outline**2).mean() * np.pi)

    def _axes(self, frame: int) -> Array:
        """(2, 2): from the thing's own coordinates to those of the frame, but for the centre."""
        cos, sin = math.cos(self.angles[frame]), math.sin(self.angles[frame])
        axes: Array = np.array([[cos, -sin], [sin, cos]]) * self.sizes[frame]
        return axes

    def mask(self, shape: Sequence[int], frame: int, softness: float) -> tuple[Any, Array, Array]:
        """Where it covers a frame of this height and width.

        Returns:
            The part of the frame, as slices, how much of each pixel is covered, 0-1, and the
            thing's own coordinates there, (2, h, w).
        """
        x, y, w, h = self.box(frame)
        rows = _span(y - softness, y + h + softness, shape[0])
        columns = _span(x - softness, x + w + softness, shape[1])
        grid = np.stack(
            np.meshgrid(
                np.arange(columns.start, columns.stop) + 0.5 - self.centres[frame, 0],
                np.arange(rows.start, rows.stop) + 0.5 - self.centres[frame, 1],
            )
        )
        own = np.tensordot(np.linalg.inv(self._axes(frame)), grid, 1)
        away = np.hypot(*own)
        directions = (own[0] + 1j * own[1]) / np.maximum(away, 1e-12)
        reach = self.radius(directions) - away
        inside: Array = np.clip(0.5 + reach * self.sizes[frame].mean() / softness, 0, 1)
        return (rows, columns), inside, own

    def draw(self, canvas: NDArray[np.float32], frame: int, softness: float) -> None:
        """Paint it on a canvas (H, W, 3), 0-255."""
        where, mask, own = self.mask(canvas.shape, frame, softness)
        middle = self.sizes[0]
        down = _mirrored(self.place[0] + own[1] * middle[1], self.texture.shape[0])
        across = _mirrored(self.place[1] + own[0] * middle[0], self.texture.shape[1])
        painted = np.minimum(_bilinear(self.texture, down, across) * self.gains[frame], 255)
        canvas[where] += mask[:, :, None] * (painted - canvas[where])


_CIRCLE = np.exp(2j * np.pi * np.arange(720) / 720)


def _mirrored(places: Array, limit: int) -> Array:
    """Places on an axis of ``limit`` pixels, those beyond its ends turned back."""
    last = limit - 1
    turned: Array = last - np.abs(last - np.mod(places, 2 * last))
    return turned


def _bilinear(image: NDArray[np.uint8], down: Array, across: Array) -> Array:
    """The colours (h, w, 3) of an image between its pixels, at places (h, w) within it."""
    top, left = (np.floor(places).astype(np.intp) for places in (down, across))
    bottom, right = (
        np.minimum(top + 1, image.shape[0] - 1),
        np.minimum(left + 1, image.shape[1] - 1),
    )
    down, across = (down - top)[:, :, None], (across - left)[:, :, None]
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    colours: Array = upper + down * (lower - upper)
    return colours


def _colours_of(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3); of a gray one three times the same memory, for thousands of videos share it."""
    if photograph.ndim == 3 and photograph.shape[2] == 3:
        return photograph
    height, width = photograph.shape[:2]
    return np.broadcast_to(photograph.reshape(height, width, 1), (height, width, 3))


def _span(low: float, high: float, limit: int) -> slice:
    """Pixels that an interval touches, as far as they exist."""
    start = min(max(math.floor(low), 0), limit)
    return slice(start, min(max(math.ceil(high), start), limit))


class SyntheticVideo:
    """A video of an object whose box is known in every frame.

    Args:
        photographs: by name, uint8 (H, W) or (H, W, 3), at least two, each larger than a frame.
        seed, index: what it follows from.
        motion: how it is made.

    Attributes:
        name: "synthetic-" and the index.
        photographs: as given.

    Raises:
        DataError: if there are too few photographs, or one is too small.
    """

    still = False

    def __init__(
        self,
        photographs: Mapping[str, NDArray[np.uint8]],
        seed: int,
        index: int,
        motion: Motion = Motion(),
    ) -> None:
        if len(photographs) < 2:
            raise DataError(
                f"{len(photographs)} photographs were given for synthetic motion; give two or "
                "more, so that an object is not of its background."
            )
        for name, image in photographs.items():
            if image.shape[0] <= motion.height or image.shape[1] <= motion.width:
                raise DataError(
                    f"The photograph '{name}' has {image.shape[1]} x {image.shape[0]} pixels; for "
                    f"frames of {motion.width} x {motion.height} it must have more."
                )
        self.name = f"synthetic-{index:05d}"
        self.motion, self.photographs = motion, photographs
        rng = np.random.default_rng((seed, index))
        names = sorted(photographs)
        chosen = [names[i] for i in rng.permutation(len(names))]
        background, texture, cover = (
            _colours_of(photographs[chosen[i % len(chosen)]]) for i in range(3)
        )
        self._background = background
        room = np.array(background.shape[:2]) - (motion.height, motion.width) - 1
        self._camera = _path(rng, motion.frames, room / 2, room / 2, 1.5)
        self._object = self._thing(rng, texture)
        self._others = [
            self._thing(rng, texture) for _ in range(rng.integers(motion.distractors + 1))
        ]
        covered = rng.random() < motion.occluders
        self._covers = [self._occluder(rng, cover)] if covered else []

    def __len__(self) -> int:
        return self.motion.frames

    @cached_property
    def boxes(self) -> Array:
        """(N, 4): the bounds of the object's outline, also of what is covered or outside."""
        return np.stack([self._object.box(frame) for frame in range(len(self))])

    @cached_property
    def shown(self) -> Array:
        """(N,): the share of the object that is in the frame and not covered, 0-1."""
        return np.array([self._shown(frame) for frame in range(len(self))])

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """(N,): whether enough of the object is shown to be found."""
        return self.shown >= 0.3

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, uint8 (H, W, 3)."""
        canvas = self._scene(index)
        for thing in (*self._others, self._object, *self._covers):
            thing.draw(canvas, index, self.motion.softness)
        return np.rint(canvas).astype(np.uint8)

    def _shown(self, index: int) -> float:
        shown = np.zeros((self.motion.height, self.motion.width))
        where, mask, _ = self._object.mask(shown.shape, index, self.motion.softness)
        shown[where] = mask
        for cover in self._covers:
            where, mask, _ = cover.mask(shown.shape, index, self.motion.softness)
            shown[where] *= 1 - mask
        area = self._object.area * self._object.sizes[index].prod()
        return float(min(1, shown.sum() / area))

    def _scene(self, index: int) -> NDArray[np.float32]:
        """The background under the camera, (H, W, 3), 0-255: bilinear between its pixels."""
        row, column = self._camera[index]
        top, left = math.floor(row), math.floor(column)
        down, across = row - top, column - left
        part = self._background[
            top : top + self.motion.height + 1, left : left + self.motion.width + 1
        ].astype(np.float32)
        rows = part[:-1] * np.float32(1 - down)
        rows += part[1:] * np.float32(down)
        scene: NDArray[np.float32] = rows[:, :-1] * np.float32(1 - across)
        scene += rows[:, 1:] * np.float32(across)
        return scene

    def _thing(self, rng: np.random.Generator, texture: NDArray[np.uint8]) -> _Thing:
        """Something that moves by itself, everywhere in the frame."""
        motion, n = self.motion, self.motion.frames
        side = math.exp(rng.uniform(math.log(motion.smallest), math.log(motion.largest)))
        aspect = math.exp(rng.uniform(-0.4, 0.4))
        half = side / 2 * np.array([aspect**0.5, aspect**-0.5])
        size = np.exp(_path(rng, n, np.zeros(2), np.array([0.3, 0.3]), 0.012))
        common = np.exp(_path(rng, n, np.zeros(1), np.array([0.25]), 0.012))
        frame = np.array([motion.width, motion.height])
        room = np.maximum(frame / 2 - 0.8 * side, 4)
        edge = np.ceil(half[::-1]) + 1
        shape = np.array(texture.shape[:2])
        waves = np.stack([rng.uniform(0, [0.18, 0.1, 0.06]), rng.uniform(0, 2 * np.pi, 3)], 1)
        turns = _path(rng, n, np.zeros(1), np.array([motion.rotation]), 0.02)[:, 0]
        return _Thing(
            texture=texture,
            place=rng.uniform(edge, np.maximum(shape - edge, edge + 1)),
            waves=waves,
            centres=_path(rng, n, frame / 2, room, motion.speed),
            sizes=half * size**0.5 * common,
            angles=turns,
            gains=np.exp(_path(rng, n, np.zeros(1), np.array([0.25]), 0.015))[:, 0],
        )

    def _occluder(self, rng: np.random.Generator, texture: NDArray[np.uint8]) -> _Thing:
        """Something that stands where the object comes by, and moves with the scene."""
        n = self.motion.frames
        meeting = int(rng.integers(n // 4, max(3 * n // 4, n // 4 + 1)))
        side = self._object.sizes[meeting]
        drift = (self._camera[meeting] - self._camera)[:, ::-1]
        half = side * rng.uniform([0.25, 0.8], [0.6, 1.6])
        shape = np.array(texture.shape[:2])
        return _Thing(
            texture=texture,
            place=rng.uniform(shape * 0.3, shape * 0.7),
            waves=np.stack([rng.uniform(0, 0.05, 3), rng.uniform(0, 2 * np.pi, 3)], 1),
            centres=self._object.centres[meeting] + drift,
            sizes=np.broadcast_to(half, (n, 2)),
            angles=np.full(n, rng.uniform(-0.3, 0.3)),
            gains=np.ones(n),
        )


def _path(
    rng: np.random.Generator, frames: int, middle: Array, reach: Array, speed: float
) -> Array:
    """A smooth path of (N, D) within ``reach`` of ``middle``, of about ``speed`` a frame."""
    gap = 8
    knots = frames // gap + 3
    places = np.empty((knots, len(middle)))
    places[0] = rng.uniform(-reach, reach)
    velocity = rng.normal(0, speed * gap, len(middle))
    for knot in range(1, knots):
        velocity = 0.7 * velocity + 0.7 * rng.normal(0, speed * gap, len(middle))
        velocity = np.clip(velocity, -2 * speed * gap, 2 * speed * gap)
        place = places[knot - 1] + velocity
        beyond = np.abs(place) > reach
        velocity = np.where(beyond, -velocity, velocity)
        places[knot] = np.clip(place, -reach, reach)
    # Between two knots it never leaves the range of both, as a spline might, and then hit the edge.
    path: Array = middle + PchipInterpolator(np.arange(knots) * gap, places)(np.arange(frames))
    return path
