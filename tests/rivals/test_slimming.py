"""Greedy slimming: the group that is missed the least goes, and any budget is met by its order."""

import itertools

import numpy as np
import pytest
import torch
from stopping import StopError, stop_at
from torch import nn

import lwdna
from lwdna.errors import TrainingError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.rivals.slimming import Slimming
from lwdna.rivals.widths import Grid, Widths
from lwdna.shrinkage.budget import Budget, select

EXAMPLE = torch.empty(1, 3, 32, 32)


class Case:
    """A network, and a slimming of it by a measure that is a function of the counts."""

    def __init__(self, folder, measure=None, name="ResNet14", groups=4, **options):
        self.graph = ChannelGraph(lwdna.build(name, **options), EXAMPLE)
        self.counted = MaskedComplexity(self.graph)
        self.grid = Grid.of(Widths(self.graph), groups=groups, lowest=0.2)
        self.full = self.counted.flops(self.graph.full_mask())
        self.asked = []
        weights = np.random.default_rng(7).random(self.graph.elements)

        def by_chance(mask):
            return float(weights[~mask].sum()), 0.0

        def noted(mask):
            self.asked.append(mask)
            return (measure or by_chance)(mask)

        path = folder / "slimming.csv"
        self.slimming = Slimming(
            self.graph, self.counted, self.grid, noted, path=path, description="slimming"
        )

    def mask(self, trajectory, target):
        budget = Budget(target, self.grid.least.tolist())
        return select(self.graph, self.counted, trajectory.scores(self.grid), budget)

    def steps(self, target=0.5):
        return self.slimming.to(target * self.full).removals


def test_each_step_takes_one_group_and_flops(tmp_path):
    case = Case(tmp_path)
    removals = case.steps()
    counts = case.grid.widths.full.copy()
    assert removals[0].flops == case.full
    for before, removal in itertools.pairwise(removals):
        assert removal.left == case.grid.lower(counts, removal.set)[removal.set]
        counts[removal.set] = removal.left
        mask = case.grid.widths.mask(counts)
        assert removal.flops == case.counted.flops(mask) < before.flops
        assert mask[case.graph.frozen].all()
    assert removals[-1].flops <= 0.5 * case.full < removals[-2].flops


def test_what_is_missed_the_least_goes_first(tmp_path):
    """A measure that minds all channels but those of one set."""
    case = Case(tmp_path)
    free = [n for n, s in enumerate(case.graph.sets) if not s.frozen.any()]
    for number in free[:3]:
        elements = case.graph.sets[number].elements

        def measure(mask, elements=elements):
            others = np.ones(len(mask), bool)
            others[elements] = False
            return float((~mask & others).sum()), 0.0

        folder = tmp_path / str(number)
        folder.mkdir()
        again = Case(folder, measure)
        least = again.grid.widths.full.copy()
        while (fewer := again.grid.lower(least, number)) is not None:
            least = fewer
        target = again.counted.flops(again.grid.widths.mask(least))
        removals = again.slimming.to(target).removals
        assert {removal.set for removal in removals[1:]} == {number}


def test_ties_fall_to_the_loss_then_the_flops_then_the_first(tmp_path):
    case = Case(tmp_path, lambda mask: (10.0, 0.0))
    removals = case.steps(0.7)
    counts = case.grid.widths.full.copy()
    for removal in removals[1:]:
        saved = {}
        for number in range(len(counts)):
            fewer = case.grid.lower(counts, number)
            if fewer is not None:
                saved[number] = case.counted.flops(case.grid.widths.mask(fewer))
        assert removal.set == min(saved, key=lambda number: (saved[number], number))
        counts[removal.set] = removal.left
    (tmp_path / "loss").mkdir()
    by_loss = Case(tmp_path / "loss", lambda mask: (10.0, -float((~mask).sum())))
    first = by_loss.steps(0.95)[1]
    assert by_loss.grid.unit[first.set] == max(by_loss.grid.unit)


@pytest.mark.parametrize("name", ["ResNet14", "MobileNetV1"])
def test_a_budget_is_met_and_nothing_more_fits(tmp_path, name):
    case = Case(tmp_path, name=name, **({} if name == "ResNet14" else {"width": 0.25}))
    for share in (0.8, 0.5, 0.37):
        target = share * case.full
        mask = case.mask(case.slimming.to(target), target)
        assert case.counted.flops(mask) <= target
        assert mask[case.graph.frozen].all()
        for element in np.flatnonzero(~mask):
            more = mask.copy()
            more[element] = True
            assert case.counted.flops(more) > target
        for channels in case.graph.sets:  # the first ones
            kept = mask[channels.elements]
            assert kept[: kept.sum()].all() or channels.frozen.any()


