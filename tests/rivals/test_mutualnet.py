"""MutualNet: narrower networks at other sizes of the image learn from the full one in each step."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from searches import EXAMPLE, Noise, network
from searches import trained as trained_at
from stopping import StopError, stop_at
from torch import nn
from trainings import BATCH

from lwdna.errors import ConfigError
from lwdna.rivals.mutualnet import MutualNet, Settings, passes_of, resized
from lwdna.steps._training import steps_for
from lwdna.tasks.task import task_for
from lwdna.training.passes import Pass, ordinary

trained = partial(trained_at, lr=0.02)


def settings(**changes):
    return Settings(**{"sizes": [8, 6, 4], "least_width": 0.5, "divisor": 1, **changes})


def mutual(model, seed=3, task="classification", **changes):
    return passes_of(model, EXAMPLE, settings(**changes), task=task_for(task), seed=seed)


def test_widths_and_sizes_are_a_function_of_seed_and_step():
    ours, again, other = (mutual(network(), seed=seed) for seed in (3, 3, 4))
    drawn = [ours.drawn(step) for step in range(60)]
    assert drawn == [again.drawn(step) for step in range(60)]
    assert drawn != [other.drawn(step) for step in range(60)]
    for step in drawn:
        widths = [width for width, _ in step]
        assert len(step) == 3 and widths == sorted(widths, reverse=True)
        assert widths[-1] == 0.5 and all(0.5 <= width <= 1 for width in widths)
    # Each at a size of its own, the narrowest too.
    for place in range(3):
        assert {step[place][1] for step in drawn} == {8, 6, 4}
    first, *rest = ours(0)
    assert first == Pass() and len(rest) == 3 and all(one.soft for one in rest)


def test_a_pass_is_a_narrower_network_at_another_size():
    model = network().eval()
    passes = mutual(model, sizes=[4])
    x = torch.randn(2, 3, 8, 8)
    mask = passes.widths.mask(passes.widths.uniform(0.5))
    expected = passes.sliced(mask, resized(x, 4))
    assert torch.equal(passes(0)[-1].run(x), expected)
    assert not torch.allclose(expected, passes.sliced(mask, x))


def test_corners_stay_where_they_are():
    x = torch.randn(2, 3, 8, 12)
    small = resized(x, 6)
    assert small.shape == (2, 3, 6, 9)
    assert torch.equal(
        small[..., [0, 0, -1, -1], [0, -1, 0, -1]], x[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    )
    assert resized(x, 8) is x


def test_full_networks_at_the_full_size_teach_nothing_new(tmp_path, measured):
    plain, model = network(norm=False), network(norm=False)
    trained(tmp_path / "plain", plain)
    trained(tmp_path / "mutual", model, mutual(model, sizes=[8], least_width=1))
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    worst = max(float((a - b).detach().abs().max()) for a, b in pairs)
    measured(worst)
    assert worst < 1e-5


def test_one_pass_is_the_baseline(tmp_path):
    model = network()
    assert trained(tmp_path / "mutual", model, mutual(model, passes=1)) == trained(
        tmp_path / "plain", network()
    )


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    model = network()
    expected = trained(tmp_path / "whole", model, mutual(model))
    assert expected != trained(tmp_path / "plain", network())
    stop = stop_at(6 * BATCH + 1)
    model = network()
    with pytest.raises(StopError):
        trained(tmp_path / "stopped", model, mutual(model), hook=stop, checkpoint_minutes=1e-9)
    model = network()
    assert trained(tmp_path / "stopped", model, mutual(model)) == expected


def test_a_network_of_one_size_is_refused():
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 4))
    with pytest.raises(ConfigError, match=r"does not take images of 6 x 6 .*fixes the size"):
        mutual(fixed)
    mutual(fixed, sizes=[8])


def test_a_task_without_distillation_is_refused():
    with pytest.raises(ConfigError, match=r"cannot be trained for the task 'denoising'"):
        mutual(network(), task="denoising")


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": []},
        {"sizes": [0]},
        {"sizes": 8},
        {"sizes": "8"},
        {"sizes": [7.5]},
        {"least_width": 0},
        {"least_width": 1.1},
        {"passes": 0},
        {"passes": "4"},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ConfigError, match="give"):
        settings(**changes)


def test_a_step_costs_what_its_passes_do():
    """For ResNet50 the authors' steps are 2.7 ordinary ones."""
    authors = Settings(sizes=[224, 192, 160, 128])
    assert MutualNet.cost(authors, 224) == pytest.approx(2.7, abs=0.05)
    assert MutualNet.cost(Settings(sizes=[8], passes=1), 8) == 1
    passes = mutual(network())
    drawn = [passes.drawn(step) for step in range(3000)]
    mean = np.mean([sum(w**2 * (s / 8) ** 2 for w, s in step) for step in drawn])
    assert MutualNet.cost(settings(), 8) == pytest.approx(1 + mean, rel=0.02)


# As the command line says it.


def arguments():
    return {"train_data": Noise(), "task": {"kind": "classification"}, "seed": 3, "key": {"a": 1}}


def test_steps_are_read_and_noted():
    given = arguments()
    assert steps_for(None, network(), given) is ordinary and given["key"] == {"a": 1}
    steps = {"kind": "mutualnet", "sizes": [8, 4], "passes": 3}
    passes = steps_for(steps, network(), given)
    assert len(passes(0)) == 3
    assert json.loads(json.dumps(given["key"])) == {"a": 1, "steps": steps}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            {"kind": "mutual", "sizes": [8]},
            "no steps of the kind 'mutual'; did you mean 'mutualnet'",
        ),
        ({"kind": "mutualnet", "size": [8]}, "no setting 'size'; did you mean 'sizes'"),
        ({"kind": "mutualnet"}, "lack 'sizes'; add it"),
        ({}, "no steps of the kind None"),
    ],
)
def test_wrong_steps_are_refused(steps, said):
    with pytest.raises(ConfigError, match=said):
        steps_for(steps, network(), arguments())
