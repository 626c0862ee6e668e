"""Networks widened by their channel graph: sizes, the way back, and what is refused."""

import math
import os
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

import lwdna
from lwdna.errors import CheckpointError, ConfigError, GraphError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import complexity
from lwdna.graph.surgery import cut
from lwdna.graph.widening import copies, widened
from lwdna.networks.build import build
from lwdna.networks.provenance import Widening, provenance_of, set_provenance
from lwdna.networks.registry import NETWORKS, input_shape
from lwdna.networks.weights import save

ALL = os.environ.get("LWDNA_TEST_ALL") == "1"
QUICK = [
    ("resnet18", 2),
    ("resnext50_32x4d", 1.5),
    ("densenet121", 2),
    ("shufflenet_v2_x0_5", 1.5),
    ("mobilenet_v2", 1.5),
    ("efficientnet_b0", 2),
]
TORCHVISION = sorted(
    name
    for name in torchvision.models.list_models(torchvision.models)
    if not any(part in name for part in ("vit", "swin"))
)


def of_torchvision(name):
    model = torchvision.models.get_model(name, weights=None, num_classes=10)
    return model, 299 if name == "inception_v3" else 64


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def first_share(graph, before):
    """The mask of a widened network that keeps as many elements of each part of a set as before.

    A part is what stands between the beginnings of two layers: they may make a part of a set each.
    """
    wide, narrow = (
        [made for name, made in g.makers().items() if not name.startswith("input")]
        for g in (graph, before)
    )
    mask = graph.frozen.copy()
    seen, seen_before = set(), set()
    for made, made_before in zip(wide, narrow, strict=True):
        new = [e for e in dict.fromkeys(made.tolist()) if e not in seen]
        new_before = [e for e in dict.fromkeys(made_before.tolist()) if e not in seen_before]
        seen.update(new)
        seen_before.update(new_before)
        mask[new[: len(new_before)]] = True
    return mask


@pytest.mark.parametrize(
    ("name", "factor"), [(name, w) for name in TORCHVISION for w in (2, 1.5)] if ALL else QUICK
)
@torch.no_grad()
def test_torchvision(name, factor):
    model, size = of_torchvision(name)
    x = torch.zeros(1, 3, size, size)
    before = complexity(model, x)
    wide = lwdna.widen(model, x, factor)
    flops, params = complexity(wide, x)
    assert before[0] < flops <= factor**2 * before[0]
    assert before[1] < params <= factor**2 * before[1]
    assert wide.eval()(x).shape == (1, 10)
    assert type(wide) is type(model)


@pytest.mark.parametrize("factor", [2, 1.5])
def test_channels_shuffled_into_one_element(factor):
    """The trunk of ShuffleNetV2: no channel of it can go alone, but there may be more."""
    model, size = of_torchvision("shufflenet_v2_x0_5")
    wide = lwdna.widen(model, torch.zeros(1, 3, size, size), factor)
    alone = [s for s in ChannelGraph(model, torch.zeros(1, 3, size, size)).sets if len(s) == 1]
    stages = [s.name.split(".")[0] for s in alone]
    assert stages
    for stage in stages:
        last, before = (net.get_submodule(stage)[-1].branch2[5] for net in (wide, model))
        assert last.out_channels == factor * before.out_channels


WAY_BACK = [
    "mobilenet_v2",
    "resnet18",
    "resnext50_32x4d",
    "densenet121",
    "efficientnet_b0",
    "vgg11",
]
SIMILAR = {f"ResNet{depth}" for depth in (14, 26, 32, 38, 44, 56, 110)} | {"RegNetX-4.0GF"}
"""Networks of lwdna that are others with more blocks."""


@pytest.mark.parametrize("factor", [2, 1.5])
@pytest.mark.parametrize("name", WAY_BACK if ALL else WAY_BACK[:1])
def test_the_first_share_of_every_set_is_the_original(name, factor):
    model, size = of_torchvision(name)
    x = torch.zeros(1, 3, size, size)
    wide = lwdna.widen(model, x, factor)
    graph, before = ChannelGraph(wide, x), ChannelGraph(model, x)
    for channels, old in zip(graph.sets, before.sets, strict=True):
        free = int((~old.frozen).sum())
        assert len(channels) == len(old) - free + math.floor(factor * free)
        assert (channels.makers, channels.readers) == (old.makers, old.readers)
    assert shapes(cut(graph, wide, first_share(graph, before))) == shapes(model)


OURS = [name for name in NETWORKS if name != "MnasNet" and name not in SIMILAR]


@pytest.mark.parametrize("name", OURS)
def test_as_wide_as_the_network_itself_would_be(name):
    found, expected = doubled(name)
    assert found == expected


