"""Evolution: all candidates are new and within the window, and better ones have children."""

import itertools

import numpy as np
import pytest
import torch
from searches import EXAMPLE, network
from stopping import StopError, stop_at

import lwdna
from lwdna.errors import BudgetError, ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.rivals.evolution import Evolution, Plan, _crossover
from lwdna.rivals.widths import Grid, Widths

IMAGE = torch.empty(1, 3, 32, 32)
PLAN = {"population": 12, "iterations": 6, "parents": 4, "mutants": 5, "crossovers": 5}


class Case:
    """An evolution of a network by a measure that is a function of the mask."""

    def __init__(
        self, folder, measure=None, *, small=False, window=(0.45, 0.5), groups=8, seed=3, **plan
    ):
        model, example = (network(), EXAMPLE) if small else (lwdna.build("ResNet14"), IMAGE)
        self.graph = ChannelGraph(model, example)
        self.counted = MaskedComplexity(self.graph)
        self.grid = Grid.of(Widths(self.graph), groups=groups, lowest=0.1)
        full = self.counted.flops(self.graph.full_mask())
        self.window = tuple(share * full for share in window)
        self.weights = np.random.default_rng(7).random(self.graph.elements)
        self.asked = []

        def noted(mask):
            self.asked.append(mask)
            return (measure or self.by_chance)(mask)

        self.evolution = Evolution(
            self.counted, self.grid, self.window, Plan(**{**PLAN, **plan}), seed=seed
        )
        self.measure, self.path = noted, folder / "evolution.csv"

    def by_chance(self, mask):
        return float(self.weights[~mask].sum()), 0.0

    def run(self):
        return self.evolution.run(self.measure, path=self.path, description="evolution")


def of_iteration(evolved, number):
    return [c for c in evolved.candidates if c.iteration == number]


def test_candidates_are_new_and_within_the_window(tmp_path):
    case = Case(tmp_path)
    evolved = case.run()
    genes = [c.counts for c in evolved.candidates]
    assert len(genes) == len(set(genes)) == len(case.asked) > 50
    for candidate in evolved.candidates:
        mask = case.grid.widths.mask(np.array(candidate.counts))
        assert candidate.flops == case.counted.flops(mask)
        assert case.window[0] <= candidate.flops <= case.window[1]
        for number, count in enumerate(candidate.counts):
            assert count in case.grid.choices(number)


def test_the_best_gets_better(tmp_path):
    evolved = Case(tmp_path).run()
    evolved.write(tmp_path / "a.csv")
    evolved.write(tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    header, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "iteration,candidates,best,mean,flops,crc32" and len(rows) >= 6
    best = [float(row.split(",")[2]) for row in rows[:6]]
    assert all(after <= before for before, after in itertools.pairwise(best))
    assert best[-1] == evolved.best.error < best[0]
    for number, row in enumerate(rows[:6]):
        errors = [c.error for c in of_iteration(evolved, number)]
        assert float(row.split(",")[3]) == pytest.approx(np.mean(errors))


def test_the_optimum_of_a_small_space_is_found(tmp_path):
    """Of all networks within the window, counted out."""
    case = Case(
        tmp_path, small=True, window=(0.4, 0.6), population=40, mutants=20, crossovers=10,
        iterations=20, tries=50,
    )  # fmt: skip
    choices = [case.grid.choices(number) for number in range(len(case.graph.sets))]
    inside = []
    for counts in itertools.product(*choices):
        mask = case.grid.widths.mask(np.array(counts))
        if case.window[0] <= case.counted.flops(mask) <= case.window[1]:
            inside.append((case.by_chance(mask)[0], tuple(map(int, counts))))
    evolved = case.run()
    assert len(inside) > 4 and (evolved.best.error, evolved.best.counts) == min(inside)
    assert {c.counts for c in evolved.candidates} <= {counts for _, counts in inside}


def test_mutants_differ_from_their_parents_and_crossovers_take_after_both(tmp_path):
    case = Case(tmp_path, mutants=12, crossovers=0, probability=1.0)
    parent = np.array(case.grid.widths.full)
    generator = np.random.default_rng(1)
    free = [n for n in range(len(parent)) if len(case.grid.choices(n)) > 1]
    for _ in range(20):
        mutant = case.evolution._mutant([parent], generator)
        assert all(mutant[n] != parent[n] for n in free)
    parents = [case.grid.draw(generator) for _ in range(3)]
    for _ in range(20):
        child = _crossover(parents, generator)
        assert sum(
            all(gene in both for gene, *both in zip(child, first, second, strict=True))
            for first, second in itertools.combinations(parents, 2)
        )


def test_seeds_reproduce(tmp_path):
    runs = []
    for number, seed in enumerate((3, 3, 4)):
        (tmp_path / str(number)).mkdir()
        runs.append(Case(tmp_path / str(number), seed=seed).run())
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("at", [1, 5, 12, 13, 40])
def test_a_search_that_was_killed_goes_on_to_the_same_candidates(tmp_path, at):
    (tmp_path / "whole").mkdir()
    expected = Case(tmp_path / "whole")
    evolved = expected.run()
    with pytest.raises(StopError):
        Case(tmp_path, stop_at(at, expected.by_chance)).run()
    again = Case(tmp_path)
    assert again.run() == evolved
    assert len(again.asked) == len(expected.asked) - (at - 1)


def test_a_damaged_file_is_begun_anew(tmp_path, caplog):
    evolved = Case(tmp_path).run()
    path = tmp_path / "evolution.csv"
    path.write_text(path.read_text()[:-20])
    assert Case(tmp_path).run() == evolved
    assert "cannot be read" in caplog.text


def test_a_window_without_candidates_says_after_how_many_draws(tmp_path):
    with pytest.raises(BudgetError, match=r"In 120 draws no network was found within the window"):
        Case(tmp_path, small=True, window=(0.5, 0.5)).evolution.check()


def test_a_space_that_is_exhausted_ends_the_search(tmp_path, caplog):
    case = Case(tmp_path, small=True, groups=1, window=(0.0, 1.0))
    evolved = case.run()
    assert len(evolved.candidates) == 1
    assert "no new candidates are found in iteration 1" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"population": 0}, "population is 0; give 1 or more"),
        ({"mutants": -1}, "mutants is -1; give 0 or more"),
        ({"mutants": 9, "crossovers": 9}, "are 18 together, more than the population of 12"),
        ({"probability": 0.0}, "give more than 0, at most 1"),
    ],
)
def test_a_plan_that_is_none_is_said(wrong, said):
    with pytest.raises(ConfigError, match=said):
        Plan(**{**PLAN, **wrong})
