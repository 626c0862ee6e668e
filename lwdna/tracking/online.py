"""Following an object through a video, frame by frame (DiMP, Sec. 4.2).

Boxes are x, y, width and height in continuous pixels of the image, where pixel i spans [i, i + 1).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import ConfigError, DataError, first_line
from lwdna.tracking.boxes import box_around, centre_of, checked, kept_inside
from lwdna.tracking.classifier import place_pixels, scores_of, steepest_descent
from lwdna.tracking.crops import Crop, around, cut
from lwdna.tracking.dimp import Dimp
from lwdna.tracking.dimp import load as load_model
from lwdna.tracking.first_frame import Augmentation, dropped, views
from lwdna.tracking.iou_net import Refinement, refined
from lwdna.tracking.localisation import Flag, Found, Localisation, localise
from lwdna.tracking.memory import Memory


@dataclass(frozen=True)
class Online:
    """How a tracker is used; by default DiMP-50."""

    first_iterations: int = 10
    """Steps of steepest descent on the first frame."""
    update_every: int = 20
    """Frames between two updates of the filter."""
    iterations: int = 2
    """Steps of such an update."""
    hard_negative_iterations: int = 1
    """Steps at once where something looks like the object."""
    rate: float = 0.01
    """By which a frame weighs more than the one before it."""
    hard_negative_rate: float = 0.02
    """The same where something looks like the object."""
    memory: int = 50
    """Frames that are remembered, at most."""
    least_initial: float = 0.25
    """Weight of the first frame among them, at least."""
    inside: float = 0.2
    """Share of each side of the box that stays in the image."""
    refine: bool = True
    """Whether boxes are refined by the IoU branch; else they keep their size."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    localisation: Localisation = field(default_factory=Localisation)
    refinement: Refinement = field(default_factory=Refinement)


