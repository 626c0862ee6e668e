"""Tracking as a task of the one training loop: samples of videos, the loss, how well it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lwdna.data.motion import SyntheticVideo
from lwdna.data.sequence_sets import open_sets
from lwdna.errors import ConfigError
from lwdna.tasks.sections import NetworkSection
from lwdna.tasks.task import Measuring, Named, PathLike, Sums, Task
from lwdna.tasks.trees import Tree, batch_length
from lwdna.tracking.classifier import place_pixels
from lwdna.tracking.dimp import Dimp, Settings, loss, save
from lwdna.tracking.following import measured, staying, videos_of
from lwdna.tracking.samples import Inputs, Samples, Sampling, VideoSet


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
    from the defaults; ``samples_per_epoch``, and ``test_samples``, the length of a test; and
    perhaps ``sampling``, settings of :class:`lwdna.tracking.samples.Sampling`.
    Data are listings of sets of videos (:mod:`lwdna.data.sequence_sets`).
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
        """Samples of the videos of a listing, drawn anew in each epoch."""
        return self._samples(path, self.key("samples_per_epoch"), seed)

    def test_data(self, path: PathLike, *, seed: int = 0) -> Dataset[Any]:
        """Samples of the videos of a listing, always the same."""
        return Fixed(self._samples(path, self.key("test_samples"), seed))

    def _samples(self, path: PathLike, length: int, seed: int) -> Samples:
        sets = [VideoSet(videos, weight) for videos, weight, _ in open_sets(path)]
        sampling = Sampling.read(self.section.get("sampling", {}))
        return Samples(sets, self.settings, length=length, seed=seed, sampling=sampling)

    def model_on(self, network: nn.Module, *, seed: int) -> Dimp:
        """A tracker on a backbone, its other weights drawn by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Dimp(network, self.settings)

    @property
    def write(self) -> Callable[[nn.Module, PathLike], None]:
        """A tracker's file holds its backbone's provenance too."""
        return save  # type: ignore[return-value]

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

    def measure_reference(self, path: PathLike, convention: str | None) -> Mapping[str, float]:
        """How well the boxes of the first frames do that stay where they are."""
        sets = open_sets(path)
        boxes = staying(videos_of(sets))
        return measured(sets, boxes, convention or self.kind.conventions[0])

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
