"""Layers that a user teaches the channel graph; rules that are wrong."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lwdna
from lwdna.errors import CheckpointError, ConfigError, GraphError
from lwdna.graph import rules
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import cut, silence, verify
from lwdna.shrinkage.gradients import explicit_gradients, latent_gradients
from lwdna.shrinkage.latents import hyper_layers

X = torch.randn(2, 3, 8, 8)


@pytest.fixture(autouse=True)
def rules_of_this_test(monkeypatch):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))


class LowRank(nn.Module):
    """Computed by an operation that is not followed, nor counted by itself."""

    def __init__(self, inputs, outputs, rank, bias=True):
        super().__init__()
        self.rank = rank
        self.down = nn.Parameter(torch.randn(rank, inputs))
        self.up = nn.Parameter(torch.randn(outputs, rank))
        self.bias = nn.Parameter(torch.randn(outputs)) if bias else None

    def reset_parameters(self):
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x):
        x = torch.einsum("ri,bihw->brhw", self.down, x).view(len(x), self.rank, *x.shape[2:])
        x = torch.einsum("or,brhw->bohw", self.up, x)
        return x if self.bias is None else x + self.bias[:, None, None]


LOW_RANK = lwdna.Rule(
    {"down": "rank in", "up": "out rank", "bias": "out"},
    generated=("down", "up"),
    numbers={"rank": "rank"},
)


class Scale(nn.Module):
    """``turn`` is what a wrong rule does not know of."""

    def __init__(self, channels, turn=lambda x: x):
        super().__init__()
        self.channels, self.turn = channels, turn
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return self.turn(x) * self.gamma.view(1, -1, 1, 1)


def network(*layers, bias=True):
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        *layers,
        nn.ReLU(),
        LowRank(12, 10, 6, bias),
        nn.ReLU(),
        nn.Conv2d(10, 2, 1),
    )


@pytest.mark.parametrize("bias", [True, False])
def test_the_small_network_computes_what_the_silenced_one_does(random_mask, bias):
    lwdna.register_rule(LowRank, LOW_RANK)
    lwdna.register_rule(Scale, lwdna.Rule({"gamma": "in"}, numbers={"channels": "in"}))
    model = network(Scale(12), bias=bias).double().eval()
    nn.init.uniform_(model[1].gamma, 0.5, 1.5)
    x = X.double()
    graph = ChannelGraph(model, x)
    assert {s.name: len(s) for s in graph.sets if s.prunable} == {"0": 12, "3": 10, "3.rank": 6}
    counted = MaskedComplexity(graph)
    full = graph.full_mask()
    assert complexity(model, x) == (counted.flops(full), counted.params(full))
    assert counted.flops(full) == 64 * (12 * 27 + 12 + 6 * 12 + 10 * 6 + 10 + 2 * 10)
    for seed in range(3):
        mask = random_mask(graph, seed, 0.5)
        small = cut(graph, model, mask)
        verify(graph, small, x, mask, counted, batch_norm=True)
        torch.testing.assert_close(small(x), silence(graph, model, mask)(x))
        assert (small[1].channels, small[3].rank) == (len(small[1].gamma), len(small[3].down))
        assert small[3].down.shape == (len(small[3].up[0]), small[0].out_channels)


def test_generated_weights_are_scored_in_closed_form(stream):
    lwdna.register_rule(LowRank, LOW_RANK)
    model = network().double()
    graph = ChannelGraph(model, X.double())
    assert {layer.name for layer in hyper_layers(graph, model)} == {"0", "2.down", "2.up", "4"}
    found = [
        function(
            graph,
            network().double(),
            stream(2, 3, 8, 8, dtype=torch.float64),
            batches=batches,
            warmup_steps=1,
            seed=0,
            embedding=4,
        )
        for function, batches in ((latent_gradients, 2), (explicit_gradients, 1))
    ]
    assert np.asarray(found[0][1])[graph.inside["2.rank"]].all()
    for closed, explicit in zip(*found, strict=True):
        torch.testing.assert_close(torch.as_tensor(closed), torch.as_tensor(explicit))


def test_a_network_with_layers_of_ones_own_is_saved_and_loaded(tmp_path):
    lwdna.register_rule(LowRank, LOW_RANK)
    target = 0.4 * complexity(network(), X)[0]
    small = lwdna.shrink(network(), X, None, target_flops=target, criterion="magnitude")
    assert small.flops == complexity(small.model, X)[0] <= target
    assert len(small.kept["2"]) == len(small.model[2].up)
    small.save(tmp_path / "x.safetensors")
    again = lwdna.load(tmp_path / "x.safetensors", network=network)
    assert again[2].rank == small.model[2].rank
    assert torch.equal(again.eval()(X), small.model.eval()(X))
    with pytest.raises(CheckpointError, match=r"'2\.\w+' has shape|do not fit|had 10 channels"):
        lwdna.load(
            tmp_path / "x.safetensors",
            network=lambda: nn.Sequential(*network()[:2], LowRank(12, 3, 2), *network()[3:]),
        )


WRONG = {
    "channels are moved": (
        lambda: Scale(12, lambda x: x.flip(1)),
        {"gamma": "in"},
        "something else",
    ),
    "channels are mixed": (
        lambda: Scale(12, lambda x: x - x.mean(1, keepdim=True)),
        {"gamma": "in"},
        "something else.*exact=False",
    ),
    "a tensor is left out": (lambda: Scale(12), {}, "does not run after surgery"),
    "there is no such tensor": (lambda: Scale(12), {"beta": "in"}, "'beta'.*no such tensor"),
    "too few axes": (lambda: Scale(12), {"gamma": "in _"}, r"'in _', but its shape is \(12,\)"),
    "a number that is none": (
        lambda: Scale(12),
        lwdna.Rule({"gamma": "in"}, numbers={"turn": "in"}),
        "has a number 'turn'",
    ),
    "FLOPs of nothing": (
        lambda: Scale(
            12, lambda x: functional.conv2d(x, torch.ones(x.shape[1], 1, 1, 1), groups=12)
        ),
        {"gamma": "in"},
        "0 FLOPs an image.*of 768",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_found(case):
    make, rule, sentence = WRONG[case]
    lwdna.register_rule(LowRank, LOW_RANK)
    lwdna.register_rule(Scale, rule)
    with pytest.raises(GraphError, match=f"(?s)Scale.*{sentence}"):
        lwdna.complexity(network(make()), X)
        lwdna.shrink(network(make()), X, None, target_flops=15000, criterion="magnitude")


class Head(nn.Module):
    """Reads channels; its own outputs are fixed."""

    def __init__(self, channels, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, channels))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.weight)

    def forward(self, x):
        return (x.mean((2, 3)) @ self.weight.t())[:, :, None, None]


class Last(nn.LSTM):
    """Reads the channels at each position, and makes what it came to."""

    def forward(self, x):
        return super().forward(x.flatten(2).transpose(1, 2))[0][:, -1, :, None, None]


def reading(call):
    out = call.inside("fixed", call.value.shape[1])
    call.freeze(out)
    return {"in": call.channels(0), "out": out}


READERS = {
    "of several": (lambda: Head(12, 6), {"weight": "_ in"}, {}),
    "of one": (lambda: Head(12, 1), {"weight": "_ in"}, {}),
    "LSTM": (
        lambda: Last(12, 6, batch_first=True),
        {"weight_ih_l0": "_ in"},
        {"numbers": {"input_size": "in"}, "flops": lambda layer, inputs, output: {}},
    ),
}


@pytest.mark.parametrize("case", READERS)
def test_an_axis_that_is_never_cut_beside_one_that_is_read(case):
    make, axes, more = READERS[case]
    lwdna.register_rule(type(make()), lwdna.Rule(axes, follow=reading, **more))
    model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), make())
    small = lwdna.shrink(model, X, None, flops_ratio=0.6, criterion="magnitude").model
    assert small[0].out_channels == getattr(small[2], next(iter(axes))).shape[1] < 12
    assert small(X).shape == model(X).shape


def test_statistics_over_channels_are_allowed_if_said():
    lwdna.register_rule(LowRank, LOW_RANK)
    lwdna.register_rule(Scale, lwdna.Rule({"gamma": "in"}, exact=False))
    model = network(Scale(12, lambda x: x - x.mean(1, keepdim=True)))
    small = lwdna.shrink(model, X, None, target_flops=15000, criterion="magnitude").model
    assert len(small[1].gamma) == small[0].out_channels < 12


def test_a_rule_that_follows_by_itself(random_mask):
    class Gate(nn.Module):
        def forward(self, x, y):
            first, second = x.tensor_split(2, 1)
            return torch.special.expit(first) * second + y

    def follow(call):
        first, second = call.channels(0).chunk(2)
        call.tie(first, second)
        call.tie(first, call.channels(1))
        return {"in": call.channels(0), "out": first}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 8, 1)
            self.c, self.gate = nn.Conv2d(8, 2, 1), Gate()

        def forward(self, x):
            return self.c(self.gate(self.a(x), y=self.b(x)))

    model = Net()
    assert "'special_expit'" in ChannelGraph(model, X).unfollowed[0]
    lwdna.register_rule(Gate, lwdna.Rule(follow=follow))
    graph = ChannelGraph(model, X)
    assert graph.sets[1].makers == ("a", "b")
    assert len(graph.sets[1]) == 8
    mask = random_mask(graph)
    small = cut(graph, model, mask)
    verify(graph, small, X, mask, MaskedComplexity(graph), batch_norm=True)
    torch.testing.assert_close(small(X), silence(graph, model, mask)(X))


def test_a_subclass_with_another_forward_has_no_rule():
    class Named(Scale):
        pass

    class Other(Scale):
        def forward(self, x):
            return x

    lwdna.register_rule(Scale, {"gamma": "in"})
    assert rules.rule_of(Named(3)) is rules.rule_of(Scale(3)) is not None
    assert rules.rule_of(Other(3)) is None


def test_what_a_layer_with_a_rule_does_is_not_said_to_be_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        complexity(network(), X)
        assert "leave out what 2 computes" in caplog.text
        caplog.clear()
        lwdna.register_rule(LowRank, LOW_RANK)
        complexity(network(), X)
        assert not caplog.text


@pytest.mark.parametrize(
    ("layer", "rule", "sentence"),
    [
        (nn.Conv2d, {}, "PyTorch's"),
        (nn.Module, {}, "PyTorch's"),
        (Scale(3), {}, "class of nn.Module"),
        (Scale, {"gamma": "a b c"}, "one or two names"),
        (Scale, {"gamma": ""}, "one or two names"),
        (Scale, {"gamma": 3}, "axes of 'gamma' is 3; give one or two names"),
        (Scale, None, "The rule of Scale is None; give an lwdna.Rule, or a mapping"),
        (Scale, "in", "The rule of Scale is 'in'; give an lwdna.Rule"),
    ],
)
def test_what_is_no_rule_is_refused(layer, rule, sentence):
    with pytest.raises(ConfigError, match=sentence):
        lwdna.register_rule(layer, rule)


@pytest.mark.parametrize(
    "options", [{"numbers": {"channels": "out"}}, {"generated": ("gamma",)}], ids=str
)
def test_parts_of_a_rule_that_do_not_fit(options):
    with pytest.raises(ConfigError, match="axes"):
        lwdna.Rule({"gamma": "in"}, **options)


def test_a_layer_made_of_others(random_mask, stream):
    class Block(nn.Module):
        """A convolution whose output is turned around twice, which is not followed."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)

        def forward(self, x):
            return self.norm(self.conv(x)).roll(2, 2)

    axes = {"conv.weight": "out in", "conv.bias": "out"}
    vectors = ("weight", "bias", "running_mean", "running_var")
    axes |= {f"norm.{name}": "out" for name in vectors}
    lwdna.register_rule(Block, lwdna.Rule(axes, generated=("conv.weight",)))
    model = nn.Sequential(nn.Conv2d(3, 12, 1), Block(), nn.Conv2d(12, 2, 1)).eval()
    graph = ChannelGraph(model, X)
    counted = MaskedComplexity(graph)
    assert [layer.name for layer in hyper_layers(graph, model)] == ["1.conv.weight", "0", "2"]
    mask = random_mask(graph)
    small = cut(graph, model, mask)
    verify(graph, small, X, mask, counted, batch_norm=True)
    torch.testing.assert_close(small(X), silence(graph, model, mask)(X), rtol=1e-4, atol=1e-5)
    assert small[1].conv.out_channels == small[1].norm.num_features == len(graph.kept(mask)["1"])
    target = 0.5 * complexity(model, X)[0]
    assert lwdna.shrink(model, X, stream(2, 3, 8, 8), target_flops=target).flops <= target
