"""Channels in multiples of a number: every set, the budget still met and never exceeded."""

import re

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import lwdna
from lwdna.errors import BudgetError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.networks.build import build
from lwdna.shrinkage.budget import Budget, floors, protect, select
from lwdna.shrinkage.portions import portions

X = torch.zeros(1, 3, 64, 64)


def assert_multiples(small, graph, multiple):
    """By layer, as users see it."""
    sets = {name: channels for channels in graph.sets for name in channels.makers}
    for name, kept in small.kept.items():
        whole = len(kept) == small.channels_before[name]
        assert whole or len(kept) % multiple == 0, (name, len(kept))
        assert whole or sets[name].prunable


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_networks_of_torchvision(name, share):
    model = torchvision.models.get_model(name, num_classes=10)
    small = lwdna.shrink(
        model, X, None, flops_ratio=share, multiple_of=8, rho=0.1, tau=0.1, criterion="magnitude"
    )
    target = share * complexity(model, X)[0]
    assert 0.97 * target < small.flops <= target
    assert small.flops == complexity(small.model, X)[0]
    assert_multiples(small, ChannelGraph(model, X), 8)


def branches(self_a, self_b):
    """Two layers side by side, added to a third: one set, made in parts."""

    class Sides(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, self_a, 3), nn.Conv2d(3, self_b, 3)
            self.c, self.d = nn.Conv2d(3, self_a + self_b, 3), nn.Conv2d(self_a + self_b, 5, 1)

        def forward(self, x):
            return self.d(torch.cat([self.a(x), self.b(x)], 1) + self.c(x))

    return Sides()


def grouped():
    """Elements of four channels each, and single ones."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 1),
        nn.Conv2d(24, 24, 3, groups=6),
        nn.BatchNorm2d(24),
        nn.Conv2d(24, 20, 1),
        nn.Conv2d(20, 20, 3, groups=20),
        nn.Conv2d(20, 5, 1),
    )


def shuffled():
    return nn.Sequential(
        nn.Conv2d(3, 12, 1), nn.Conv2d(12, 48, 3), nn.PixelShuffle(2), nn.Conv2d(12, 5, 3)
    )


NETWORKS = {
    "ResNet8": lambda: build("ResNet8", width=0.75),
    "MobileNetV3": lambda: build("MobileNetV3-small", dataset="cifar10", width=0.5),
    "DenseNet": lambda: build("DenseNet40", dataset="cifar10", width=0.5),
    "RegNet": lambda: build("RegNetX-200MF", dataset="cifar10", width=0.5),
    "sides": lambda: branches(16, 24),
    "sides of odd numbers": lambda: branches(10, 6),
    "groups": grouped,
    "pixel shuffle": shuffled,
}


class Case:
    def __init__(self, name, multiple, seed):
        self.model, self.multiple = NETWORKS[name](), multiple
        self.x = torch.zeros(1, 3, 16, 16)
        self.graph = ChannelGraph(self.model, self.x)
        self.counted = MaskedComplexity(self.graph)
        self.scores = np.random.default_rng(seed).lognormal(0, 2, self.graph.elements)
        self.floor = floors(self.graph.sets, 0.1, 0.3)
        self.least = protect(self.graph, self.scores, self.floor, multiple)

    def select(self, target):
        budget = Budget(target, self.floor, self.multiple)
        return select(self.graph, self.counted, self.scores, budget)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("multiple", [2, 3, 8])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_budget_that_can_be_reached(name, multiple, seed):
    case = Case(name, multiple, seed)
    least, most = (case.counted.flops(m) for m in (case.least, case.graph.full_mask()))
    target = least + np.random.default_rng(seed).uniform(0, 1) * (most - least)
    mask = case.select(target)
    assert case.counted.flops(mask) <= target
    assert mask[case.least].all()
    for channels, floor in zip(case.graph.sets, case.floor, strict=True):
        assert mask[channels.elements].sum() >= floor
        assert mask[channels.elements[channels.frozen]].all()
    sets = {maker: channels for channels in case.graph.sets for maker in channels.makers}
    for maker, layer in case.graph.layers.items():
        kept = mask[layer.outputs[layer.outputs >= 0]].sum()
        whole = mask[sets[maker].elements].all()
        assert whole or (kept > 0 and kept % multiple == 0), (maker, kept)
    # Nothing that would keep all multiples fits any more.
    rest = portions(case.graph, mask, case.scores, multiple)
    ends = np.cumsum(rest.sizes)
    for number, last in enumerate(rest.last):
        of_set = np.flatnonzero(rest.sets == rest.sets[number])
        if last and len(of_set) > 1:
            continue  # only after the others of its set
        more = mask.copy()
        more[rest.elements[ends[number] - rest.sizes[number] : ends[number]]] = True
        assert case.counted.flops(more) > target


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ends_of_the_interval(name):
    case = Case(name, 8, 0)
    least, most = (case.counted.flops(m) for m in (case.least, case.graph.full_mask()))
    assert np.array_equal(case.select(least), case.least)
    assert case.select(most).all()
    for hopeless in (least - 1, most + 1):
        with pytest.raises(BudgetError, match="rho, tau, width and multiple_of") as caught:
            case.select(hopeless)
        between = re.search(r"between ([\d,]+) and ([\d,]+)", str(caught.value))
        assert [int(n.replace(",", "")) for n in between.groups()] == [least, most]


def test_the_best_of_a_set_stay():
    case = Case("ResNet8", 8, 1)
    least, most = (case.counted.flops(m) for m in (case.least, case.graph.full_mask()))
    mask = case.select((least + most) / 2)
    for channels in case.graph.sets:
        kept, scores = mask[channels.elements], case.scores[channels.elements]
        if not kept.all() and channels.prunable:
            assert scores[kept].min() > scores[~kept].max()


def test_what_would_help_is_named():
    """Lower multiples, where those are what keeps the FLOPs up."""
    case = Case("ResNet8", 8, 0)
    alone = case.counted.flops(protect(case.graph, case.scores, case.floor))
    with pytest.raises(BudgetError, match=r"or lower multiple_of\."):
        case.select(alone)
    with pytest.raises(BudgetError, match=r"or lower multiple_of and rho and tau\."):
        case.select(alone - 1)


def test_multiples_are_noted(tmp_path):
    small = lwdna.shrink(
        NETWORKS["ResNet8"](),
        torch.zeros(1, 3, 16, 16),
        None,
        flops_ratio=0.5,
        multiple_of=4,
        criterion="uniform",
    )
    small.save(tmp_path / "small.safetensors")
    assert '"multiple_of": 4' in (tmp_path / "small.json").read_text()
