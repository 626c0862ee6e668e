"""Steps of several passes: their gradients add up, and trainings of them are resumed exactly."""

import pytest
import torch
from stopping import StopError, stop_at
from test_loop import Noisy, network, protocol, run
from torch import nn
from torch.nn import functional

from lwdna.errors import ConfigError
from lwdna.io.tensors import digest
from lwdna.tasks.task import task_for
from lwdna.training.devices import make_fabric
from lwdna.training.passes import ORDINARY, Pass
from lwdna.training.protocol import Protocol
from lwdna.training.step import Learner


def plain(seed=0):
    """Without dropout and batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
        )


def learner(model, **changes):
    settings = Protocol.read(protocol(optimizer={"kind": "sgd", "lr": 0.1}, **changes))
    return Learner(make_fabric("cpu", 1, "32-true"), settings, task_for("classification"), model)


def batch(images=8):
    data = Noisy()
    pairs = [data[0, index] for index in range(images)]
    return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])


def gradients(model, passes, **changes):
    """What a step of some passes would change, and its outcome."""
    x, y = batch()
    made = learner(model, **changes).step(x, y, len(x), passes)
    return [parameter.grad.clone() for parameter in model.parameters()], made


def test_one_pass_is_an_ordinary_step(tmp_path):
    once = run(tmp_path / "once", passes=lambda step: [Pass()])
    assert once == run(tmp_path / "plain")


def test_gradients_are_added_as_they_are_and_do_not_see_each_other(measured):
    """Of the full network, of one half its weights, and of both in a step."""

    def half(model):
        return lambda x: model(0.5 * x)

    one, other, both = plain(), plain(), plain()
    first, outcome = gradients(one, ORDINARY)
    second, _ = gradients(other, [Pass(half(other))])
    sums, twice = gradients(both, [Pass(), Pass(half(both))])
    worst = max(float((a + b - c).abs().max()) for a, b, c in zip(first, second, sums, strict=True))
    measured(worst)
    assert worst == 0.0
    # What is said of a step is said of its first pass.
    assert [part.loss.item() for part in twice] == [part.loss.item() for part in outcome]


def test_a_soft_pass_of_the_same_output_has_no_gradient(measured):
    model, same = plain(), plain()
    alone, _ = gradients(model, ORDINARY)
    beside, _ = gradients(same, [Pass(), Pass(same, soft=True)])
    worst = max(float((a - b).abs().max()) for a, b in zip(alone, beside, strict=True))
    measured(worst)
    assert worst < 1e-7 < min(float(gradient.abs().max()) for gradient in alone)


def test_soft_losses_have_the_gradient_of_a_cross_entropy(measured):
    generator = torch.Generator().manual_seed(2)
    ours, other = (torch.randn(5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    ours.requires_grad_()
    (divergence,) = torch.autograd.grad(task_for("classification").soft_loss(ours, other), ours)
    entropy = functional.cross_entropy(ours, other.softmax(1))
    (expected,) = torch.autograd.grad(entropy, ours)
    measured(float((divergence - expected).abs().max()))
    torch.testing.assert_close(divergence, expected, rtol=1e-12, atol=1e-12)


def test_micro_batches_make_every_pass(measured):
    def passes(model):
        return [Pass(), Pass(lambda x: model(x.flip(-1)), soft=True)]

    whole, parted = plain(), plain()
    alone, _ = gradients(whole, passes(whole))
    split, outcomes = gradients(parted, passes(parted), accumulate=4)
    worst = max(float((a - b).abs().max()) for a, b in zip(alone, split, strict=True))
    measured(worst)
    assert len(outcomes) == 4 and worst < 1e-6


@pytest.mark.parametrize("at", [3, 6])
def test_a_training_of_passes_that_was_stopped_goes_on_to_the_same_bits(tmp_path, at):
    """Whatever differs from step to step is a function of its number."""

    def training(folder, hook=None):
        model = network()
        asked = []

        def passes(step):
            asked.append(step)
            generator = torch.Generator().manual_seed(step)
            scale = float(torch.rand(1, generator=generator))
            return [Pass(), Pass(lambda x: model(scale * x), soft=True)]

        settings = protocol(checkpoint_minutes=0)
        return run(folder, model=model, passes=passes, hook=hook, protocol=settings), asked

    expected, every = training(tmp_path / "whole")
    assert every == [*range(len(every))]
    assert expected != run(tmp_path / "plain")
    with pytest.raises(StopError):
        training(tmp_path / "stopped", stop_at(at * 8 + 1))
    again, rest = training(tmp_path / "stopped")
    assert again == expected and rest == every[-len(rest) :] and len(rest) < len(every)


def test_parts_of_a_network_are_not_compiled(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be compiled.*set 'compile'.* to false"):
        run(tmp_path, passes=lambda step: [Pass()], protocol=protocol(compile=True))
    assert not list(tmp_path.iterdir())


def test_a_task_without_distillation_has_no_soft_loss():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ConfigError, match=r"no distillation for the task 'denoising'; let every"):
        task_for("denoising").soft_loss(x, x)


def test_the_weights_of_a_network_run_otherwise_are_trained(tmp_path):
    """A pass need not run the network as a whole at all."""
    model = plain()
    before = digest(model.state_dict())
    run(tmp_path, model=model, passes=lambda step: [Pass(lambda x: model(-x))])
    assert digest(model.state_dict()) != before
