"""What is told by shapes alone is what PyTorch says; a quick copy is a copy."""

import copy
import gc

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lwdna.graph.channels import ChannelGraph
from lwdna.graph.meta import duplicate
from lwdna.graph.shortcuts import SHORTCUTS


def meta(*shape, dtype=None):
    return torch.empty(*shape, device="meta", dtype=dtype)


def norm(x, channels=8, training=False, vectors=4):
    given = [meta(channels) if i < vectors else None for i in range(4)]
    named = {"weight": given[2], "bias": given[3], "training": training}
    return (x, *given[:2]), named | {"momentum": 0.1, "eps": 1e-5}


def layers(x, *shape):
    return (x, list(shape)), {"weight": meta(*shape), "bias": meta(*shape), "eps": 1e-5}


X = meta(2, 8, 6, 5)
TOLD = {
    "batch norm": (functional.batch_norm, *norm(X)),
    "batch norm of vectors": (functional.batch_norm, *norm(meta(4, 8))),
    "batch norm without scales": (functional.batch_norm, *norm(X, vectors=2)),
    "batch norm of a part": (functional.batch_norm, *norm(meta(2, 16, 6, 5)[:, :8])),
    "batch norm, channels last": (
        functional.batch_norm,
        *norm(X.contiguous(memory_format=torch.channels_last)),
    ),
    "layer norm": (functional.layer_norm, *layers(X, 5)),
    "layer norm of two axes": (functional.layer_norm, *layers(X, 6, 5)),
    "layer norm of a view": (functional.layer_norm, *layers(X.permute(0, 2, 3, 1), 8)),
    "layer norm, channels last": (
        functional.layer_norm,
        *layers(X.contiguous(memory_format=torch.channels_last), 5),
    ),
    "cat": (torch.cat, ([X, meta(2, 3, 6, 5)], 1), {}),
    "cat at the end": (torch.cat, ((X, meta(2, 8, 6, 1), X), -1), {}),
    "cat by name": (torch.cat, ([X, X],), {"dim": 2}),
    "add": (Tensor.add, (X, X), {}),
    "mul": (Tensor.mul, (X, X), {}),
}
LEFT = {
    "batch norm in training": (functional.batch_norm, *norm(X, training=True)),
    "batch norm that does not fit": (functional.batch_norm, *norm(X, channels=7)),
    "batch norm of integers": (functional.batch_norm, *norm(meta(2, 8, dtype=torch.int64))),
    "layer norm that does not fit": (functional.layer_norm, *layers(X, 6)),
    "cat of other sizes": (torch.cat, ([X, meta(2, 8, 6, 1)], 1), {}),
    "cat of other types": (torch.cat, ([X, X.int()], 1), {}),
    "cat of nothing": (torch.cat, ([],), {}),
    "cat beyond the axes": (torch.cat, ([X, X], 4), {}),
    "cat into a tensor": (torch.cat, ([X, X], 1), {"out": meta(0)}),
    "cat of a view": (torch.cat, ([X.transpose(2, 3)] * 2, 1), {}),
    "add that broadcasts": (Tensor.add, (X, meta(1, 8, 1, 1)), {}),
    "add of a number": (Tensor.add, (X, 2), {}),
    "mul of other types": (Tensor.mul, (X, X.double()), {}),
    "mul of data": (Tensor.mul, (torch.ones(2), torch.ones(2)), {}),
}


@pytest.mark.parametrize("case", TOLD)
def test_told_by_shapes(case):
    function, args, kwargs = TOLD[case]
    told, said = SHORTCUTS[function](*args, **kwargs), function(*args, **kwargs)
    assert (told.shape, told.dtype, told.stride()) == (said.shape, said.dtype, said.stride())
    assert told.is_meta


@pytest.mark.parametrize("case", LEFT)
def test_left_to_pytorch(case):
    function, args, kwargs = LEFT[case]
    assert SHORTCUTS[function](*args, **kwargs) is None


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
