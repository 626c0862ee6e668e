import math

import pytest
import torch
from torch.nn import functional

from lwdna.errors import ConfigError
from lwdna.tasks.classification import classification_loss, distillation_loss
from lwdna.tasks.task import task_for


def test_distillation_loss_equals_the_formula_term_by_term():
    temperature = 4.0
    student = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]
    teacher = [[2.0, 0.0, -1.0], [0.5, 0.5, 4.0]]

    def softened(row):
        exponentials = [math.exp(value / temperature) for value in row]
        return [value / sum(exponentials) for value in exponentials]

    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        for p, q in zip(softened(theirs), softened(ours), strict=True):
            total += p * math.log(p / q)
    expected = temperature**2 * total / len(student)

    value = distillation_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_distillation_of_equal_predictions_costs_nothing():
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    assert float(distillation_loss(logits, logits + 3.0, 4.0)) == pytest.approx(0.0, abs=1e-5)


def test_classification_loss_mixes_04_and_06():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, generator=generator)
    labels = torch.tensor([0, 2, 1, 1, 0])
    entropy = functional.cross_entropy(student, labels)
    assert torch.equal(classification_loss(student, labels), entropy)
    expected = 0.4 * distillation_loss(student, teacher, 4.0) + 0.6 * entropy
    assert torch.allclose(classification_loss(student, labels, teacher), expected)


def test_metrics_of_a_task_are_sums_over_the_batch():
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    values = task_for("classification").metrics(logits, torch.tensor([0, 1]))
    assert {name: float(value) for name, value in values.items()} == {
        "top1_error": 100.0,
        "top5_error": 0.0,
    }
    images = torch.zeros(2, 1, 4, 4)
    values = task_for("denoising").metrics(
        images + torch.tensor([1.0, 10.0])[:, None, None, None], images
    )
    assert float(values["psnr"]) == pytest.approx(48.1308 + 28.1308, abs=1e-3)


def test_restoration_loss_is_the_mean_absolute_difference():
    target = torch.zeros(1, 3, 2, 2)
    output = target.clone()
    output[0, 0] = 6.0
    assert float(task_for("super-resolution").loss(output, target)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("kind", "distillation", "message"),
    [
        ("classificaton", None, "did you mean 'classification'"),
        ("classification", {"temprature": 4}, "did you mean 'temperature'"),
        ("classification", {"weight": 2}, "weight from 0 to 1"),
    ],
)
def test_impossible_tasks_are_refused(kind, distillation, message):
    with pytest.raises(ConfigError, match=message):
        task_for(kind, distillation)
