"""Networks without data: what norms make of a part, copies, and the collection of garbage."""

import copy
import gc

import pytest
import torch
from torch import nn

from lwdna.graph.channels import ChannelGraph
from lwdna.graph.meta import duplicate


class Flat(nn.Module):
    """What a norm makes of a part lies in order, and may be viewed as a vector."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(8), nn.Linear(8 * 36, 4)

    def forward(self, x):
        part, _ = self.a(x).chunk(2, 1)
        return self.b(self.norm(part).view(-1).view(len(x), -1))


def test_norm_of_a_part_is_flattened(proven):
    proven(Flat, torch.randn(2, 3, 8, 8))


class Tokens(nn.Module):
    """A norm of tokens (B, N, C), which lie in order after it as they do not before."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8 * 5, 4)

    def forward(self, x):
        return self.b(self.norm(self.a(x).transpose(1, 2)).view(len(x), -1))


def test_norm_of_tokens_is_flattened(proven):
    proven(Tokens, torch.randn(2, 5, 3))


class Own(nn.Module):
    """A module that is copied in a way of its own, beside shared and nested state."""

    def __init__(self):
        super().__init__()
        self.layer, self.shared, self.seen = nn.Conv2d(3, 4, 1), {}, [nn.ReLU(), {"a": [1]}]
        self.alias, self.copies = self.layer, 0

    def __deepcopy__(self, memo):
        other = type(self)()
        memo[id(self)] = other
        other.copies = self.copies + 1
        return other


@pytest.mark.parametrize("kind", ["plain", "own"])
def test_copies(kind):
    part = Own()
    model = nn.Sequential(part, nn.BatchNorm2d(4), nn.GRU(2, 2))
    if kind == "plain":
        model[0] = part = nn.Sequential(part.layer, part.layer)
        part.cache = model.cache = {}
        part.parent = [model]
    model.register_forward_hook(lambda *_: None)
    quick, slow = duplicate(model), copy.deepcopy(model)
    for (name, one), (_, other) in zip(quick.named_modules(), slow.named_modules(), strict=True):
        assert type(one) is type(other) and vars(one).keys() == vars(other).keys(), name
        given = dict(model.named_modules())[name]
        assert one is not given and one._forward_hooks is not given._forward_hooks
        assert one._forward_hooks.keys() == other._forward_hooks.keys()
    if kind == "plain":
        assert quick[0][0] is quick[0][1] and quick[0].parent[0] is quick
        assert quick.cache is quick[0].cache is not model.cache
        same = zip(quick.parameters(), model.parameters(), strict=True)
        assert all(torch.equal(a, b) and a is not b for a, b in same)
    else:
        assert quick[0].copies == 1


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_as_before(collecting):
    was = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        ChannelGraph(nn.Sequential(nn.Conv2d(3, 4, 1)), torch.zeros(1, 3, 4, 4))
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if was else gc.disable)()
