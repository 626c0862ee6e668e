"""The channel graph: what is tied to what, and what cannot be followed."""

import copy
import re

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from lwdna.errors import GraphError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import cut, silence
from lwdna.networks.build import build

X = torch.zeros(1, 3, 8, 8)


def sets(graph):
    """By first maker the length and all makers of each set, without those of the inputs."""
    return {s.name: (len(s), s.makers[1:]) for s in graph.sets if not s.name.startswith("input")}


def conv(*arguments, **options):
    return nn.Conv2d(*arguments, **options)


def layers(**channels):
    """1 x 1 convolutions by name, ``a=(3, 8)``."""
    return {name: nn.Conv2d(*sizes, 1) for name, sizes in channels.items()}


class SqueezeExcitation(nn.Module):
    def __init__(self, channels, squeeze):
        super().__init__()
        self.down, self.up = nn.Linear(channels, squeeze), nn.Linear(squeeze, channels)

    def forward(self, x):
        gate = torch.sigmoid(self.up(functional.relu(self.down(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


CASES = {
    "chain": (
        lambda self, x: self.b(self.a(x)),
        layers(a=(3, 8), b=(8, 2)),
        {"a": (8, ()), "b": (2, ())},
    ),
    "residual add": (
        lambda self, x: self.d(self.a(x) + self.c(self.b(self.a(x)))),
        layers(a=(3, 8), b=(8, 5), c=(5, 8), d=(8, 2)),
        {"a": (8, ("c",)), "b": (5, ()), "d": (2, ())},
    ),
    "in-place add": (
        lambda self, x: self.c(self.a(x).add_(self.b(x)).relu_()),
        layers(a=(3, 8), b=(3, 8), c=(8, 2)),
        {"a": (8, ("b",)), "c": (2, ())},
    ),
    "subtraction and product": (
        lambda self, x: self.d((self.a(x) - self.b(x)) * self.c(x)),
        layers(a=(3, 8), b=(3, 8), c=(3, 8), d=(8, 2)),
        {"a": (8, ("b", "c")), "d": (2, ())},
    ),
    "gate of one channel": (
        lambda self, x: self.c(self.a(x) * torch.sigmoid(self.b(x))),
        layers(a=(3, 8), b=(3, 1), c=(8, 2)),
        # One channel for all of a: it stays, and couples nothing.
        {"a": (8, ()), "b": (1, ()), "c": (2, ())},
    ),
    "squeeze and excitation of convolutions": (
        lambda self, x: self.d(
            self.a(x) * self.c(functional.adaptive_avg_pool2d(self.b(self.a(x)), 1)).sigmoid()
        ),
        layers(a=(3, 8), b=(8, 4), c=(4, 8), d=(8, 2)),
        {"a": (8, ("c",)), "b": (4, ()), "d": (2, ())},
    ),
    "squeeze and excitation of linear layers": (
        lambda self, x: self.b(self.se(self.a(x))),
        layers(a=(3, 8), b=(8, 2)) | {"se": SqueezeExcitation(8, 4)},
        {"a": (8, ("se.up",)), "se.down": (4, ()), "b": (2, ())},
    ),
    "depthwise": (
        lambda self, x: self.b(self.dw(self.a(x))),
        layers(a=(3, 8), b=(8, 2)) | {"dw": conv(8, 8, 3, groups=8)},
        {"a": (8, ("dw",)), "b": (2, ())},
    ),
    "depthwise with a multiplier": (
        lambda self, x: self.b(self.dw(self.a(x))),
        layers(a=(3, 8), b=(24, 2)) | {"dw": conv(8, 24, 3, groups=8)},
        {"a": (8, ("dw",)), "b": (2, ())},
    ),
    "grouped": (
        lambda self, x: self.b(self.g(self.a(x))),
        layers(a=(3, 12), b=(6, 2)) | {"g": conv(12, 6, 3, groups=3)},
        {"a": (3, ("g",)), "b": (2, ())},
    ),
    "grouped after grouped with other groups": (
        lambda self, x: self.b(self.h(self.g(self.a(x)))),
        layers(a=(3, 12), b=(12, 2))
        | {"g": conv(12, 12, 1, groups=6), "h": conv(12, 12, 1, groups=4)},
        # Pairs and triples tie in sixes.
        {"a": (2, ("g", "h")), "b": (2, ())},
    ),
    "transposed": (
        lambda self, x: self.b(self.t(self.a(x))),
        layers(a=(3, 8), b=(5, 2)) | {"t": nn.ConvTranspose2d(8, 5, 2, stride=2)},
        {"a": (8, ()), "t": (5, ()), "b": (2, ())},
    ),
    "grouped transposed": (
        lambda self, x: self.b(self.t(self.a(x))),
        layers(a=(3, 8), b=(12, 2)) | {"t": nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4)},
        {"a": (4, ("t",)), "b": (2, ())},
    ),
    "concatenation": (
        lambda self, x: self.c(torch.cat([self.a(x), self.b(x), x], dim=1)),
        layers(a=(3, 8), b=(3, 4), c=(15, 2)),
        {"a": (8, ()), "b": (4, ()), "c": (2, ())},
    ),
    "concatenation then add": (
        lambda self, x: self.d(torch.cat((self.a(x), self.b(x)), -3) + self.c(x)),
        layers(a=(3, 8), b=(3, 4), c=(3, 12), d=(12, 2)),
        {"a": (12, ("b", "c")), "d": (2, ())},
    ),
    "flatten before linear": (
        lambda self, x: self.fc(torch.flatten(self.a(x), 1)),
        layers(a=(3, 8)) | {"fc": nn.Linear(512, 5)},
        {"a": (8, ()), "fc": (5, ())},
    ),
    "view before linear": (
        lambda self, x: self.fc(self.a(x).view(x.size(0), -1)),
        layers(a=(3, 8)) | {"fc": nn.Linear(512, 5)},
        {"a": (8, ()), "fc": (5, ())},
    ),
    "reshape before linear": (
        lambda self, x: self.fc(self.a(x).reshape(x.shape[0], -1)),
        layers(a=(3, 8)) | {"fc": nn.Linear(512, 5)},
        {"a": (8, ()), "fc": (5, ())},
    ),
    "mean over space": (
        lambda self, x: self.fc(self.a(x).mean(-1).mean(dim=2)),
        layers(a=(3, 8)) | {"fc": nn.Linear(8, 5)},
        {"a": (8, ()), "fc": (5, ())},
    ),
    "channels last": (
        lambda self, x: self.fc(self.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        layers(a=(3, 8)) | {"fc": nn.Linear(8, 5)},
        {"a": (8, ()), "fc": (5, ())},
    ),
    "adaptive pooling": (
        lambda self, x: self.fc(functional.adaptive_avg_pool2d(self.a(x), 2).flatten(1)),
        layers(a=(3, 8)) | {"fc": nn.Linear(32, 5)},
        {"a": (8, ()), "fc": (5, ())},
    ),
    "pixel shuffle": (
        lambda self, x: self.b(self.shuffle(self.a(x))),
        layers(a=(3, 12), b=(3, 2)) | {"shuffle": nn.PixelShuffle(2)},
        {"a": (3, ()), "b": (2, ())},
    ),
    "functional pixel shuffle": (
        lambda self, x: self.b(functional.pixel_shuffle(self.a(x), upscale_factor=2)),
        layers(a=(3, 12), b=(3, 2)),
        {"a": (3, ()), "b": (2, ())},
    ),
    "pixel unshuffle": (
        lambda self, x: self.b(functional.pixel_unshuffle(self.a(x), 2)),
        layers(a=(3, 3), b=(12, 2)),
        {"a": (3, ()), "b": (2, ())},
    ),
    "PReLU and batch norm": (
        lambda self, x: self.b(self.p(self.bn(self.a(x)))),
        layers(a=(3, 8), b=(8, 2)) | {"p": nn.PReLU(8), "bn": nn.BatchNorm2d(8)},
        {"a": (8, ()), "b": (2, ())},
    ),
    "layer called twice": (
        lambda self, x: self.c(self.b(self.b(self.a(x)))),
        layers(a=(3, 8), b=(8, 8), c=(8, 2)),
        {"a": (8, ("b",)), "c": (2, ())},
    ),
    "batch norm shared by two branches": (
        lambda self, x: self.c(self.bn(self.a(x))) + self.d(self.bn(self.b(x))),
        layers(a=(3, 8), b=(3, 8), c=(8, 2), d=(8, 2)) | {"bn": nn.BatchNorm2d(8)},
        {"a": (8, ("b",)), "c": (2, ("d",))},
    ),
    "functional pooling and resizing": (
        lambda self, x: self.b(
            functional.interpolate(functional.max_pool2d(functional.relu(self.a(x)), 2), None, 2.0)
        ),
        layers(a=(3, 8), b=(8, 2)),
        {"a": (8, ()), "b": (2, ())},
    ),
    "padding of space": (
        lambda self, x: self.b(functional.pad(self.a(x), (1, 1, 0, 2))),
        layers(a=(3, 8), b=(8, 2)),
        {"a": (8, ()), "b": (2, ())},
    ),
    "slice of space": (
        lambda self, x: self.b(self.a(x)[:, :, ::2, 1:]),
        layers(a=(3, 8), b=(8, 2)),
        {"a": (8, ()), "b": (2, ())},
    ),
    "repeated channels": (
        lambda self, x: self.b(self.a(x).repeat(1, 2, 1, 1)),
        layers(a=(3, 8), b=(16, 2)),
        {"a": (8, ()), "b": (2, ())},
    ),
    "hidden linear layer": (
        lambda self, x: self.out(self.fc(self.a(x).mean((2, 3))).relu()),
        layers(a=(3, 8)) | {"fc": nn.Linear(8, 6), "out": nn.Linear(6, 5)},
        {"a": (8, ()), "fc": (6, ()), "out": (5, ())},
    ),
    "first layer is linear": (
        lambda self, x: self.b(self.unflatten(self.fc(x.flatten(1)))),
        layers(b=(5, 2)) | {"fc": nn.Linear(192, 20), "unflatten": nn.Unflatten(1, (-1, 2, 2))},
        {"fc": (5, ()), "b": (2, ())},
    ),
    "modules nested and idle": (
        lambda self, x: self.blocks[1](self.blocks[0][0](x)),
        {"blocks": nn.ModuleList([nn.Sequential(conv(3, 8, 1)), conv(8, 2, 1), conv(9, 9, 1)])},
        {"blocks.0.0": (8, ()), "blocks.1": (2, ())},
    ),
}


def used(case):
    run, modules, expected = CASES[case]
    return run, copy.deepcopy(modules), expected


@pytest.mark.parametrize("case", CASES)
def test_sets(case, net):
    run, modules, expected = used(case)
    assert sets(ChannelGraph(net(run, **modules), X)) == expected


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_surgery_agrees_with_the_graph(case, seed, net, random_mask, scramble):
    """A wrong coupling makes another function, or does not run."""
    run, modules, _ = used(case)
    model = scramble(net(run, **modules)).double().eval()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    graph = ChannelGraph(model, x)
    mask = random_mask(graph, seed, 0.5)
    small = cut(graph, model, mask)
    torch.testing.assert_close(small(x), silence(graph, model, mask)(x), rtol=1e-10, atol=1e-10)
    counted = MaskedComplexity(graph)
    assert complexity(small, x) == (counted.flops(mask), counted.params(mask))
    for channels in graph.sets:
        assert mask[channels.elements].any()


@pytest.mark.parametrize("case", CASES)
def test_inputs_and_outputs_are_frozen_and_nothing_else(case, net):
    run, modules, _ = used(case)
    graph = ChannelGraph(net(run, **modules), X)
    source, *others = graph.sets
    assert source.name == "input x"
    assert (len(source), source.prunable) == (3, False)
    outputs = {s.name for s in others if s.frozen.any()}
    if case == "gate of one channel":
        outputs.remove("b")  # which weighs all channels of another layer
    assert len(outputs) == 1  # each of these networks ends in one layer, or in a sum
    assert all(s.frozen.all() for s in others if s.name in outputs)


def test_members_of_sets(net):
    """Which channel is which: the halves of a sum meet the parts of a concatenation."""
    run, modules, _ = used("concatenation then add")
    graph = ChannelGraph(net(run, **modules), X)
    made = {name: layer.outputs for name, layer in graph.layers.items()}
    assert np.array_equal(np.concatenate([made["a"], made["b"]]), made["c"])
    assert np.array_equal(graph.layers["d"].inputs, made["c"])
    assert graph.sets[1].readers == ("d",)

    run, modules, _ = used("pixel shuffle")
    graph = ChannelGraph(net(run, **modules), X)
    assert np.array_equal(graph.layers["a"].outputs, np.repeat(graph.layers["b"].inputs, 4))

    run, modules, _ = used("pixel unshuffle")
    graph = ChannelGraph(net(run, **modules), X)
    assert np.array_equal(np.repeat(graph.layers["a"].outputs, 4), graph.layers["b"].inputs)

    run, modules, _ = used("flatten before linear")
    graph = ChannelGraph(net(run, **modules), X)
    assert np.array_equal(np.repeat(graph.layers["a"].outputs, 64), graph.layers["fc"].inputs)

    run, modules, _ = used("repeated channels")
    graph = ChannelGraph(net(run, **modules), X)
    assert np.array_equal(np.tile(graph.layers["a"].outputs, 2), graph.layers["b"].inputs)

    run, modules, _ = used("grouped")
    graph = ChannelGraph(net(run, **modules), X)
    assert np.array_equal(graph.layers["a"].outputs, np.repeat(graph.sets[1].elements, 4))
    assert np.array_equal(graph.layers["g"].outputs, np.repeat(graph.sets[1].elements, 2))


def test_kept_names_the_output_channels_of_every_layer(net):
    run, modules, _ = used("grouped")
    graph = ChannelGraph(net(run, **modules), X)
    mask = graph.full_mask()
    mask[graph.sets[1].elements[1]] = False
    assert graph.kept(mask) == {"a": [0, 1, 2, 3, 8, 9, 10, 11], "g": [0, 1, 4, 5], "b": [0, 1]}


def test_every_parameter_of_a_layer_has_its_axes(net):
    modules = layers(a=(3, 8)) | {
        "bn": nn.BatchNorm2d(8),
        "p": nn.PReLU(8),
        "t": nn.ConvTranspose2d(8, 5, 2),
    }
    model = net(lambda self, x: self.t(self.p(self.bn(self.a(x)))), **modules)
    graph = ChannelGraph(model, X)
    middle = graph.layers["a"].outputs
    for name in ("a.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "p.weight"):
        (axis,) = graph.axes[name]
        assert np.array_equal(axis, middle), name
    first, second, *kernel = graph.axes["t.weight"]
    assert np.array_equal(first, middle)
    assert np.array_equal(second, graph.layers["t"].outputs)
    assert kernel == [None, None]
    assert graph.sets[1].followers == ("bn", "p")
    assert "bn.num_batches_tracked" not in graph.axes


def test_part_of_a_set_is_frozen(net):
    """Channels that end in the output beside channels that do not."""

    def run(self, x):
        return self.d(torch.cat([self.a(x), self.b(x)], 1) + self.c(x)), self.a(x)

    model = net(run, **layers(a=(3, 4), b=(3, 8), c=(3, 12), d=(12, 2)))
    graph = ChannelGraph(model, X)
    (middle,) = [s for s in graph.sets if s.name == "a"]
    assert middle.frozen.tolist() == [True] * 4 + [False] * 8
    assert middle.prunable
    assert "12 elements, 4 of them frozen" in graph.explain()


def test_layer_with_a_fixed_weight_keeps_its_outputs(net):
    """Nothing scores them."""
    model = net(lambda self, x: self.c(self.b(self.a(x))), **layers(a=(3, 8), b=(8, 8), c=(8, 2)))
    model.b.weight.requires_grad_(False)
    graph = ChannelGraph(model, X)
    prunable = {s.name: s.prunable for s in graph.sets}
    assert (prunable["b"], prunable["c"]) == (False, False)
    model.b.weight.requires_grad_(True)
    assert {s.name for s in ChannelGraph(model, X).sets if s.prunable} == {"a", "b"}


def test_colours_before_a_fixed_layer_are_kept():
    """Nothing learned comes after EDSR's tail that could make up for a colour."""
    graph = ChannelGraph(build("EDSR", width=0.1, blocks=1), X)
    frozen = {s.name for s in graph.sets if not s.prunable}
    assert frozen == {"input x", "sub_mean", "tail", "add_mean"}


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (8, 1, 1)], ids=str)
@pytest.mark.parametrize("buffer", [False, True])
def test_scale_per_channel_follows_its_channels(net, random_mask, shape, buffer):
    model = net(lambda self, x: self.b(self.a(x) * self.scale), **layers(a=(3, 8), b=(8, 2)))
    if buffer:
        model.register_buffer("scale", torch.rand(shape))
    else:
        model.scale = nn.Parameter(torch.rand(shape))
    x = torch.randn(1, 3, 8, 8)
    graph = ChannelGraph(model, x)
    assert sets(graph) == {"a": (8, ()), "b": (2, ())}
    mask = random_mask(graph)
    small = cut(graph, model, mask)
    torch.testing.assert_close(small(x), silence(graph, model, mask)(x))
    assert small.scale.shape[-3] == len(graph.kept(mask)["a"]) < 8


@pytest.mark.parametrize(
    ("case", "classifiers"),
    [
        ("flatten before linear", ["a"]),
        ("mean over space", ["a"]),
        ("hidden linear layer", ["fc"]),
        ("squeeze and excitation of linear layers", []),
        ("chain", []),
        ("first layer is linear", []),
    ],
)
def test_what_feeds_the_classifier(net, case, classifiers):
    run, modules, _ = used(case)
    graph = ChannelGraph(net(run, **modules), X)
    assert [s.name for s in graph.sets if s.feeds_classifier] == classifiers


@pytest.mark.parametrize(
    ("name", "makers"),
    [("ResNet8", "stages.2.0.conv2"), ("MobileNetV1", "features.13.1.0"), ("EDSR", None)],
)
def test_classifier_of_the_papers_networks(name, makers):
    with torch.device("meta"):
        model = build(name, width=0.25)
    graph = ChannelGraph(model, torch.empty(1, 3, 32, 32))
    feeding = [s.makers for s in graph.sets if s.feeds_classifier]
    assert (makers in feeding[0]) if makers else feeding == []


def test_sets_of_the_paper():
    """Facts of the authors' code: what shares a latent vector."""

    def read(name, channels, width=1.0):
        with torch.device("meta"):
            model = build(name, width=width)
        return ChannelGraph(model, torch.empty(1, channels, 32, 32))

    resnet, edsr = read("ResNet56", 3, width=2), read("EDSR", 3)
    unet, mobile = read("U-Net", 1), read("MobileNetV1", 3)
    # Input, three stages, the inside of 27 blocks, the logits.
    assert sorted(len(s) for s in resnet.sets) == sorted(
        [3, 10, *[32] * 10, *[64] * 10, *[128] * 10]
    )
    trunk = next(s for s in edsr.sets if s.name == "head")
    assert len(trunk) == 128
    assert trunk.makers == ("head", *(f"body.{i}.conv2" for i in range(8)), "body.8")
    shuffled = [s for s in edsr.sets if s.name.startswith("upsample")]
    assert [len(s) for s in shuffled] == [128, 128]
    # Also input, trunk, the inside of 8 blocks, and the three colours thrice.
    assert len(edsr.sets) == 2 + 8 + 2 + 3
    assert len(unet.sets) == 24
    assert np.array_equal(
        unet.layers["up.0.convs.conv1"].inputs,
        np.concatenate([unet.layers["up.0.up"].outputs, unet.layers["down.3.conv2"].outputs]),
    )
    assert len(mobile.sets) == 1 + 14 + 1


def test_two_inputs_and_several_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 8, 1), conv(1, 8, 1), conv(8, 2, 1)

        def forward(self, image, depth):
            h = self.a(image) + self.b(depth)
            return {"mask": self.c(h), "features": [h.mean((2, 3))]}

    graph = ChannelGraph(Two(), (X, torch.zeros(1, 1, 8, 8)))
    assert [(s.name, len(s), s.prunable) for s in graph.sets] == [
        ("input image", 3, False),
        ("input depth", 1, False),
        ("a", 8, False),
        ("c", 2, False),
    ]


@pytest.mark.parametrize("dimensions", [1, 3])
def test_other_dimensions(dimensions, random_mask, scramble):
    kind = f"{dimensions}d"
    make = {name: getattr(nn, name + kind) for name in ("Conv", "ConvTranspose", "BatchNorm")}
    model = nn.Sequential(
        make["Conv"](3, 8, 3),
        make["BatchNorm"](8),
        nn.ReLU(inplace=True),
        getattr(nn, f"MaxPool{kind}")(2),
        make["ConvTranspose"](8, 12, 2, groups=4),
        getattr(nn, f"AdaptiveAvgPool{kind}")(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    model = scramble(model).double().eval()
    x = torch.randn(2, 3, *[6] * dimensions, dtype=torch.float64)
    graph = ChannelGraph(model, x)
    assert sets(graph) == {"0": (4, ("4",)), "7": (5, ())}
    mask = random_mask(graph, 0, 0.5)
    small = cut(graph, model, mask)
    torch.testing.assert_close(small(x), silence(graph, model, mask)(x))
    assert graph.full_mask().sum() > mask.sum()


def test_subclass_of_a_layer_is_that_layer():
    class Named(nn.Conv2d):
        pass

    assert sets(ChannelGraph(nn.Sequential(Named(3, 8, 1), Named(8, 2, 1)), X)) == {
        "0": (8, ()),
        "1": (2, ()),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("images", [1, 4])
def test_reading_leaves_no_trace(snapshot, scramble, training, images):
    model = scramble(build("MobileNetV1", width=0.25)).train(training)
    before = snapshot(model)
    graph = ChannelGraph(model, torch.zeros(images, 3, 64, 64))
    graph.explain()
    MaskedComplexity(graph).flops(graph.full_mask())
    snapshot.compare(model, before)
    assert graph.sets[1].makers == ("features.0.0", "features.1.0.0")


def test_batch_size_does_not_matter():
    model = build("ResNet8")
    one, four = (ChannelGraph(model, torch.zeros(n, 3, 32, 32)) for n in (1, 4))
    assert [s.makers for s in one.sets] == [s.makers for s in four.sets]
    assert [(a.name, 4 * a.positions) for a in one.activities] == [
        (a.name, a.positions) for a in four.activities
    ]
    assert (one.batch, four.batch) == (1, 4)


def test_explain():
    text = ChannelGraph(build("ResNet8"), torch.zeros(1, 3, 32, 32)).explain()
    assert "1. input x: 3 elements, frozen (input or output of the network)" in text
    start = text.index("2. stem.0: 16 elements\n")
    stem = text[start : text.index("\n3. ")]
    assert "made by: stem.0; stages.0.0.conv2" in stem
    assert "read by: stages.0.0.conv1; stages.1.0.conv1; stages.1.0.shortcut.0" in stem
    assert "with: stem.1; stages.0.0.bn2" in stem
    assert "because: add at stages.0.0" in stem
    last = text[text.index("stages.2.0.conv2") :]
    assert "feeds the classifier (floor tau)" in last
    assert text.count("feeds the classifier") == 1


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("depthwise", "depthwise convolution dw"),
        ("grouped", "whole groups of g"),
        ("layer called twice", "b is called more than once"),
        ("squeeze and excitation of linear layers", "mul at se"),
        ("pixel shuffle", "pixel shuffle or reshape at shuffle"),
    ],
)
def test_reasons(net, case, reason):
    run, modules, _ = used(case)
    graph = ChannelGraph(net(run, **modules), X)
    assert reason in graph.sets[1].reasons
    assert reason in graph.explain()


# -- what cannot be followed -----------------------------------------------------------------------

TWO = layers(a=(3, 8), b=(8, 2))
UNFOLLOWED = {
    "matmul": (lambda self, x: self.b(torch.matmul(self.a(x), self.a(x))), "matmul"),
    "operator matmul": (lambda self, x: self.b(self.a(x) @ self.a(x)), "matmul"),
    "einsum": (lambda self, x: self.b(torch.einsum("bchw->bchw", self.a(x))), "einsum"),
    "roll": (lambda self, x: self.b(self.a(x).roll(1, 1)), "roll"),
    "computed weight": (
        lambda self, x: functional.conv2d(self.a(x), 2 * self.b.weight),
        "operation 'conv2d' with a weight that is not that of nn.Conv2d",
    ),
    "weight of another kind of layer": (
        lambda self, x: functional.conv_transpose2d(self.a(x), self.b.weight.transpose(0, 1)),
        "operation 'conv_transpose2d' with a weight",
    ),
}


@pytest.mark.parametrize("case", UNFOLLOWED)
def test_unknown_operation_is_named(net, case, caplog):
    run, what = UNFOLLOWED[case]
    graph = ChannelGraph(net(run, **copy.deepcopy(TWO)), X)
    (named,) = graph.unfollowed
    assert re.match(f".*{what}.*test_channels.py:\\d+", named)
    assert caplog.text.count(named) == 1
    assert f"not followed: {named}" in graph.explain()
    assert not any(channels.prunable for channels in graph.sets)


def test_padding_of_channels_is_followed(net, random_mask):
    """The shortcut of type A."""
    modules = layers(a=(3, 6), b=(8, 2))
    model = net(lambda self, x: self.b(functional.pad(self.a(x), (0, 0, 0, 0, 1, 1))), **modules)
    x = torch.randn(1, 3, 4, 4)
    graph = ChannelGraph(model, x)
    assert graph.layers["b"].inputs[[0, -1]].tolist() == [-1, -1]
    mask = random_mask(graph)
    assert not mask.all()
    torch.testing.assert_close(cut(graph, model, mask)(x), silence(graph, model, mask)(x))


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.LocalResponseNorm(2), "LocalResponseNorm"),
        (nn.CrossMapLRN2d(2), "CrossMapLRN2d"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_module_is_named(net, module, kind):
    model = net(lambda self, x: self.b(self.inner.norm(self.a(x))), **copy.deepcopy(TWO))
    model.inner = nn.Module()
    model.inner.norm = module
    graph = ChannelGraph(model, X)
    assert f"type {kind} at module 'inner.norm'" in graph.unfollowed[0]
    assert not any(channels.prunable for channels in graph.sets)


def test_recurrent_module_is_named(net):
    model = net(lambda self, x: self.rnn(self.a(x).flatten(2))[0], a=conv(3, 8, 1))
    model.rnn = nn.LSTM(64, 5, batch_first=True)
    graph = ChannelGraph(model, X)
    assert "type LSTM at module 'rnn'" in graph.unfollowed[0]
    assert "type LSTM at module 'rnn'" in graph.uncounted[0]


def test_nested_operation_names_its_module():
    class Inner(nn.Module):
        def forward(self, x):
            return x.roll(1, 1)

    model = nn.Sequential(conv(3, 8, 1), nn.Sequential(Inner()), conv(8, 2, 1))
    (named,) = ChannelGraph(model, X).unfollowed
    assert re.search(r"operation 'roll' at module '1\.0' .*x\.roll\(1, 1\)", named)


def test_control_flow_is_named(net):
    def run(self, x):
        if x.mean() > 0:
            return self.a(x)
        return self.a(-x)

    line = run.__code__.co_firstlineno + 1
    with pytest.raises(GraphError, match=rf"test_channels\.py:{line} \(if x\.mean\(\) > 0:\)"):
        ChannelGraph(net(run, **copy.deepcopy(TWO)), X)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3), (3, 8, 8), (1, 3, 0, 0)], ids=str)