def test_mnasnet_itself_keeps_its_ends():
    """Its argument ``width`` leaves stem and head: torchvision's MnasNet, and that of its paper."""
    found, expected = doubled("MnasNet")
    other = {".".join(key.split(".")[:2]) for key in found if found[key] != expected[key]}
    assert other == {f"features.{block}" for block in (0, 1, 2, 3, 19)} | {"classifier.1"}
    assert found["features.0.0.weight"][0] == 2 * expected["features.0.0.weight"][0] == 64


def doubled(name):
    """The shapes of a network of lwdna, widened by its graph, and by its own argument."""
    x = torch.empty(input_shape(name))
    with torch.device("meta"):
        narrow, expected = build(name), build(name, width=2)
    graph = ChannelGraph(narrow, x)
    return shapes(widened(graph, narrow, copies(graph, 2))), shapes(expected)


X = torch.zeros(2, 3, 8, 8)


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def gate(layer, x):
    """Efficient channel attention: a convolution along the channels."""
    return layer(x.mean((2, 3)).unsqueeze(1)).sigmoid().transpose(1, 2).unsqueeze(-1)


class AlongRows(nn.Module):
    """A number for each column of an image, of which there are no more when channels are."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x * self.weight


CASES = {
    "a held slice stays": (
        lambda self, x: self.c(self.b(self.a(x)[:, :4])),
        {"a": conv(3, 12), "b": conv(4, 6), "c": conv(6, 2)},
        2,
        {"a": 12, "b": 12, "c": 2},
    ),
    "halves": (
        lambda self, x: self.b(torch.cat(self.a(x).chunk(2, 1)[::-1], 1)),
        {"a": conv(3, 12), "b": conv(12, 2)},
        1.5,
        {"a": 18, "b": 2},
    ),
    "whole groups of a group norm": (
        lambda self, x: self.b(self.norm(self.a(x))),
        {"a": conv(3, 12), "norm": nn.GroupNorm(4, 12), "b": conv(12, 2)},
        1.5,
        {"a": 18, "norm": 6, "b": 2},
    ),
    "a grouped convolution has more groups": (
        lambda self, x: self.b(self.g(self.a(x))),
        {"a": conv(3, 12), "g": conv(12, 24, groups=6), "b": conv(24, 2)},
        1.5,
        {"a": 18, "g": 36, "b": 2},
    ),
    "channels come out even wherever they are": (
        lambda self, x: self.b(torch.cat([self.a(x), self.c(x)], 1) + self.d(x)),
        {"a": conv(3, 5), "c": conv(3, 4), "d": conv(3, 9), "b": conv(9, 2)},
        1.5,
        {"a": 7, "c": 6, "d": 13, "b": 2},
    ),
    "flattened": (
        lambda self, x: self.b(self.a(x).flatten(1)),
        {"a": conv(3, 5), "b": nn.Linear(320, 2)},
        1.1,
        {"a": 5, "b": 2},
    ),
    "a softmax over channels": (
        lambda self, x: self.b(self.a(x).softmax(1)),
        {"a": conv(3, 12), "b": conv(12, 2)},
        1.5,
        {"a": 18, "b": 2},
    ),
    "one element in two halves": (
        lambda self, x: self.b(torch.mul(*self.a(x).softmax(1).chunk(2, 1))),
        {"a": conv(3, 6), "b": conv(3, 2)},
        1.5,
        {"a": 8, "b": 2},
    ),
    "one element that is shuffled in pairs stays even": (
        lambda self, x: self.b(nn.functional.channel_shuffle(self.a(x).softmax(1), 2)),
        {"a": conv(3, 6), "b": conv(6, 2)},
        1.5,
        {"a": 6, "b": 2},
    ),
    "what a convolution along the channels reads stays": (
        lambda self, x: self.b(self.d(self.a(x) * gate(self.c, self.a(x)))),
        {"a": conv(3, 8), "c": nn.Conv1d(1, 1, 3, padding=1), "d": conv(8, 6), "b": conv(6, 2)},
        1.5,
        {"a": 8, "c": 1, "d": 9, "b": 2},
    ),
    "channels that are positions of a parameter stay": (
        lambda self, x: self.b(self.d(self.s(self.a(x)))),
        {"a": conv(3, 8), "s": AlongRows(), "d": conv(8, 6), "b": conv(6, 2)},
        2,
        {"a": 8, "d": 12, "b": 2},
    ),
    "a pixel shuffle": (
        lambda self, x: self.b(nn.functional.pixel_shuffle(self.a(x), 2)),
        {"a": conv(3, 12), "b": conv(3, 2)},
        2,
        {"a": 24, "b": 2},
    ),
}


def channels(layer):
    for name in ("num_groups", "out_channels", "out_features"):
        if hasattr(layer, name):
            return getattr(layer, name)
    raise AssertionError(layer)


@pytest.mark.parametrize("case", CASES)
def test_what_grows(case, net):
    run, modules, factor, expected = CASES[case]
    wide = lwdna.widen(net(run, **modules), X, factor)
    assert {name: channels(wide.get_submodule(name)) for name in expected} == expected
    assert wide(X).isfinite().all()


def test_weights_are_drawn_and_the_rest_is_copied(net, scramble, snapshot):
    modules = {"a": conv(3, 64), "norm": nn.BatchNorm2d(64), "b": conv(64, 64), "c": conv(64, 2)}
    model = scramble(net(lambda self, x: self.c(self.b(self.norm(self.a(x)))), **modules))
    before = snapshot(model)
    wide, again = (lwdna.widen(model, X, 2, seed=1) for _ in range(2))
    snapshot.compare(model, before)
    assert all(map(torch.equal, wide.state_dict().values(), again.state_dict().values()))
    assert len(wide.a.weight.flatten(1).unique(dim=0)) == 128
    assert wide.norm.running_var.unique().equal(model.norm.running_var.unique())
    wide_std, fresh_std = wide.b.weight.std(), conv(128, 128).weight.std()
    assert abs(wide_std / fresh_std - 1) < 0.05


def test_drawn_from_the_generator_as_any_network():
    model = build("ResNet8")
    x = torch.zeros(1, 3, 32, 32)

    def weight(seed):
        torch.manual_seed(seed)
        return lwdna.widen(model, x, 2).stem[0].weight

    assert torch.equal(weight(0), weight(0)) and not torch.equal(weight(0), weight(1))
    assert len(weight(0).flatten(1).unique(dim=0)) == 32


@pytest.mark.parametrize("factor", [0.5, 0, -1, math.nan, math.inf, "2", None, True, [2]])
def test_a_bad_factor_is_a_sentence(factor):
    model = nn.Sequential(conv(3, 8), conv(8, 2))
    with pytest.raises(ConfigError, match="give a number of 1 or more"):
        lwdna.widen(model, X, factor)


def test_nothing_free():
    with pytest.raises(GraphError, match="No channel of Sequential is free"):
        lwdna.widen(nn.Sequential(conv(3, 2)), X, 2)
    model = nn.Sequential(conv(3, 8), nn.Unflatten(1, (2, 4)), nn.Flatten(1, 2), conv(8, 2))
    with pytest.raises(GraphError, match="fixes their number"):
        lwdna.widen(model, X, 2)


def test_a_layer_that_cannot_be_drawn(net):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 3, 1, 1))

        def forward(self, x):
            return nn.functional.conv2d(x, self.weight)

    lwdna.register_rule(Bare, {"weight": "out in"})
    with pytest.raises(ConfigError, match="'0', a Bare, cannot be drawn anew"):
        lwdna.widen(nn.Sequential(Bare(), conv(8, 2)), X, 2)


def test_a_forward_that_depends_on_the_number(net):
    def run(self, x):
        x = self.a(x)
        return self.b(x if x.shape[1] < 20 else self.c(x))

    model = net(run, a=conv(3, 12), b=conv(12, 2), c=conv(12, 12))
    with pytest.raises(GraphError, match="cannot be widened"):
        lwdna.widen(model, X, 2)


@pytest.mark.parametrize("name", ["ResNet8", None])
def test_saved_and_loaded(name, tmp_path):
    x = torch.zeros(1, 3, 32, 32)

    def make():
        return build("ResNet8", width=0.5) if name else nn.Sequential(conv(3, 8), conv(8, 2))

    wide = lwdna.widen(lwdna.widen(make(), x, 2), x, 1.5)
    save(wide, tmp_path / "wide.safetensors")
    again = lwdna.load(tmp_path / "wide.safetensors", network=None if name else make)
    assert all(map(torch.equal, again.state_dict().values(), wide.state_dict().values()))
    assert shapes(again) == shapes(wide)


@pytest.mark.parametrize(
    "widening",
    [
        Widening(1e9, [[1, 3, 32, 32]]),
        Widening(2, [[1, 3, 10**6, 10**6]]),
        Widening(0.5, [[1, 3, 32, 32]]),
        Widening("2", [[1, 3, 32, 32]]),
        Widening(2, [[1, 3, 32]]),
        Widening(2, []),
        Widening(2, [[1, 3, 32, 32]], "all"),
    ],
)
def test_a_file_that_says_something_else(widening, tmp_path):
    model = build("ResNet8")
    set_provenance(model, replace(provenance_of(model), widened=(widening,)))
    save(model, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        lwdna.load(tmp_path / "x.safetensors")