class Tracker:
    """Follows an object that is shown in the first frame.

    Everything that is drawn follows from (seed, name, number of the frame), so that a sequence has
    the same boxes whichever were followed before it.

    Args:
        model: it is put into evaluation mode; images go to its device.
        online: how it is used.
        seed: of what is drawn.

    Attributes:
        found: what the last map of scores looked like; None after the first frame.
    """

    def __init__(self, model: Dimp, online: Online = Online(), seed: int = 0) -> None:
        self.model = model.eval()
        self.online, self.seed = online, seed
        self.found: Found | None = None
        self._memory: Memory | None = None

    @torch.no_grad()
    def init(self, image: NDArray[np.uint8], box: Sequence[float], name: str = "") -> None:
        """Learn an object.

        Args:
            image: the first frame, uint8 (H, W) or (H, W, 3).
            box: of the object, x, y, width, height in pixels.
            name: of the sequence, which what is drawn depends on.

        Raises:
            DataError: if the box is none, of no size, or outside of the image.
        """
        model, online = self.model, self.online
        self._memory = None  # of the object before, should this one be refused
        self._size = _size_of(image)
        self._box = checked(box, self._size)
        self._name, self._frame, self.found = name, 1, None
        generator = self._generator()
        crop = self._crop()
        seen = views(image, crop, self._box, online.augmentation, generator)
        images, boxes = self._placed(seen.images), self._placed(seen.boxes)
        fine, coarse = model.maps(images)
        features = model.head(coarse)
        copies = dropped(features[0], online.augmentation, generator)
        features = torch.cat([features, copies])
        boxes = torch.cat([boxes, boxes[:1].expand(len(copies), 4)])
        self._modulation = model.iou_net.modulation(fine[:1], coarse[:1], boxes[:1])
        self._memory = Memory(
            features, boxes, capacity=online.memory, least_initial=online.least_initial
        )
        self._filter = model.filters(features[None], boxes[None], online.first_iterations)[-1]

    @torch.no_grad()
    def update(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Find the object in the next frame.

        Args:
            image: uint8 (H, W) or (H, W, 3), of the size of the first frame.

        Returns:
            (4,): its box, x, y, width, height in pixels.

        Raises:
            ConfigError: if no object was shown before.
            DataError: if the image has another size.
        """
        if self._memory is None:
            raise ConfigError("The tracker has no object to follow; call init(image, box) first.")
        if _size_of(image) != self._size:
            (h, w), (height, width) = self._size, _size_of(image)
            raise DataError(
                f"Frame {self._frame + 1} of '{self._name}' has {width} x {height} pixels, where "
                f"those before it have {w} x {h}; give frames of one size."
            )
        self._frame += 1
        crop = self._crop()
        fine, coarse = self.model.maps(self._placed(cut(image, crop)[None]))
        features = self.model.head(coarse)
        self.found = found = self._localise(features, crop)
        if found.flag is not Flag.NOT_FOUND:
            self._move(found, crop)
            if self.online.refine:
                self._refine(fine, coarse, crop)
            if found.flag is not Flag.UNCERTAIN:
                self._learn(self._memory, features[0], crop)
        return self._box.numpy().copy()

    def _localise(self, features: Tensor, crop: Crop) -> Found:
        scores = scores_of(features[None], self._filter)[0, 0]
        box = crop.to_crop(self._box)
        width, height = (box[2:] / self.model.stride).tolist()
        x, y = self.model.places(box).tolist()
        return localise(scores, (width, height), (x, y), self.online.localisation)

    def _move(self, found: Found, crop: Crop) -> None:
        """Put the box where the object was found, with the size that it had."""
        place = self._box.new_tensor(found.place)
        pixels = place_pixels(place, self.model.stride, self.model.settings.kernel)
        centre = pixels * crop.scale + self._box.new_tensor([crop.x, crop.y])
        self._put(centre, self._box[2:])

    def _put(self, centre: Tensor, size: Tensor) -> None:
        size = size.clamp(min=1)
        centre = kept_inside(centre, size, self._size, self.online.inside)
        self._box = box_around(centre, size)

    def _refine(self, fine: Tensor, coarse: Tensor, crop: Crop) -> None:
        branch = self.model.iou_net
        maps = branch.maps(fine, coarse)

        def predict(boxes: Tensor) -> Tensor:
            return branch(self._modulation, maps, self._placed(boxes)[None])[0].to(boxes)  # type: ignore[no-any-return]

        box = refined(
            predict,
            crop.to_crop(self._box),
            self.online.refinement,
            self._generator(),
            size=crop.size,
        )
        better = crop.to_image(box)
        self._put(centre_of(better), better[2:])

    def _learn(self, memory: Memory, features: Tensor, crop: Crop) -> None:
        online = self.online
        hard = self.found is not None and self.found.flag is Flag.HARD_NEGATIVE
        box = self._placed(crop.to_crop(self._box))
        memory.add(features, box, online.hard_negative_rate if hard else online.rate)
        steps = online.hard_negative_iterations if hard else 0
        if not hard and (self._frame - 1) % online.update_every == 0:
            steps = online.iterations
        if steps:
            kept, boxes, weights = memory.samples()
            self._filter = steepest_descent(
                self.model.learned_loss,
                self._filter,
                kept,
                self.model.places(boxes),
                iterations=steps,
                sample_weights=weights,
            )[-1]

    def _crop(self) -> Crop:
        settings = self.model.settings
        return around(self._box, settings.factor, settings.size)

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.model.mean)

    def _generator(self) -> torch.Generator:
        name = zlib.crc32(self._name.encode())
        draw = np.random.SeedSequence([self.seed, name, self._frame]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(draw[0]) >> 1)


def load(
    path: str | PathLike[str],
    network: Callable[[], nn.Module] | None = None,
    *,
    online: Online = Online(),
    seed: int = 0,
    device: str = "auto",
) -> Tracker:
    """A tracker of a file, to be shown an object.

    Args:
        path: that :func:`lwdna.tracking.save` or a training wrote; no code is run from it.
        network: for a backbone that ``lwdna.build`` did not make, as in ``lwdna.load``.
        online: how it is used.
        seed: of what is drawn.
        device: of PyTorch, such as cpu or cuda:0; "auto" is the GPU where there is one.

    Raises:
        CheckpointError: if the file is damaged, foreign, or of another backbone.
        ConfigError: if the path names no file, or there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
    # Of a device that PyTorch was not built for, it raises AssertionError, or NotImplementedError.
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device '{device}' cannot be used ({first_line(error).rstrip('.')}); give 'cpu', "
            "'cuda' or 'auto'."
        ) from error
    return Tracker(load_model(path, network).to(device), online, seed)


def _size_of(image: NDArray[np.uint8]) -> tuple[int, int]:
    return int(image.shape[0]), int(image.shape[1])


def follow(
    tracker: Tracker, frames: Iterable[NDArray[np.uint8]], box: Sequence[float], name: str = ""
) -> Iterator[NDArray[np.float64]]:
    """Follow an object through all frames of a sequence, one after the other.

    Args:
        tracker: that follows.
        frames: uint8 (H, W) or (H, W, 3), in order.
        box: of the object in the first one.
        name: of the sequence.

    Yields:
        (4,): its box in each frame, in the first as given.

    Raises:
        DataError: if there are fewer frames than two, the box is none, or frames change size.
    """
    read = 0
    for frame in frames:
        read += 1
        if read == 1:
            tracker.init(frame, box, name)
            yield np.array(box, np.float64)
        else:
            yield tracker.update(frame)
    if read < 2:
        raise DataError(f"'{name}' has {read} frames; to follow an object takes two or more.")