def test_example_input_of_the_wrong_shape(shape):
    with pytest.raises(GraphError, match="x".join(map(str, shape))):
        ChannelGraph(build("ResNet8"), torch.zeros(shape))


@pytest.mark.parametrize(
    ("norm", "images"),
    [
        (nn.BatchNorm1d(6), (1, 3, 8, 8)),
        (nn.BatchNorm2d(6), (1, 3, 8)),
        (nn.BatchNorm3d(6), (1, 3, 8)),
    ],
    ids=str,
)
def test_a_norm_for_another_number_of_axes_is_refused(norm, images):
    conv = nn.Conv1d(3, 6, 1) if len(images) == 3 else nn.Conv2d(3, 6, 1)
    with pytest.raises(GraphError, match=r"does not run on .*expected .*input"):
        ChannelGraph(nn.Sequential(conv, norm), torch.zeros(images))


def test_example_input_of_the_wrong_kind():
    with pytest.raises(GraphError, match=r"\(float\).*\(double\)"):
        ChannelGraph(build("ResNet8").double(), X)


def test_missing_second_input():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(GraphError):
        ChannelGraph(Two(), X)


# -- couplings that are easily followed wrongly ----------------------------------------------------


@pytest.mark.parametrize("functionally", [False, True])
def test_channel_shuffle_never_takes_wrong_channels(net, functionally):
    """Its groups move when channels go: refuse it, or drop only what leaves them aligned."""
    modules = layers(a=(3, 8), b=(8, 2)) | {"shuffle": nn.ChannelShuffle(2)}

    def run(self, x):
        h = self.a(x)
        h = functional.channel_shuffle(h, 2) if functionally else self.shuffle(h)
        return self.b(h)

    model, x = net(run, **modules), torch.randn(1, 3, 4, 4)
    try:
        graph = ChannelGraph(model, x)
    except GraphError as error:
        assert "shuffle" in str(error)
        return
    mask = graph.full_mask()
    free = next(s for s in graph.sets if s.name == "a")
    mask[free.elements[: len(free) // 4]] = False
    torch.testing.assert_close(cut(graph, model, mask)(x), silence(graph, model, mask)(x))


@pytest.mark.parametrize(
    "wrap",
    [nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm],
    ids=["weight", "spectral"],
)
def test_reparametrised_layer_is_followed_or_refused(wrap, random_mask):
    model = nn.Sequential(wrap(conv(3, 8, 1)), conv(8, 2, 1)).eval()
    x = torch.randn(1, 3, 4, 4)
    try:
        graph = ChannelGraph(model, x)
        mask = random_mask(graph)
        small = cut(graph, model, mask)
    except GraphError as error:
        assert "'0'" in str(error) or "parametri" in str(error)
        return
    torch.testing.assert_close(small(x), silence(graph, model, mask)(x))


def test_optional_argument_is_left_out():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 8, 1), conv(8, 2, 1)

        def forward(self, x, mask=None):
            x = self.a(x)
            if mask is not None:
                x = x * mask
            return self.b(x)

    assert sets(ChannelGraph(Optional(), X)) == {"a": (8, ()), "b": (2, ())}


def test_new_tensor_beside_channels(net):
    """Zeros put beside channels belong to none; they must not disappear, nor confuse."""

    def run(self, x):
        h = self.a(x)
        return self.b(torch.cat([h, torch.ones(1, 2, 8, 8)], 1))

    model = net(run, **layers(a=(3, 6), b=(8, 2)))
    try:
        graph = ChannelGraph(model, X)
    except GraphError as error:
        assert "cat" in str(error) or "ones" in str(error)
        return
    assert graph.layers["b"].inputs.tolist()[-2:] == [-1, -1]


def test_transposition_as_an_attribute(net):
    model = net(lambda self, x: self.b(self.a(x).mT), **copy.deepcopy(TWO))
    try:
        assert sets(ChannelGraph(model, X)) == {"a": (8, ()), "b": (2, ())}
    except GraphError as error:
        assert "mT" in str(error)


def test_single_layer_as_a_network():
    with pytest.raises(GraphError, match=r"single layer of type Conv2d; put it into an nn\.Seq"):
        ChannelGraph(conv(3, 2, 1), X)


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v2", "mnasnet1_0", "efficientnet_b0", "squeezenet1_1", "vgg11"]
)
def test_networks_of_torchvision_are_followed(name):
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(num_classes=10)
    x = torch.empty(1, 3, 64, 64)
    graph = ChannelGraph(model, x)
    # Half of every set: what is left is consistent wherever it runs.
    mask = graph.full_mask()
    for channels in graph.sets:
        free = channels.elements[~channels.frozen]
        mask[free[: len(free) // 2]] = False
    counted = MaskedComplexity(graph)
    assert complexity(cut(graph, model, mask), x) == (counted.flops(mask), counted.params(mask))
    assert counted.flops(mask) < 0.5 * counted.flops(graph.full_mask())
