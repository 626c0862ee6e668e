"""DiMP (Bhat et al., 2019): a classifier finds an object, and an IoU branch fits its box."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from lwdna.errors import CheckpointError, LwdnaError, first_line, require, require_known
from lwdna.graph.complexity import complexity as count_flops
from lwdna.graph.surgery import tensors_of
from lwdna.networks.provenance import Provenance
from lwdna.networks.sealed import read_sealed, whole_metadata, write_sealed
from lwdna.networks.weights import described, description, rebuilt
from lwdna.tracking.classifier import (
    Head,
    Initialiser,
    LearnedLoss,
    gaussian_labels,
    score_places,
    scores_of,
    steepest_descent,
)
from lwdna.tracking.iou_net import IouNet
from lwdna.tracking.taps import Taps

FORMAT, VERSION = "lwdna-tracker", 1

_BACKBONE = "backbone.network."
"""How the names of the backbone's tensors begin, in the tracker as in its file."""


@dataclass(frozen=True)
class Settings:
    """What a tracker is like, beside its backbone; by default DiMP-50 (DiMP, Sec. 4)."""

    taps: tuple[str, str] = ("layer2", "layer3")
    """Two layers of the backbone; the first has a map of twice the resolution of the second."""
    size: int = 288
    """Pixels along a side of the search region, as the network sees it."""
    factor: float = 5.0
    """Side of the search region, in sides of a square of the object's area."""
    channels: int = 512
    """Of the features that the filter runs over."""
    kernel: int = 4
    """Cells along a side of the filter."""
    iou_width: int = 256
    """Channels of the IoU branch."""
    iterations: int = 5
    """Steps of steepest descent in training."""
    sigma: float = 0.25
    """Standard deviation of labels, in sides of a square of the object's area."""
    iou_weight: float = 1.0
    """Factor of the loss of the IoU branch in training."""
    bins: int = 100
    """Distances at which label, mask and weight of the learned loss are free."""
    bin_spacing: float = 0.1
    """Between these, in cells."""
    step: float = 0.9
    """Of steepest descent to begin with, in steps of the exact line search."""
    regularisation: float = 0.1
    """To begin with; squared it is the factor of the filter's energy."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Of the images that the backbone was trained on, on the scale 0-1."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Standard deviation of these."""

    def __post_init__(self) -> None:
        for name in ("size", "channels", "kernel", "iou_width", "iterations", "bins"):
            value, least = getattr(self, name), 2 if name in {"iou_width", "bins"} else 1
            whole = isinstance(value, int) and value >= least
            require(whole, f"'{name}' of the tracker", value, f"a whole number from {least} up")
        for name in ("factor", "sigma", "bin_spacing", "step", "iou_weight"):
            value = getattr(self, name)
            above = isinstance(value, int | float) and 0 < value < math.inf
            require(above, f"'{name}' of the tracker", value, "a number above 0")
        numbers = all(isinstance(v, int | float) for v in (*self.mean, *self.std))
        colours = numbers and len(self.mean) == len(self.std) == 3 and min(self.std) > 0
        require(colours, "'mean' or 'std' of the tracker", self.mean, "three numbers for each")

    @property
    def spread(self) -> float:
        """Standard deviation of labels, in pixels of the search region."""
        return self.sigma / self.factor * self.size

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Settings:
        """Read what ``asdict`` wrote, perhaps by way of JSON.

        Raises:
            ConfigError, TypeError: if a setting does not exist or cannot be.
        """
        known = [entry.name for entry in fields(cls)]
        for name in values:
            require_known(name, known, f"The tracker has no setting '{name}';")
        tuples = {"taps", "mean", "std"}
        return cls(**{k: tuple(v) if k in tuples else v for k, v in values.items()})  # type: ignore


class Prediction(TypedDict):
    """What a tracker makes of training and test frames of B sequences."""

    scores: Tensor
    """(B, iterations + 1, m, S, S): of the test frames, by the filter after each step."""
    iou: Tensor
    """(B, m, P): of the proposals; it is learned as twice the IoU, less 1."""
    stride: Tensor
    """(B,): pixels of the crop between two cells of the scores."""


class Target(TypedDict):
    """What a prediction is compared with."""

    boxes: Tensor
    """(B, m, 4), of the object in the test frames, in pixels of the crop."""
    iou: Tensor
    """(B, m, P), of the proposals with it."""


