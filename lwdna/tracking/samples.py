"""Training samples: a few frames to learn an object from, and a few to find it in.

A sample is a function of (seed, epoch, index), as all training data of this package are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lwdna.data.sequences import Video
from lwdna.errors import DataError, require, require_known
from lwdna.tracking.boxes import jittered, proposals
from lwdna.tracking.crops import around, cut
from lwdna.tracking.dimp import Settings, Target

SHORTEST, FEWEST = 20, 12
"""A video has at least so many frames, and more than so many in which the object is visible."""

TRIES = 20
"""Videos that are drawn before all of a set are looked through for one that is long enough."""


@dataclass(frozen=True)
class Sampling:
    """How frames are chosen and cut out (DiMP, Sec. 4)."""

    train_frames: int = 3
    test_frames: int = 3
    gap: int = 30
    """Frames between the first test frame and any other, at most."""
    proposals: int = 8
    """Boxes of a test frame that the IoU branch judges."""
    train_jitter: tuple[float, float] = (0.25, 3.0)
    """Of size, as the standard deviation of its logarithm, and of place: by what the region that
    is cut out differs from the one around the object; place in sides of the object."""
    test_jitter: tuple[float, float] = (0.5, 4.5)
    """The same of test frames."""
    gray: float = 0.05
    """Chance that all frames are gray."""
    brightness: float = 0.2
    """By which each frame is brighter or darker, at most."""

    def __post_init__(self) -> None:
        for name in ("train_frames", "test_frames", "gap", "proposals"):
            value = getattr(self, name)
            whole = isinstance(value, int) and value >= 1
            require(whole, f"'{name}' of the samples", value, "a whole number from 1 up")
        for name in ("train_jitter", "test_jitter"):
            value = getattr(self, name)
            two = len(value) == 2 and all(0 <= v < math.inf for v in value)
            require(two, f"'{name}' of the samples", str(value), "two numbers from 0 up")
        for name in ("gray", "brightness"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"'{name}' of the samples", value, "a number from 0 to 1")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Sampling:
        """Read what a configuration says; what it does not say is as in DiMP.

        Raises:
            ConfigError: if a setting does not exist or cannot be.
        """
        known = [entry.name for entry in fields(cls)]
        for name in values:
            require_known(name, known, f"Samples of videos have no setting '{name}';")
        jitters = {"train_jitter", "test_jitter"}
        return cls(**{k: tuple(v) if k in jitters else v for k, v in values.items()})  # type: ignore


class VideoSet(NamedTuple):
    """Videos of which one is drawn with a chance of its own."""

    videos: Sequence[Video]
    weight: float = 1.0


class Inputs(NamedTuple):
    """What goes into :class:`lwdna.tracking.dimp.Dimp`."""

    train_images: Tensor
    """(n, 3, S, S), values 0-1."""
    train_boxes: Tensor
    """(n, 4), in pixels of the crops."""
    test_images: Tensor
    """(m, 3, S, S), values 0-1."""
    proposals: Tensor
    """(m, P, 4), in pixels of the crops."""


class Samples(Dataset[tuple[Inputs, Target]]):
    """Samples of sets of videos: ``data[epoch, index]``.

    Args:
        sets: of videos; a set is drawn by its weight, then one of its videos.
        settings: of the tracker.
        length: samples of an epoch.
        seed: of whatever is random.
        sampling: how frames are chosen and cut out.

    Raises:
        ConfigError: if there is no set, or no sample, or a weight is negative.
        DataError: if no video of a set is long enough.
    """

    def __init__(
        self,
        sets: Sequence[VideoSet],
        settings: Settings,
        *,
        length: int,
        seed: int,
        sampling: Sampling = Sampling(),
    ) -> None:
        weights = [s.weight for s in sets if len(s.videos)]
        fits = bool(weights) and min(weights) >= 0 and sum(weights) > 0
        require(fits, "The weights of sets of videos", str(weights), "one above 0 for each")
        require(length >= 1, "The number of samples of an epoch", length, "1 or more")
        self.sets = [s for s in sets if len(s.videos)]
        self.settings, self.sampling = settings, sampling
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, at: tuple[int, int]) -> tuple[Inputs, Target]:
        """The sample of an epoch and an index."""
        epoch, index = at
        rng = np.random.default_rng((self.seed, epoch, index))
        video = self._video(rng)
        chosen = frames_of(video, self.sampling, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        colours = float(torch.rand((), generator=generator))
        images, boxes = [], []
        for number, frame in enumerate(chosen):
            train = number < self.sampling.train_frames
            how = self.sampling.train_jitter if train else self.sampling.test_jitter
            image, box = self._cut(video, frame, how, generator)
            images.append(self._coloured(image, colours < self.sampling.gray, generator))
            boxes.append(box)
        first = self.sampling.train_frames
        drawn = [proposals(box, self.sampling.proposals, generator) for box in boxes[first:]]
        inputs = Inputs(
            torch.stack(images[:first]),
            torch.stack(boxes[:first]).float(),
            torch.stack(images[first:]),
            torch.stack([p for p, _ in drawn]).float(),
        )
        target: Target = {
            "boxes": torch.stack(boxes[first:]).float(),
            "iou": torch.stack([overlap for _, overlap in drawn]).float(),
        }
        return inputs, target

    def _video(self, rng: np.random.Generator) -> Video:
        weights = np.array([s.weight for s in self.sets], np.float64)
        videos = self.sets[int(rng.choice(len(weights), p=weights / weights.sum()))].videos
        for _ in range(TRIES):
            video = videos[int(rng.integers(len(videos)))]
            if usable(video):
                return video
        for place in rng.permutation(len(videos)):
            if usable(videos[int(place)]):
                return videos[int(place)]
        raise DataError(
            f"None of {len(videos)} videos, such as '{videos[0].name}', has {SHORTEST} frames and "
            f"more than {FEWEST} in which the object is visible; take longer ones."
        )

    def _cut(
        self, video: Video, frame: int, how: tuple[float, float], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A crop around where a tracker that erred would look, and the true box in it."""
        box = torch.from_numpy(video.boxes[frame].astype(np.float64))
        crop = around(jittered(box, *how, generator), self.settings.factor, self.settings.size)
        return cut(video.frame(frame), crop), crop.to_crop(box)

    def _coloured(self, image: Tensor, gray: bool, generator: torch.Generator) -> Tensor:
        if gray:
            image = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
            image = image.expand(3, -1, -1)
        gain = 1 + self.sampling.brightness * (2 * torch.rand((), generator=generator) - 1)
        return (image * gain).clamp(0, 1).contiguous()


