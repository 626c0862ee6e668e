import pytest
import torch

from lwdna.errors import ConfigError
from lwdna.training.schedules import learning_rate

STEP_PROTOCOLS = {
    "CIFAR": (0.1, 300, [150, 225]),
    "Tiny-ImageNet": (0.1, 220, [200, 205, 210, 215]),
    "super-resolution": (1e-4, 300, [200]),
    "denoising": (1e-4, 60, [40]),
}


def rates_of_torch(make, base, epochs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = make(optimizer)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", STEP_PROTOCOLS)
def test_step_schedule_is_that_of_torch(name):
    base, epochs, milestones = STEP_PROTOCOLS[name]
    schedule = {"kind": "step", "milestones": milestones, "gamma": 0.1}
    ours = [learning_rate(schedule, base, epoch, epochs) for epoch in range(epochs)]
    theirs = rates_of_torch(
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones, gamma=0.1), base, epochs
    )
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_cosine_schedule_is_that_of_torch():
    ours = [learning_rate({"kind": "cosine"}, 0.05, epoch, 150) for epoch in range(150)]
    theirs = rates_of_torch(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=150), 0.05, 150
    )
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert learning_rate({"kind": "cosine"}, 0.05, 150, 150) == pytest.approx(0.0, abs=1e-17)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"kind": "cosin"}, "did you mean 'cosine'"),
        ({"kind": "step", "milestone": [1]}, "did you mean 'milestones'"),
        ({"kind": "step"}, "needs 'milestones'"),
        ({}, "None does not exist"),
    ],
)
def test_impossible_schedules_are_refused(schedule, message):
    with pytest.raises(ConfigError, match=message):
        learning_rate(schedule, 0.1, 0, 10)
