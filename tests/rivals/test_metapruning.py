"""MetaPruning: the network found meets the budget, is drawn anew, and a search resumes exactly.

As a script: a search on two processes.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from running import run_python
from searches import EXAMPLE, FLOPS, Noise, gone_on, network, searching, stopped_by_signal, weights
from stopping import StopError, stop_at
from trainings import EPOCHS

import lwdna
from lwdna.errors import BudgetError, ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.rivals import metapruning
from lwdna.rivals.held_out import hold_out
from lwdna.rivals.metapruning import MetaPruning, Settings, filled, search
from lwdna.rivals.widths import Grid, Widths

STEPS = 3
"""24 of 32 images are trained on."""


def settings(**changes):
    return Settings(
        **{
            "target_flops": 0.5 * FLOPS,
            "window": 0.2,
            "held_out": 0.25,
            "calibration": 16,
            "population": 6,
            "iterations": 3,
            "parents": 3,
            "mutants": 2,
            "crossovers": 2,
            **changes,
        }
    )


run = searching(search, settings)


@pytest.fixture(scope="module")
def found(one_thread, tmp_path_factory):
    return run(tmp_path_factory.mktemp("search"))


def test_the_network_found_meets_the_budget_and_nothing_more_fits(found):
    flops, params = lwdna.complexity(found.shrunk.model, EXAMPLE)
    assert (flops, params) == (found.shrunk.flops, found.shrunk.params)
    assert 0.4 * FLOPS <= flops <= 0.5 * FLOPS
    best = found.record.best
    assert best.flops <= flops
    assert len(found.history) == EPOCHS and len(found.record.candidates) > 6
    for candidate in found.record.candidates:
        assert 0.4 * FLOPS <= candidate.flops <= 0.5 * FLOPS
        assert 0 <= candidate.error <= 100 and np.isfinite(candidate.loss)


def test_what_was_found_is_filled_up(found):
    graph = ChannelGraph(network(), EXAMPLE)
    counted = MaskedComplexity(graph)
    grid = Grid.of(Widths(graph), groups=33, lowest=0.1)
    target = 0.5 * FLOPS
    for candidate in found.record.candidates:
        before = grid.widths.mask(np.array(candidate.counts))
        mask = filled(graph, counted, grid, candidate, target)
        assert mask[before].all() and counted.flops(mask) <= target
        for element in np.flatnonzero(~mask):
            more = mask.copy()
            more[element] = True
            assert counted.flops(more) > target
        for channels in graph.sets:  # the first ones
            kept = mask[channels.elements]
            assert kept[: kept.sum()].all() or channels.frozen.any()


def test_weights_are_fresh(found, tmp_path):
    """They are drawn from the seed: what was learnt leaves no trace but the numbers of channels."""
    model = network()
    with torch.no_grad():
        model.last.weight.zero_()
    again = run(tmp_path, model=model)
    ours, theirs = found.shrunk.model.last.weight, again.shrunk.model.last.weight
    assert found.shrunk.kept == again.shrunk.kept
    assert torch.equal(ours, theirs) and ours.any()


@pytest.mark.parametrize("step", [1, STEPS, EPOCHS * STEPS])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(found, tmp_path, step):
    again = gone_on(run, tmp_path, step)
    assert weights(again) == weights(found)
    assert again.history == found.history and again.record == found.record


@pytest.mark.parametrize("at", [1, 4, 9])
def test_an_evolution_that_was_stopped_goes_on_to_the_same_candidates(
    found, tmp_path, monkeypatch, at
):
    with monkeypatch.context() as patched, pytest.raises(StopError):
        patched.setattr(metapruning, "measures", stop_at(at, metapruning.measures))
        run(tmp_path)
    again = run(tmp_path)
    assert again.record == found.record
    assert weights(again) == weights(found)


def test_a_signal_during_the_evolution_does_not_lose_it(found, tmp_path, caplog, monkeypatch):
    again = stopped_by_signal(run, tmp_path, monkeypatch, caplog, asked=5)
    assert "stopped by a signal after 4 candidates" in caplog.text
    assert again.record == found.record and weights(again) == weights(found)


def test_another_budget_goes_on_with_what_was_learnt_and_reads_images_once(tmp_path):
    run(tmp_path)
    read = []
    smaller = run(tmp_path, hook=lambda *key: read.append(key), target_flops=0.4 * FLOPS)
    assert smaller.shrunk.flops <= 0.4 * FLOPS
    held = hold_out(Noise(), 0.25, 3)[1].indices
    assert sorted(index for _, index in read if index in held) == held
    assert len(read) == len(set(read)) == len(held) + 16  # each image once, for all candidates
    read.clear()
    again = run(tmp_path, hook=lambda *key: read.append(key), target_flops=0.4 * FLOPS)
    assert not read and again.record == smaller.record


def test_candidates_are_measured_alike_in_batches_of_any_size(tmp_path, measured):
    """Their batch norm is that of training images, whatever else is in a batch."""
    found = {}
    for size in (3, 8):
        learnt, held = hold_out(Noise(), 0.25, 3)
        graph = ChannelGraph(model := network(), EXAMPLE)
        measure = metapruning._Measuring(
            metapruning.task_for("classification"),
            metapruning.PruningNet(graph, model, seed=3),
            held,
            learnt,
            images=8,
            size=size,
            calibration=16,
            seed=3,
        )
        assert [images for images, _ in measure.held_out] == ([3, 3, 2] if size == 3 else [8])
        measure.learnt_from = [torch.stack([learnt[0, n][0] for n in range(16)])]
        found[size] = measure(graph.full_mask())
    worst = max(abs(a - b) for a, b in zip(*found.values(), strict=True))
    measured(worst)
    assert worst < 1e-4


def test_what_cannot_be_met_costs_no_search(tmp_path):
    with pytest.raises(BudgetError, match=r"with this least_share, size of groups and width a net"):
        run(tmp_path, target_flops=10.0)
    with pytest.raises(BudgetError, match=r"In 60 draws no network was found within the window"):
        run(tmp_path, window=1e-7, target_flops=0.5 * FLOPS + 0.5)
    with pytest.raises(ConfigError, match=r"A share of 0.01 of 32 training images is 0"):
        run(tmp_path, held_out=0.01)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window": 1.0}, "window is 1.0; give a share between 0 and 1"),
        ({"calibration": 0}, "calibration is 0; give 1 or more"),
        ({"parents": 0}, "parents is 0; give 1 or more"),
        ({"target_flops": float("inf")}, "give a finite number above 0"),
    ],
)
def test_settings_out_of_range_are_said(wrong, said):
    with pytest.raises(ConfigError, match=said):
        settings(**wrong)


def test_a_plan_counts_what_is_trained_and_looked_at():
    one = MetaPruning.effort(network(), EXAMPLE, settings(), images=32, epochs=EPOCHS)
    assert 0.1 * FLOPS < one.trained / (24 * EPOCHS) < FLOPS
    assert one.run == 6 * 3 * (16 + 8) * 0.5 * FLOPS
    twice = MetaPruning.effort(network(), EXAMPLE, settings(), images=32, epochs=2 * EPOCHS)
    assert twice.trained == 2 * one.trained and twice.numbers == one.numbers > 32 * 16 * 16


def test_two_processes_search_like_one(tmp_path):
    """Without batch norm."""
    run_python(__file__, tmp_path)
    one = run(tmp_path / "one", model=network(norm=False))
    assert (tmp_path / "kept").read_text() == repr(one.shrunk.kept)
    candidates = [(c.iteration, c.counts, c.error) for c in one.record.candidates]
    assert (tmp_path / "candidates").read_text() == repr(candidates)
    weights = torch.load(tmp_path / "weights", weights_only=True)
    for name, value in one.shrunk.model.state_dict().items():
        assert torch.equal(weights[name], value), name


def child(folder):
    """A search on two processes; the second ends in there."""
    torch.set_num_threads(1)
    outcome = run(folder / "two", model=network(norm=False), devices=2)
    assert os.environ.get("LOCAL_RANK", "0") == "0"
    (folder / "kept").write_text(repr(outcome.shrunk.kept))
    candidates = [(c.iteration, c.counts, c.error) for c in outcome.record.candidates]
    (folder / "candidates").write_text(repr(candidates))
    torch.save(outcome.shrunk.model.state_dict(), folder / "weights")


if __name__ == "__main__":
    child(Path(sys.argv[1]))