def usable(video: Video) -> bool:
    """Whether samples can be taken from a video."""
    if video.still:
        return bool(video.visible.any())
    return len(video) >= SHORTEST and int(video.visible.sum()) > FEWEST


def frames_of(video: Video, sampling: Sampling, rng: np.random.Generator) -> list[int]:
    """Which frames a sample is of: those to learn from, which come first, then those to find in.

    The first of those to learn from is the base: the others come before it, and those to find in
    after it, as near as the gap says, or as near as there are any.
    """
    seen = np.flatnonzero(video.visible)
    trains, tests = sampling.train_frames, sampling.test_frames
    if video.still:
        return [int(seen[0])] * (trains + tests)
    inner = seen[(seen >= 2) & (seen < len(video) - 3)]
    inner = inner[(inner > seen[0]) & (inner < seen[-1])]
    base = int(rng.choice(inner))
    before = _near(seen, base, -sampling.gap)
    after = _near(seen, base, sampling.gap)
    return [
        base,
        *(int(f) for f in rng.choice(before, trains - 1)),
        *(int(f) for f in rng.choice(after, tests)),
    ]


def _near(seen: NDArray[np.intp], base: int, gap: int) -> NDArray[np.intp]:
    """Visible frames on one side of the base, within a gap that is widened until there are some."""
    while True:
        low, high = (base + gap, base) if gap < 0 else (base + 1, base + gap)
        found = seen[(seen >= low) & (seen < high)]
        if len(found):
            return found
        gap += -5 if gap < 0 else 5
