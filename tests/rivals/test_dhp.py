"""DHP: the search makes latent vectors sparse, resumes exactly, and is left by a plain network.

As a script: a search on two processes.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from running import run_python
from searches import EXAMPLE, FLOPS, SAMPLES, Noise, gone_on, network, searching, weights
from trainings import BATCH

import lwdna
from lwdna.errors import BudgetError, ConfigError, TrainingError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.surgery import cut, silence
from lwdna.io.tensors import digest
from lwdna.rivals import dhp
from lwdna.rivals.dhp import Settings, search
from lwdna.rivals.dhp_record import read_latents, write_latents
from lwdna.shrinkage.hypernetwork import attach_hypernetwork, detach_hypernetwork
from lwdna.shrinkage.latents import draw_latents

STEPS = 4


def settings(**changes):
    return Settings(
        **{
            "target_flops": 0.5 * FLOPS,
            "lambda_": 0.2,
            "rho": 0.1,
            "tau": 0.3,
            "check_every": 1,
            "embedding": 2,
            **changes,
        }
    )


def during(epochs):
    """A search of so many epochs at most."""
    schedule = {"kind": "step", "milestones": [epochs], "gamma": 0.1}
    return searching(search, settings, epochs=epochs, schedule=schedule, test_every=epochs)


run = during(40)


@pytest.fixture(scope="module")
def found(one_thread, tmp_path_factory):
    return run(tmp_path_factory.mktemp("search"))


def test_latent_vectors_become_sparse_until_the_budget_is_met(found):
    steps, flops, elements = found.record.trajectory.T
    target = 0.5 * FLOPS
    assert (np.diff(steps) == 1).all()
    assert flops[0] > 1.5 * target and (flops[:-1] > 1.02 * target).all()
    assert flops[-1] <= 1.02 * target
    assert elements[-1] < elements[0]
    assert 0.98 * target <= found.shrunk.flops <= target
    last = found.record.latents[max(found.record.latents)]
    first = found.record.latents[0]
    below = [sum(int((abs(v) < 5e-3).sum()) for v in vectors) for vectors in (first, last)]
    assert below[0] < 3 < below[1]


def test_an_unregularised_search_finds_nothing_and_says_what_to_change(tmp_path):
    with pytest.raises(TrainingError, match=r"not sparse enough. Give lambda more than 0"):
        during(2)(tmp_path, lambda_=0.0)


def test_a_target_out_of_reach_costs_no_search(tmp_path):
    with pytest.raises(BudgetError, match=r"cannot be reached.*lower rho or tau"):
        run(tmp_path, target_flops=10.0)
    with pytest.raises(BudgetError, match=r"cannot be reached.*lower rho, tau or least"):
        run(tmp_path, target_flops=10.0, least=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["own", "ResNet8", "MobileNetV1", "DnCNN"])
def test_the_derived_network_computes_what_the_masked_hypernetwork_does(model, tmp_path):
    """At the moment of derivation, latents far from their start and biases far from zero."""
    wide, example = {
        "own": lambda: (network(), EXAMPLE),
        "ResNet8": lambda: (lwdna.build("ResNet8", dataset="digits"), torch.empty(1, 3, 32, 32)),
        "MobileNetV1": lambda: (
            lwdna.build("MobileNetV1", dataset="digits", width=0.25),
            torch.empty(1, 3, 32, 32),
        ),
        "DnCNN": lambda: (lwdna.build("DnCNN", blocks=1, channels=8), torch.empty(1, 1, 16, 16)),
    }[model]()
    graph = ChannelGraph(wide, example)
    latents = attach_hypernetwork(graph, wide, draw_latents(graph, 1), seed=1, embedding=2)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for vector in latents.vectors:
            vector[::3] = 1e-4  # below T, but not zero
    complexity = MaskedComplexity(graph)
    mask = np.ones(graph.elements, bool)
    for channels, vector in zip(graph.sets, latents.vectors, strict=True):
        small = vector.detach().abs().numpy() < 5e-3
        mask[channels.elements[small & ~channels.frozen]] = False
    assert not mask.all()
    x = torch.randn(2, *example.shape[1:], generator=generator)
    with torch.no_grad():
        generated = wide.eval()(x)
        detach_hypernetwork(graph, wide)
        expected = silence(graph, wide, mask)(x)
        derived = cut(graph, wide, mask)
        assert lwdna.complexity(derived, example)[0] == complexity.flops(mask)
        torch.testing.assert_close(derived(x), expected, rtol=1e-4, atol=1e-5)
        # And the weights that were detached are those that the hypernetwork generates.
        torch.testing.assert_close(wide(x), generated)


def test_the_network_found_is_plain_and_survives_save_and_load(found, tmp_path):
    assert not any("parametrizations" in name for name, _ in found.shrunk.model.named_parameters())
    found.shrunk.save(tmp_path / "n.safetensors")
    again = lwdna.load(tmp_path / "n.safetensors", network=network)
    assert digest(again.state_dict()) == digest(found.shrunk.model.state_dict())


@pytest.mark.parametrize("step", [1, STEPS, 2 * STEPS + 1])
def test_a_search_that_was_stopped_goes_on_to_the_same_bits(found, tmp_path, step):
    again = gone_on(run, tmp_path, step)
    assert weights(again) == weights(found)
    assert again.history == found.history
    assert (again.record.trajectory == found.record.trajectory).all()
    for epoch, vectors in found.record.latents.items():
        for ours, theirs in zip(again.record.latents[epoch], vectors, strict=True):
            assert (ours == theirs).all()


def test_a_signal_at_the_last_step_does_not_lose_the_end(found, tmp_path):
    last = int(found.record.trajectory[-1, 0])
    seen = []

    def signal_at_the_end(_epoch, index):
        seen.append(index)
        if len(seen) == (last - 1) * BATCH + 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        run(tmp_path, hook=signal_at_the_end)
    again = run(tmp_path)
    assert weights(again) == weights(found)
    assert (again.record.trajectory == found.record.trajectory).all()


class Stopping(list):
    """Images for tests; the first access raises a signal."""

    def __getitem__(self, index):
        signal.raise_signal(signal.SIGTERM)
        return super().__getitem__(index)


def test_a_signal_during_the_last_test_does_not_lose_the_end(found, tmp_path):
    data = Noise()
    images = [data[0, index] for index in range(4)]
    with pytest.raises(SystemExit):
        run(tmp_path, tests=Stopping(images))
    again = run(tmp_path, tests=images)
    assert weights(again) == weights(found)
    assert (again.record.trajectory == found.record.trajectory).all()
    assert len(again.history) == len(found.history)
    assert again.history[-1]["test_loss"] is not None


def test_a_complete_search_is_read_not_repeated(found, tmp_path):
    run(tmp_path)

    def fail(epoch, index):
        raise AssertionError("the data were read again")

    again = run(tmp_path, hook=fail)
    assert (again.record.trajectory == found.record.trajectory).all()
    assert weights(again) == weights(found)


def test_the_floor_of_each_latent_vector_stays(tmp_path):
    deep = run(tmp_path, least=5, rho=0.0, tau=0.5, target_flops=0.45 * FLOPS, lambda_=0.5)
    assert min(len(kept) for kept in deep.shrunk.kept.values() if len(kept) != 4) >= 5
    assert len(deep.shrunk.kept["last"]) >= 12


def test_a_search_that_is_over_at_once_says_so(tmp_path, caplog):
    run(tmp_path, threshold=100.0)
    assert "was over at its first count of the FLOPs, after 1 step" in caplog.text


def test_proximal_steps_are_soft_thresholding():
    model = network()
    graph = ChannelGraph(model, EXAMPLE)
    z = draw_latents(graph, 0)
    latents = attach_hypernetwork(graph, model, z, seed=0, embedding=2)
    steps = dhp._ProximalSteps(
        graph, model, MaskedComplexity(graph), latents, settings(lambda_=2.0, least=1)
    )
    before = [vector.detach().clone() for vector in latents.vectors]
    steps.after_step(0, 1, 0.05, last=False)
    for channels, old, new in zip(graph.sets, before, latents.vectors, strict=True):
        expected = torch.sign(old) * (old.abs() - 0.1).clamp(min=0)
        if channels.frozen.all():
            expected = old
        torch.testing.assert_close(new.detach(), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"lambda_": -1.0},
        {"threshold": float("nan")},
        {"threshold": 0.0},
        {"target_flops": float("inf")},
        {"rho": 2.0},
        {"stop_limit": 1.5},
        {"check_every": 0},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ConfigError, match="give"):
        settings(**changes)


def test_the_record_is_read_as_it_was_written(found, tmp_path):
    path = tmp_path / "latents.h5"
    write_latents(found.record, path)
    again = read_latents(path)
    assert again.layers == found.record.layers
    assert again.layer_set == found.record.layer_set
    assert (again.trajectory == found.record.trajectory).all()
    assert sorted(again.latents) == sorted(found.record.latents)
    depthwise = again.layers.index("depthwise") + 1
    stem = again.layers.index("stem.0") + 1
    # One latent vector controls both, and it is the one that was recorded.
    for epoch, vector in again.of_layer(depthwise).items():
        assert (vector == again.of_layer(stem)[epoch]).all() and len(vector) == 16
    write_latents(again, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_two_processes_search_like_one(tmp_path):
    """Without batch norm."""
    run_python(__file__, tmp_path)
    seen = [json.loads((tmp_path / f"seen{rank}.json").read_text()) for rank in (0, 1)]
    assert len(seen[0]) == len(seen[1])
    assert sorted(index for part in seen for epoch, index in part if epoch == 0) == [
        *range(SAMPLES)
    ]
    one, two = run(tmp_path / "one", model=network(norm=False)), read_latents(tmp_path / "two.h5")
    assert (tmp_path / "kept").read_text() == repr(one.shrunk.kept)
    assert (two.trajectory == one.record.trajectory).all() and len(two.trajectory) > 2
    assert sorted(two.latents) == sorted(one.record.latents)
    for epoch, vectors in one.record.latents.items():
        for ours, theirs in zip(two.latents[epoch], vectors, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def child(folder):
    """A search on two processes."""
    torch.set_num_threads(1)
    seen = []
    try:
        outcome = run(
            folder / "two",
            model=network(norm=False),
            hook=lambda epoch, index: seen.append((epoch, index)),
            devices=2,
        )
    finally:  # the second process ends in there
        rank = os.environ.get("LOCAL_RANK", "0")
        (folder / f"seen{rank}.json").write_text(json.dumps(seen))
    write_latents(outcome.record, folder / "two.h5")
    (folder / "kept").write_text(repr(outcome.shrunk.kept))


if __name__ == "__main__":
    child(Path(sys.argv[1]))
