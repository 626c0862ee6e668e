"""Tracking as a task of the one training loop: samples of videos, the loss, how well it learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lwdna.data.images import find_images, read_image
from lwdna.data.motion import Motion, SyntheticVideo
from lwdna.data.sequence_layouts import LAYOUTS
from lwdna.data.sequences import Video, open_sequences
from lwdna.errors import ConfigError
from lwdna.tasks.sections import NetworkSection
from lwdna.tasks.task import Measuring, Named, PathLike, Sums, Task
from lwdna.tasks.trees import Tree, batch_length
from lwdna.tracking.classifier import place_pixels
from lwdna.tracking.dimp import Dimp, Settings, loss
from lwdna.tracking.samples import Inputs, Samples, VideoSet

SYNTHETIC = "synthetic"
"""The layout of a folder of photographs, over which motion is made."""


class Fixed(Dataset[Any]):
    """Samples that a test is always made of: ``data[index]``, those of epoch 0."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[0, index]


@dataclass(frozen=True)
class Tracking(Task):
    """Learning to follow objects (DiMP, Sec. 3.4).

    The section has ``tracker``, the settings of :class:`lwdna.tracking.dimp.Settings` that differ
    from the defaults; ``layout``, one of :data:`lwdna.data.sequence_layouts.LAYOUTS`, or
    :data:`SYNTHETIC` with ``videos``, how many are made, and ``motion``, how;
    ``samples``, the length of an epoch, and ``test_samples``, that of a test.
    """

    metric_names = ("found", "iou_error")

    @cached_property
    def settings(self) -> Settings:
        """Of the tracker.

        Raises:
            ConfigError: if one does not exist or cannot be.
        """
        return Settings.read(self.key("tracker"))

    def train_data(self, path: PathLike, *, seed: int) -> Dataset[Any]:
        """Samples of the videos in a folder, drawn anew in each epoch."""
        return self._samples(path, "train", self.key("samples"), seed)

    def test_data(self, path: PathLike, *, seed: int = 0) -> Dataset[Any]:
        """Samples of the videos in a folder, always the same."""
        return Fixed(self._samples(path, "val", self.key("test_samples"), seed))

    def _samples(self, path: PathLike, split: str, length: int, seed: int) -> Samples:
        videos = self._videos(Path(path), split, seed)
        return Samples([VideoSet(videos)], self.settings, length=length, seed=seed)

    def _videos(self, folder: Path, split: str, seed: int) -> Sequence[Video]:
        layout = self.key("layout")
        if layout != SYNTHETIC:
            return open_sequences(LAYOUTS, layout, folder, split)
        photographs = {image.stem: read_image(image) for image in find_images(folder)}
        motion = Motion(**self.section.get("motion", {}))  # type: ignore[arg-type]
        return [
            SyntheticVideo(photographs, seed, number, motion)
            for number in range(self.key("videos"))
        ]

    def check_tests(self, train: Any, test: Any) -> None:
        """Refuse motion over a photograph that is trained on.

        Raises:
            ConfigError: naming it.
        """
        known = {content for _, content in _photographs(train)}
        for name, content in _photographs(test.samples):
            if content in known:
                raise ConfigError(
                    f"The photograph '{name}' is trained on; test on motion over others."
                )

    def loss(self, output: Tree, target: Tree, teacher_output: Tree | None = None) -> Tensor:
        """The loss of :func:`lwdna.tracking.dimp.loss`, a scalar: the mean over the batch."""
        return loss(self.settings, output, target)

    def metrics(self, output: Tree, target: Tree) -> dict[str, Tensor]:
        """What a batch was like, scalars summed over its samples.

        ``found``: percent of test frames in which the highest score lies in the object's box;
        ``iou_error``: mean distance of the predicted IoU of proposals from the true one.
        """
        scores, boxes = output["scores"][:, -1], target["boxes"]
        peak = scores.flatten(-2).argmax(-1)
        place = torch.stack([peak % scores.shape[-1], peak // scores.shape[-1]], -1)
        stride = output["stride"][:, None, None]
        pixels = place_pixels(place.to(boxes), stride, self.settings.kernel)
        inside = (pixels >= boxes[..., :2]) & (pixels <= boxes[..., :2] + boxes[..., 2:])
        error = ((output["iou"] + 1) / 2 - target["iou"]).abs()
        return {
            "found": 100 * inside.all(-1).float().mean(1).sum(),
            "iou_error": error.mean((1, 2)).sum(),
        }

    def evaluate_batch(
        self, model: nn.Module, inputs: Tree, targets: Tree, **how: Unpack[Measuring]
    ) -> Sums:
        """The loss and :meth:`metrics`, summed over the batch."""
        output = self.infer(model, inputs)
        sums = {name: float(value) for name, value in self.metrics(output, targets).items()}
        return {"loss": float(self.loss(output, targets)) * batch_length(inputs), **sums}

    def random_batch(
        self, network: NetworkSection, images: int, shape: Sequence[int]
    ) -> tuple[Tree, Tree]:
        """Samples without a meaning; an image of the batch is a sample, six crops (3, S, S)."""
        crops = torch.rand(images, 3, 3, self.settings.size, self.settings.size)
        box = torch.tensor([0.4, 0.4, 0.2, 0.2]) * self.settings.size
        boxes = box.expand(images, 3, 4)
        proposals = boxes[:, :, None].expand(images, 3, 8, 4)
        target = {"boxes": boxes, "iou": torch.ones(images, 3, 8)}
        return Inputs(crops, boxes, crops.flip(1), proposals), target

    def check_fits(self, model: nn.Module, data: Any, spec: Named | None) -> None:
        """Refuse a network that is no tracker, or one of other settings.

        Raises:
            ConfigError: naming what differs.
        """
        if not isinstance(model, Dimp):
            raise ConfigError(
                f"The task '{self.section['kind']}' trains a tracker, and {type(model).__name__} "
                "is none; make one by lwdna.tracking.build."
            )
        own: Mapping[str, Any] = vars(model.settings)
        for name, value in vars(self.settings).items():
            if own[name] != value:
                raise ConfigError(
                    f"The tracker has {own[name]!r} as its '{name}', and the task {value!r}; give "
                    "both the same."
                )


def _photographs(samples: Samples) -> Iterator[tuple[str, bytes]]:
    """Name and content of each photograph that motion is made of."""
    for made in (one.videos[0] for one in samples.sets):
        if not isinstance(made, SyntheticVideo):
            continue
        # All of a set are made of the same.
        for name, image in made.photographs.items():
            yield name, image.tobytes()
