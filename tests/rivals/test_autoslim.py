"""AutoSlim: the sandwich rule trains all widths, and the network found meets the budget.

As a script: a search on two processes.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from running import run_python
from searches import (
    EXAMPLE,
    FLOPS,
    SAMPLES,
    Noise,
    gone_on,
    network,
    searching,
    stopped_by_signal,
    trained,
    weights,
)
from trainings import EPOCHS

import lwdna
from lwdna.errors import BudgetError, ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.slicing import SlicedNetwork
from lwdna.graph.surgery import cut
from lwdna.io.tensors import digest
from lwdna.rivals.autoslim import AutoSlim, Settings, search, shared
from lwdna.rivals.held_out import hold_out
from lwdna.rivals.sandwich import Sandwich
from lwdna.rivals.widths import Grid, Widths
from lwdna.training.passes import Pass

STEPS = 3
"""24 of 32 images are trained on."""


def settings(**changes):
    return Settings(
        **{"target_flops": 0.5 * FLOPS, "held_out": 0.25, "channel_groups": 8, **changes}
    )


run = searching(search, settings)


def sandwich(model, passes, *, soft=True, seed=3, lowest=0.1):
    graph = ChannelGraph(model, EXAMPLE)
    grid = Grid.of(Widths(graph), groups=8, lowest=lowest)
    sliced = SlicedNetwork(graph, model)
    return Sandwich(sliced, grid, passes=passes, seed=seed, soft=soft)


@pytest.fixture(scope="module")
def found(one_thread, tmp_path_factory):
    return run(tmp_path_factory.mktemp("search"))


# The sandwich rule.


def test_a_sandwich_without_filling_is_ordinary_training(tmp_path):
    model = network()
    assert trained(tmp_path / "one", model, sandwich(model, 1)) == trained(
        tmp_path / "plain", network()
    )


def masks(passes):
    return [one.run.args[0] for one in passes if one.run is not None]


def test_widths_are_a_function_of_seed_and_step():
    ours, again, other = (sandwich(network(), 4, seed=seed) for seed in (3, 3, 4))
    for step in (0, 1, 17):
        first, *rest = ours(step)
        assert first == Pass() and len(rest) == 3 and all(one.soft for one in rest)
        assert np.array_equal(masks(ours(step)), masks(again(step)))
        smallest = ours.grid.widths.mask(ours.grid.least)
        assert (masks(ours(step))[0] == smallest).all()
    drawn = [masks(ours(step))[1].tobytes() for step in range(20)]
    assert len(set(drawn)) > 10
    assert drawn != [masks(other(step))[1].tobytes() for step in range(20)]
    assert not any(one.soft for one in sandwich(network(), 4, soft=False)(0))


def test_statistics_are_those_of_the_full_passes_alone(tmp_path, measured):
    """With one step, what the full network saw is what an ordinary training saw."""
    plain, model = network(), network()
    trained(tmp_path / "plain", plain, epochs=1, batch_size=SAMPLES)
    trained(tmp_path / "all", model, sandwich(model, 4), epochs=1, batch_size=SAMPLES)
    worst = 0.0
    for (name, ours), theirs in zip(model.named_buffers(), plain.buffers(), strict=True):
        worst = max(worst, float((ours - theirs).abs().max()))
        assert torch.equal(ours, theirs), name
    measured(worst)
    weights = zip(model.parameters(), plain.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in weights)


def test_full_width_sub_networks_teach_nothing_new(tmp_path, measured):
    """At a least share of 1 every pass is the full one, and its soft loss has no gradient."""
    plain, model = network(norm=False), network(norm=False)
    trained(tmp_path / "plain", plain)
    trained(tmp_path / "all", model, sandwich(model, 3, lowest=1.0))
    weights = zip(model.parameters(), plain.parameters(), strict=True)
    worst = max(float((a - b).detach().abs().max()) for a, b in weights)
    measured(worst)
    assert worst < 1e-5


# The search.


def test_the_network_found_meets_the_budget(found):
    assert 0.9 * 0.5 * FLOPS <= found.shrunk.flops <= 0.5 * FLOPS
    assert lwdna.complexity(found.shrunk.model, EXAMPLE)[0] == found.shrunk.flops
    assert len(found.history) == EPOCHS
    flops = [removal.flops for removal in found.record.removals]
    assert flops[0] == FLOPS and flops[-1] <= 0.5 * FLOPS < flops[-2]
    # Of each layer the first channels.
    assert all(kept == [*range(len(kept))] for kept in found.shrunk.kept.values())


def test_it_starts_afresh_or_from_shared_weights(found, tmp_path):
    """Fresh weights are those of an LW-DNA network of this shape; others come from the search."""
    graph = ChannelGraph(network(), EXAMPLE)
    mask = np.zeros(graph.elements, bool)
    for name, kept in found.shrunk.kept.items():
        mask[graph.layers[name].outputs[kept]] = True
    mask |= graph.frozen
    assert MaskedComplexity(graph).flops(mask) == found.shrunk.flops
    shaped = cut(graph, network(), mask)
    for ours, theirs in zip(found.shrunk.model.buffers(), shaped.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    inherited = run(tmp_path, start="inherited")
    assert inherited.shrunk.kept == found.shrunk.kept
    norm, fresh = inherited.shrunk.model.norm, found.shrunk.model.norm
    assert (fresh.running_mean == 0).all() and (norm.running_mean != 0).all()
    assert norm.num_batches_tracked == 5
    differ = zip(inherited.shrunk.model.parameters(), shaped.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in differ)


def test_another_budget_goes_on_with_the_shared_weights(found, tmp_path):
    run(tmp_path)

    def fail(epoch, index):
        assert epoch == 0 and seen is not None
        seen.append(index)

    seen = []
    smaller = run(tmp_path, hook=fail, target_flops=0.4 * FLOPS)
    assert sorted(seen) == hold_out(Noise(), 0.25, 3)[1].indices  # nothing was trained on again
    removals = found.record.removals
    assert smaller.record.removals[: len(removals)] == removals
    larger = run(tmp_path, hook=fail, target_flops=0.5 * FLOPS)
    assert larger.shrunk.kept == found.shrunk.kept
    assert larger.record.removals == removals


def test_the_network_of_all_widths_is_that_of_the_search(tmp_path):
    """Trained anew where there is no search, and at hand, without an image read, where there is."""
    ours = searching(shared, settings)
    made = ours(tmp_path / "none")
    run(tmp_path / "search")
    read = []
    again = ours(tmp_path / "search", hook=lambda *key: read.append(key))
    assert digest(again.state_dict()) == digest(made.state_dict()) and not read
    assert digest(network().state_dict()) != digest(made.state_dict())


def test_another_way_to_count_begins_the_removals_anew(tmp_path):
    run(tmp_path / "both")
    again = run(tmp_path / "both", batch_norm=False)
    assert again.record.removals == run(tmp_path / "one", batch_norm=False).record.removals


@pytest.mark.parametrize("step", [1, STEPS, 2 * STEPS + 1, EPOCHS * STEPS])
def test_a_search_that_was_stopped_goes_on_to_the_same_bits(found, tmp_path, step):
    again = gone_on(run, tmp_path, step)
    assert weights(again) == weights(found)
    assert again.history == found.history
    assert again.record.removals == found.record.removals


def test_a_signal_during_slimming_does_not_lose_it(found, tmp_path, caplog, monkeypatch):
    again = stopped_by_signal(run, tmp_path, monkeypatch, caplog, asked=10)
    assert again.record.removals == found.record.removals
    assert weights(again) == weights(found)


def test_a_target_out_of_reach_costs_no_search(tmp_path):
    with pytest.raises(
        BudgetError,
        match=r"with this least_share, size of groups and width a network has between [\d,]",
    ):
        run(tmp_path, target_flops=10.0)
    with pytest.raises(BudgetError, match=r"Give a target in that interval, or widen the network"):
        run(tmp_path, target_flops=2.0 * FLOPS)
    with pytest.raises(ConfigError, match=r"A share of 0.01 of 32 training images is 0"):
        run(tmp_path, held_out=0.01)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": 1},
        {"least_share": 0.0},
        {"least_share": 1.0},
        {"held_out": 1.5},
        {"channel_groups": 0},
        {"target_flops": float("nan")},
        {"start": "generated"},
        {"passes": 2.5},
        {"least_share": "0.1"},
        {"images": None},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ConfigError, match="give"):
        settings(**changes)


def test_images_are_held_out_by_lot_and_none_is_on_both_sides():
    learnt, held = hold_out(Noise(), 0.25, 3)
    assert len(held) == SAMPLES // 4
    assert sorted([*learnt.indices, *held.indices]) == [*range(SAMPLES)]
    assert hold_out(Noise(), 0.25, 4)[1].indices != held.indices
    assert torch.equal(held[2, 1][0], Noise()[2, held.indices[1]][0])


def test_a_plan_counts_what_a_search_computes():
    ours = sandwich(network(), 4)
    counted = MaskedComplexity(ours.sliced.graph)
    step = FLOPS + np.mean([sum(map(counted.flops, masks(ours(n)))) for n in range(300)])
    effort = AutoSlim.effort(network(), EXAMPLE, settings(), images=SAMPLES, epochs=EPOCHS)
    assert effort.trained == pytest.approx(step * EPOCHS * SAMPLES * 0.75, rel=0.05)
    # Each removal looks at a network of each of two sets that may lose channels, on eight images.
    assert 8 * 2 * 0.5 * FLOPS < effort.run < 8 * 2 * 20 * FLOPS
    assert effort.numbers == lwdna.complexity(network(), EXAMPLE)[1]


def test_two_processes_search_like_one(tmp_path):
    """Without batch norm."""
    run_python(__file__, tmp_path)
    one = run(tmp_path / "one", model=network(norm=False), start="inherited")
    kept, trajectory = (tmp_path / "kept").read_text(), (tmp_path / "removals").read_text()
    assert kept == repr(one.shrunk.kept)
    assert trajectory == repr([(r.set, r.left, r.error) for r in one.record.removals])
    weights = torch.load(tmp_path / "weights", weights_only=True)
    for name, value in one.shrunk.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)


def child(folder):
    """A search on two processes; the second ends in there."""
    torch.set_num_threads(1)
    outcome = run(folder / "two", model=network(norm=False), devices=2, start="inherited")
    assert os.environ.get("LOCAL_RANK", "0") == "0"
    (folder / "kept").write_text(repr(outcome.shrunk.kept))
    removals = [(r.set, r.left, r.error) for r in outcome.record.removals]
    (folder / "removals").write_text(repr(removals))
    torch.save(outcome.shrunk.model.state_dict(), folder / "weights")


if __name__ == "__main__":
    child(Path(sys.argv[1]))