class Dimp(nn.Module):
    """The network of the tracker, on a backbone that it takes over.

    Args:
        backbone: any module that takes images (B, 3, S, S); see :class:`lwdna.tracking.taps.Taps`.
        settings: what the rest is like.

    Raises:
        ConfigError: if a tap is no map of features, or their strides are not as 1 to 2.
    """

    def __init__(self, backbone: nn.Module, settings: Settings = Settings()) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = Taps(backbone, settings.taps, settings.size)
        fine, coarse = self.backbone.fine, self.backbone.coarse
        self.stride = coarse.stride
        self.score_size = coarse.cells + 1 - settings.kernel % 2
        self.head = Head(coarse.channels, settings.channels, settings.kernel)
        self.initialiser = Initialiser(settings.channels, settings.kernel, coarse.stride)
        self.learned_loss = LearnedLoss(
            settings.bins,
            settings.bin_spacing,
            settings.spread / coarse.stride,
            settings.step,
            settings.regularisation,
        )
        strides = (fine.stride, coarse.stride)
        self.iou_net = IouNet(fine.channels, coarse.channels, strides, width=settings.iou_width)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(settings.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(settings.std)[:, None, None])

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The maps of the backbone (B, C, H, W), fine and coarse, of images (B, 3, S, S), 0-1."""
        return self.backbone((images - self.mean) / self.std)  # type: ignore[no-any-return]

    def places(self, boxes: Tensor) -> Tensor:
        """Where on the map of scores boxes (..., 4) of the crop are: (..., 2), x and y."""
        return score_places(boxes, self.stride, self.settings.kernel)

    def filters(
        self,
        features: Tensor,
        boxes: Tensor,
        iterations: int,
        sample_weights: Tensor | None = None,
    ) -> list[Tensor]:
        """Filters that find an object which is known in some frames.

        Args:
            features: (B, n, C, H, W) of the head.
            boxes: (B, n, 4) of the object, in pixels of the crop.
            iterations: steps of steepest descent.
            sample_weights: (B, n), of sum 1; by default all alike.

        Returns:
            (B, C, k, k) of the initialiser, and after each step.
        """
        return steepest_descent(
            self.learned_loss,
            self.initialiser(features, boxes),
            features,
            self.places(boxes),
            iterations=iterations,
            sample_weights=sample_weights,
        )

    def forward(
        self, train_images: Tensor, train_boxes: Tensor, test_images: Tensor, proposals: Tensor
    ) -> Prediction:
        """Learn an object from training frames, find it in test frames, and judge proposals.

        Args:
            train_images: (B, n, 3, S, S), values 0-1.
            train_boxes: (B, n, 4), in pixels of the crops.
            test_images: (B, m, 3, S, S), values 0-1.
            proposals: (B, m, P, 4), in pixels of the crops.
        """
        sequences, frames = train_images.shape[:2]
        images = torch.cat([train_images, test_images], 1)
        fine, coarse = self.maps(images.flatten(0, 1))
        features = _by_sequence(self.head(coarse), sequences)
        fine, coarse = _by_sequence(fine, sequences), _by_sequence(coarse, sequences)
        made = self.filters(features[:, :frames], train_boxes, self.settings.iterations)
        scores = torch.stack([scores_of(features[:, frames:], f) for f in made], 1)
        modulation = self.iou_net.modulation(fine[:, 0], coarse[:, 0], train_boxes[:, 0])
        tests = test_images.shape[1]
        predicted = self.iou_net(
            tuple(m.repeat_interleave(tests, 0) for m in modulation),
            self.iou_net.maps(fine[:, frames:].flatten(0, 1), coarse[:, frames:].flatten(0, 1)),
            proposals.flatten(0, 1),
        )
        return {
            "scores": scores,
            "iou": predicted.reshape(proposals.shape[:3]),
            "stride": scores.new_full((sequences,), self.stride),
        }


class PerFrame(nn.Module):
    """What a tracker computes in every frame, but for boxes: what its FLOPs are counted of.

    Args:
        model: the tracker; its weights are used as they are.
    """

    def __init__(self, model: Dimp) -> None:
        super().__init__()
        self.model = model
        kernel, channels = model.settings.kernel, model.settings.channels
        device = model.mean.device
        self.filters: Tensor
        self.register_buffer("filters", torch.zeros(1, channels, kernel, kernel, device=device))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """An image (1, 3, S, S) to scores (1, 1, S', S') and the two maps (1, C, H, W) of boxes."""
        fine, coarse = self.model.maps(image)
        # What scores_of computes, as the convolution that it is: products of matrices are not
        # counted.
        padding = self.model.settings.kernel // 2
        scores = conv2d(self.model.head(coarse), self.filters, padding=padding)
        return scores, *self.model.iou_net.maps(fine, coarse)


def complexity(model: Dimp, *, batch_norm: bool = True) -> tuple[int, int, int]:
    """What a tracker costs, by the paper's convention.

    Args:
        model: the tracker.
        batch_norm: count batch norm.

    Returns:
        FLOPs of a frame of :class:`PerFrame`, those of the backbone in it, and the parameters in
        use: layers of the backbone after the last tap are not.

    Raises:
        GraphError: if the backbone does not run.
    """
    image = model.mean.new_zeros(1, 3, model.settings.size, model.settings.size)
    flops, _ = count_flops(PerFrame(model), image, batch_norm=batch_norm)
    backbone, _ = count_flops(model.backbone, image, batch_norm=batch_norm)
    # Those that are not run are frozen.
    params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return flops, backbone, params


def _by_sequence(maps: Tensor, sequences: int) -> Tensor:
    return maps.reshape(sequences, -1, *maps.shape[1:])


def loss(settings: Settings, prediction: Prediction, target: Target) -> Tensor:
    """What a tracker is trained on, a scalar: the mean over the batch (DiMP, Sec. 3.4, Eq. 6)."""
    parts = losses(settings, prediction, target)
    return parts["classifier"] + parts["iou"]


def losses(settings: Settings, prediction: Prediction, target: Target) -> dict[str, Tensor]:
    """The parts of the loss, scalars with their factors: of the classifier, and of the IoU.

    Where the label is low only scores above 0 count. The filter of every step counts alike, as
    does that of the initialiser: 100 each.
    """
    scores, stride = prediction["scores"], prediction["stride"][:, None, None]
    label = gaussian_labels(
        target["boxes"], scores.shape[-1], stride, settings.kernel, settings.spread / stride
    )[:, None]
    background = label < 0.05
    residual = torch.where(background, scores.clamp(min=0), scores - label)
    classified = 100 * residual.square().mean((0, 2, 3, 4)).sum()
    judged = (prediction["iou"] - (2 * target["iou"] - 1)).square().mean()
    return {"classifier": classified, "iou": settings.iou_weight * judged}


def build(
    backbone: nn.Module, taps: tuple[str, str] = ("layer2", "layer3"), **settings: Any
) -> Dimp:
    """A tracker on any backbone, whose other weights are new.

    Args:
        backbone: any module that takes images (B, 3, S, S); the tracker takes it over.
        taps: two of its layers with maps of features, the second of half the resolution.
        settings: others of :class:`Settings`.

    Raises:
        ConfigError: if a setting does not exist or cannot be, a tap is no map of features, or their
            strides are not as 1 to 2.
    """
    return Dimp(backbone, Settings.read({"taps": tuple(taps), **settings}))


def save(model: Dimp, path: str | PathLike[str]) -> None:
    """Write a tracker as safetensors, with its settings and the provenance of its backbone.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    network = model.backbone.network
    own = {k: v for k, v in tensors_of(model).items() if not k.startswith(_BACKBONE)}
    backbone = {_BACKBONE + name: tensor for name, tensor in tensors_of(network).items()}
    about = {
        "format": FORMAT,
        "version": VERSION,
        "settings": asdict(model.settings),
        "backbone": description(network),
    }
    write_sealed(path, about, own | backbone)


