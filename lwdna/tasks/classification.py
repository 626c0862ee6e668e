"""Classification: cross-entropy, and knowledge distillation where there is a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lwdna.data.catalog import dataset_shape
from lwdna.data.classification import ClassificationTest, ClassificationTrain
from lwdna.data.listings import open_labelled
from lwdna.data.transforms import CentreCrop, Normalisation, to_tensor
from lwdna.errors import ConfigError, DataError, require_known
from lwdna.tasks.metrics import top_k_wrong
from lwdna.tasks.sections import Distillation, NetworkSection, TaskSection
from lwdna.tasks.task import Example, Measuring, Named, PathLike, Sums, Task


class Guess(NamedTuple):
    """A class, and how likely it is."""

    name: str
    probability: float


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
class Classification(Task):
    """Class labels: cross-entropy with optional distillation; top-1 and top-5 error in percent."""

    temperature: float = 4.0
    weight: float = 0.4
    metric_names: ClassVar[tuple[str, ...]] = ("top1_error", "top5_error")

    @classmethod
    def read(cls, section: TaskSection, distillation: Distillation | None) -> Classification:
        """With the ``temperature`` and ``weight`` of the distillation."""
        settings: dict[str, Any] = {**(distillation or {})}
        for name in settings:
            known = ("temperature", "weight")
            require_known(name, known, f"'distillation' has no setting '{name}';")
        task = cls(section, **{name: float(value) for name, value in settings.items()})
        if not (task.temperature > 0 and 0 <= task.weight <= 1):
            raise ConfigError(
                f"Distillation with temperature {task.temperature:g} and weight {task.weight:g} is "
                "not possible; give a temperature above 0 and a weight from 0 to 1."
            )
        return task

    def train_data(self, path: PathLike, *, seed: int) -> ClassificationTrain:
        """Labelled images of a store or listing, cropped at random, flipped, normalised."""
        return ClassificationTrain(
            open_labelled(path),
            mean=self.key("mean"),
            std=self.key("std"),
            pad=0 if "crop" in self.section else self.key("pad"),
            flip=self.key("flip"),
            crop=self.section.get("crop"),
            seed=seed,
        )

    def test_data(self, path: PathLike, *, seed: int = 0) -> ClassificationTest:
        """Labelled images of a store or listing, normalised."""
        return ClassificationTest(
            open_labelled(path),
            mean=self.key("mean"),
            std=self.key("std"),
            crop=self.section.get("crop"),
            resize=self.key("resize") if "crop" in self.section else None,
        )

    def loss(self, output: Tensor, target: Tensor, teacher_output: Tensor | None = None) -> Tensor:
        """See :func:`classification_loss`: of logits (B, classes) and labels (B,), a scalar."""
        return classification_loss(
            output, target, teacher_output, temperature=self.temperature, weight=self.weight
        )

    def soft_loss(self, output: Tensor, other: Tensor) -> Tensor:
        """The divergence of predictions, (B, classes), from those of ``other``, at T = 1; a scalar.

        Its gradient is that of the cross-entropy with softened targets of Yu and Huang
        (arXiv:1903.05134).
        """
        return distillation_loss(output, other, temperature=1)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Errors in percent, summed over the batch, of logits (B, classes) and labels (B,)."""
        return {
            "top1_error": 100.0 * top_k_wrong(output, target, 1).sum(),
            "top5_error": 100.0 * top_k_wrong(output, target, 5).sum(),
        }

    def evaluate_batch(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, **how: Unpack[Measuring]
    ) -> Sums:
        """The :meth:`metrics` of images (B, 3, H, W) and labels (B,): there is one way."""
        outputs = self.infer(model, inputs)
        values = {name: float(value) for name, value in self.metrics(outputs, targets).items()}
        return {**values, "loss": float(self.loss(outputs, targets)) * len(inputs)}

    def random_batch(
        self, network: NetworkSection, images: int, shape: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Noise (B, C, H, W), of classes (B,) drawn by lot."""
        inputs = torch.rand(images, *shape[1:])
        # Of a user's own network the number is not known; the first class is always there.
        known = dataset_shape(network["dataset"]).classes if "dataset" in network else 1
        classes = network["options"].get("num_classes", known)
        return inputs, torch.randint(classes, (images,))

    def takes(self, data: Any = None) -> dict[str, Any]:
        """Colour images of one size on the scale 0-255, which are normalised."""
        normalised = {name: list(self.key(name)) for name in ("mean", "std")}
        size = {} if data is None else {"size": list(data.shape[:2])}
        return {"channels": 3, "range": [0, 255], **normalised, **size}

    def prepare(self, picture: NDArray[Any], size: Sequence[int] | None) -> Tensor:
        """The normalised picture (3, H, W): all of it, or the middle after a resize."""
        if picture.dtype != np.uint8:
            raise DataError(
                f"The picture is an array of {picture.dtype}, but pictures are classified as bytes,"
                " as they were learned; round it and convert it to uint8."
            )
        if "crop" in self.section:
            picture = CentreCrop(self.key("resize"), self.section["crop"])(picture)
        elif size is not None and picture.shape[:2] != tuple(size):
            raise DataError(
                f"The picture has {picture.shape[0]} x {picture.shape[1]} pixels, but the network "
                f"takes {size[0]} x {size[1]}; bring it to that size, or ask for it to be resized "
                "(--resize, resize=True)."
            )
        normalise = Normalisation(self.key("mean"), self.key("std"))
        return normalise(to_tensor(picture)[None])[0]

    def answer(self, output: Tensor, classes: Sequence[str] | None = None) -> list[Guess]:
        """All classes, the likeliest first, of logits of the shape ``(classes,)``."""
        probabilities = output.double().softmax(0)
        order = probabilities.argsort(descending=True, stable=True).tolist()
        names = [str(number) for number in range(len(order))] if classes is None else classes
        return [Guess(names[number], float(probabilities[number])) for number in order]

    def check_fits(self, model: nn.Module, data: Any, spec: Named | None) -> None:
        """Images must have the size and the classes that the network was built for."""
        if spec is None:
            return
        if spec.dataset is None:
            raise ConfigError(
                f"{spec.name} restores images, and the task is to classify them; give a network "
                "that was made for this task."
            )
        shape = dataset_shape(spec.dataset)
        wanted = (shape.size, shape.size, spec.options.get("num_classes", shape.classes))
        if data.shape != wanted:
            raise ConfigError(
                f"{spec.name} for {spec.dataset} takes images of {wanted[0]} x {wanted[1]} in "
                f"{wanted[2]} classes, but there are images of {data.shape[0]} x {data.shape[1]} "
                f"in {data.shape[2]} classes; set network.dataset, or num_classes in "
                "network.options, to fit the images."
            )

    def example(self, data: Any) -> Example:
        """A black image, of which come logits (1, classes)."""
        height, width, classes = data.shape
        advice = "give its function the number of classes, by an argument in network.options"
        return Example(torch.zeros(1, 3, height, width), (1, classes), advice, one_size=True)

    def check_tests(self, train: Any, test: Any) -> None:
        """Labels must mean the same classes."""
        if train.classes != test.classes:
            odd = sorted(set(train.classes) ^ set(test.classes))
            raise ConfigError(
                f"The training images have {len(train.classes)} classes and the test images "
                f"{len(test.classes)}, of which '{(odd or train.classes)[0]}' is not in both or "
                "not in the same place; give both the same classes."
            )
