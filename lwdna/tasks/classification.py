"""Classification: cross-entropy, and knowledge distillation where there is a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from lwdna.tasks.metrics import top_k_wrong


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
