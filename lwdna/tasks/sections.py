"""The sections of an experiment, as types: what tasks, networks and trainings are told.

``config/schema.yaml`` describes every key, and :mod:`lwdna.config.check` has checked them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypeAlias, TypedDict

TaskSection: TypeAlias = Mapping[str, Any]
"""The section ``task``: ``kind``, and the keys of that kind, which a new kind adds to; see
:class:`lwdna.tasks.kinds.TaskKind`."""


class NetworkSection(TypedDict, total=False):
    """The section ``network``."""

    name: Required[str]
    """In the registry, or FILE:FUNCTION."""
    dataset: str
    """What it is built for, if for one."""
    width: float
    """Multiplier of its channels."""
    options: dict[str, Any]
    """Other arguments of what makes it."""
    input: Sequence[int]
    """(C, H, W), of a network of the user's own."""
    groups: Literal["whole", "positions"]
    """What grouped convolutions gain where it is made wider without an argument ``width``."""


class Distillation(TypedDict, total=False):
    """The section ``distillation`` of a protocol."""

    temperature: float
    weight: float


class Convention(TypedDict, total=False):
    """How :func:`lwdna.tasks.metrics.psnr` and ``ssim`` compare two images."""

    border: Required[int]
    """Pixels left out along each edge."""
    luma: Required[bool]
    """Compare the Y channel of RGB images instead of all channels."""
    quantise: bool
    """Clamp the output to the data range and round it, as if saved to a file; by default true."""
    data_range: float
    """The largest value; by default 255."""


class Schedule(TypedDict, total=False):
    """The section ``schedule`` of a protocol."""

    kind: Required[str]
    milestones: Sequence[int]
    """Epochs, of the kind ``step``."""
    gamma: float
    """The same: the factor at each."""


class Optimizer(TypedDict, total=False):
    """The section ``optimizer`` of a protocol."""

    kind: Required[str]
    lr: Required[float]
    weight_decay: float
    momentum: float
    """Of the kind ``sgd``."""
    nesterov: bool
    """Of the kind ``sgd``."""
    betas: Sequence[float]
    """Of the kind ``adam``."""
    eps: float
    """Of the kind ``adam``."""


class Group(TypedDict):
    """An entry of ``groups`` of a protocol."""

    parameters: str
    """A pattern of names such as ``backbone.*``."""
    lr: float
    """A factor of the learning rate."""


class ProtocolSection(TypedDict, total=False):
    """A section of ``protocols``; :class:`lwdna.training.protocol.Protocol` says what it means."""

    epochs: Required[int]
    batch_size: Required[int]
    optimizer: Required[Optimizer]
    schedule: Required[Schedule]
    test_every: int
    groups: Sequence[Group]
    distillation: Distillation | None
    precision: str
    accumulate: int
    channels_last: bool
    compile: bool
    workers: int
    checkpoint_minutes: float