def test_budgets_share_one_slimming_and_are_nested(tmp_path):
    shares = (0.8, 0.6, 0.4)
    case = Case(tmp_path)
    case.steps(shares[-1])
    asked = len(case.asked)
    before = None
    for share in shares:
        target = share * case.full
        trajectory = case.slimming.to(target)
        assert len(case.asked) == asked, "a larger budget was searched for again"
        folder = tmp_path / str(share)
        folder.mkdir()
        alone = Case(folder)
        one = alone.slimming.to(target)
        assert one.removals == trajectory.removals
        mask = case.grid.widths.mask(trajectory.counts(case.grid))
        assert before is None or not (mask & ~before).any()
        before = mask
        # Of the whole slimming, too: what went later does not matter.
        whole = case.slimming.to(shares[-1] * case.full)
        assert (case.mask(whole, target) == alone.mask(one, target)).all()


@pytest.mark.parametrize("at", [1, 2, 30])
def test_a_slimming_that_was_killed_goes_on_to_the_same_removals(tmp_path, at):
    (tmp_path / "whole").mkdir()
    expected = Case(tmp_path / "whole")
    removals = expected.steps()
    with pytest.raises(StopError):
        Case(tmp_path, stop_at(at, expected.slimming.measure)).steps()
    again = Case(tmp_path)
    assert again.steps() == removals
    assert len(again.asked) <= len(expected.asked)
    assert at < 30 or len(again.asked) < len(expected.asked)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda text: text[:-20],
        lambda text: text.replace("\n3,", "\n4,", 1),  # a number that means something, too
        lambda _: "a,b,crc32\n1,2,3\n",
    ],
)
def test_a_damaged_file_is_begun_anew(tmp_path, caplog, damaged):
    removals = Case(tmp_path).steps(0.8)
    path = tmp_path / "slimming.csv"
    text = path.read_text()
    path.write_text(damaged(text))
    assert path.read_text() != text
    assert Case(tmp_path).steps(0.8) == removals
    assert "cannot be read" in caplog.text and path.read_text() == text


def test_nothing_left_to_remove_is_said(tmp_path):
    case = Case(tmp_path)
    with pytest.raises(TrainingError, match=r"No more channels may go at .* FLOPs, above"):
        case.steps(1e-6)


def test_what_is_no_number_is_the_worst(tmp_path):
    """A network whose measure cannot be taken is not chosen."""
    weights = np.random.default_rng(3).random(1000)

    def measure(mask):
        dropped = weights[: len(mask)][~mask].sum()
        return (float("nan") if int(dropped * 10) % 2 else float(dropped)), 0.0

    assert all(np.isfinite(removal.error) for removal in Case(tmp_path, measure).steps(0.9)[:2])


def test_the_record_says_what_went(tmp_path):
    case = Case(tmp_path)
    trajectory = case.slimming.to(0.6 * case.full)
    trajectory.write(tmp_path / "a.csv")
    trajectory.write(tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    header, first, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert header.startswith("step,channels,before,left,flops,error,loss")
    assert first.split(",")[:5] == ["0", "", "", "", str(case.full)]
    for row, removal in zip(rows, trajectory.removals[1:], strict=True):
        _, name, before, left, flops, error, _ = row.split(",")[:7]
        channels = case.graph.sets[removal.set]
        assert name == channels.name and int(left) == removal.left < int(before)
        assert int(flops) == removal.flops and float(error) == removal.error


def test_frozen_sets_are_never_tried(tmp_path):
    case = Case(tmp_path)
    case.steps()
    frozen = case.graph.frozen
    assert frozen.any() and all(mask[frozen].all() for mask in case.asked)


def test_sets_that_cost_nothing_stay(tmp_path, net):
    """Channels whose removal saves no FLOPs are not removed to meet a budget."""
    model = net(
        lambda self, x: self.last(torch.relu(self.a(x))) + self.c(self.b),
        a=nn.Conv2d(3, 8, 3, padding=1),
        last=nn.Conv2d(8, 2, 1),
        c=nn.Identity(),
    )
    model.b = nn.Parameter(torch.zeros(1, 2, 1, 1))
    graph = ChannelGraph(model, EXAMPLE)
    grid, counted = Grid.of(Widths(graph), groups=4, lowest=0.1), MaskedComplexity(graph)
    slimming = Slimming(
        graph,
        counted,
        grid,
        lambda mask: (0.0, 0.0),
        path=tmp_path / "s.csv",
        description="slimming",
    )
    removals = slimming.to(0.5 * counted.flops(graph.full_mask())).removals
    assert {graph.sets[removal.set].name for removal in removals[1:]} == {"a"}
