"""Losses, knowledge distillation, and the tasks that let one training step serve every network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lwdna.errors import ConfigError, nearest
from lwdna.metrics import top_k_wrong


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0
) -> Tensor:
    """Kullback-Leibler divergence of the student's softened predictions from the teacher's.

    ``T^2 / B * sum over batch and classes of KL(softmax(teacher / T) || softmax(student / T))``,
    the knowledge distillation loss of the authors' code (T = 4); the paper does not give it.

    Args:
        student_logits: (B, classes), with gradient.
        teacher_logits: (B, classes), without.
        temperature: T; the factor T^2 keeps the size of the gradient independent of it.

    Returns:
        A scalar, in nats.
    """
    divergence = functional.kl_div(
        functional.log_softmax(student_logits / temperature, dim=1),
        functional.log_softmax(teacher_logits / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )
    return divergence * (temperature**2 / len(student_logits))


def classification_loss(
    student_logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | None = None,
    *,
    temperature: float = 4.0,
    weight: float = 0.4,
) -> Tensor:
    """Cross-entropy, mixed with distillation where there is a teacher.

    With a teacher ``weight * distillation + (1 - weight) * cross-entropy``: 0.4 and 0.6 in the
    paper; without one, cross-entropy alone.

    Args:
        student_logits: (B, classes).
        labels: (B,) class numbers.
        teacher_logits: (B, classes) or None.
        temperature: softens both predictions, see :func:`distillation_loss`.
        weight: share of the distillation loss, in [0, 1].
    """
    cross_entropy = functional.cross_entropy(student_logits, labels)
    if teacher_logits is None:
        return cross_entropy
    distillation = distillation_loss(student_logits, teacher_logits, temperature)
    return weight * distillation + (1 - weight) * cross_entropy


class Task(Protocol):
    """What the training step needs to know about a task."""

    @property
    def kind(self) -> str:
        """Name of the task in the configuration."""

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics, the main one first."""

    @property
    def distils(self) -> bool:
        """Whether the task has a loss against a teacher."""

    def loss(self, output: Tensor, target: Tensor, teacher_output: Tensor | None = None) -> Tensor:
        """The loss to minimise, a scalar: the mean over the batch."""

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The metrics *summed* over the batch, so that batches add up; scalars."""


@dataclass(frozen=True)
class Classification:
    """Class labels: cross-entropy with optional distillation; top-1 and top-5 error in percent."""

    temperature: float = 4.0
    weight: float = 0.4
    kind: ClassVar[str] = "classification"
    metric_names: ClassVar[tuple[str, ...]] = ("top1_error", "top5_error")
    distils: ClassVar[bool] = True

    def loss(self, output: Tensor, target: Tensor, teacher_output: Tensor | None = None) -> Tensor:
        """See :func:`classification_loss`."""
        return classification_loss(
            output, target, teacher_output, temperature=self.temperature, weight=self.weight
        )

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Errors in percent, summed over the images of the batch."""
        return {
            "top1_error": 100.0 * top_k_wrong(output, target, 1).sum(),
            "top5_error": 100.0 * top_k_wrong(output, target, 5).sum(),
        }


@dataclass(frozen=True)
class Restoration:
    """Images on the 0-255 scale: L1 loss; PSNR in dB of the unrounded output, all channels.

    This PSNR is for following a training on its patches; results are measured by
    :func:`lwdna.evaluation.evaluate` with the conventions of the benchmark.
    """

    kind: str
    metric_names: ClassVar[tuple[str, ...]] = ("psnr",)
    distils: ClassVar[bool] = False

    def loss(self, output: Tensor, target: Tensor, teacher_output: Tensor | None = None) -> Tensor:
        """Mean absolute difference, on the 0-255 scale."""
        return functional.l1_loss(output, target)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """PSNR in dB, summed over the images of the batch (at most 148 dB each)."""
        error = (output - target).square().flatten(1).mean(dim=1)
        # A patch restored exactly, which a tiny test can meet, would make the mean infinite.
        return {"psnr": (10 * torch.log10(255.0**2 / error.clamp_min(1e-10))).sum()}


TASKS = ("classification", "super-resolution", "denoising")
"""The tasks of the paper that are trained here."""


def task_for(kind: str, distillation: Mapping[str, Any] | None = None) -> Task:
    """The task of that name.

    Args:
        kind: one of :data:`TASKS`.
        distillation: ``temperature`` and ``weight`` of the distillation loss, for classification;
            the authors' code's 4 and 0.4 where left out.

    Raises:
        ConfigError: if there is no such task or setting.
    """
    if kind not in TASKS:
        raise ConfigError(f"The task '{kind}' does not exist; {nearest(kind, TASKS)}")
    if kind != "classification":
        return Restoration(kind)
    settings = dict(distillation or {})
    for name in settings:
        if name not in ("temperature", "weight"):
            raise ConfigError(
                f"'distillation' has no setting '{name}'; "
                f"{nearest(name, ('temperature', 'weight'))}"
            )
    task = Classification(**{name: float(value) for name, value in settings.items()})
    if not (task.temperature > 0 and 0 <= task.weight <= 1):
        raise ConfigError(
            f"Distillation with temperature {task.temperature:g} and weight {task.weight:g} is "
            "not possible; give a temperature above 0 and a weight from 0 to 1."
        )
    return task