def load(path: str | PathLike[str], network: Callable[[], nn.Module] | None = None) -> Dimp:
    """Read a tracker that was saved by this package; no code is run from the file.

    Args:
        path: a file of :func:`save`.
        network: for a backbone that ``lwdna.build`` did not make, as in ``lwdna.load``.

    Returns:
        The tracker on the CPU.

    Raises:
        CheckpointError: if the file is damaged, foreign, or of another backbone.
        ConfigError: if the path names no file.
    """
    about, state = _read(path)
    with whole_metadata(path):
        said, settings = dict(about["backbone"]), dict(about["settings"])
        inner = {k.removeprefix(_BACKBONE): v for k, v in state.items() if k.startswith(_BACKBONE)}
        backbone = rebuilt(said, inner, path, network)
    try:
        with torch.device("meta"):
            model = Dimp(backbone, Settings.read(settings))
        made = model.state_dict()
        own = {k: v for k, v in state.items() if not k.startswith(_BACKBONE)}
        for name in sorted(own.keys() | made.keys()):
            if not name.startswith(_BACKBONE) and _shape(own, name) != _shape(made, name):
                raise CheckpointError(
                    f"'{name}' has the shape {_shape(own, name)}, not {_shape(made, name)}"
                )
        model.load_state_dict(made | own, assign=True)
    except (LwdnaError, TypeError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' cannot be loaded, since its parts do not belong together: "
            f"{first_line(error)}."
        ) from error
    return model


def read_backbone(path: str | PathLike[str]) -> Provenance:
    """What the file of a tracker says about its backbone.

    Raises:
        CheckpointError: if the file is damaged or foreign.
        ConfigError: if the path names no file.
    """
    about, _ = _read(path)
    with whole_metadata(path):
        return described(about["backbone"])[0]


def _read(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return read_sealed(path, (FORMAT, VERSION), what="a tracker", source="a training of a tracker")


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
