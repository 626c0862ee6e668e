"""Grouped convolutions cut by equal positions of every group: their number of groups stays."""

import pytest
import torch
import torchvision
from torch import nn

import lwdna
from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.operations import CONVOLUTIONS
from lwdna.graph.surgery import cut, silence, verify
from lwdna.networks.build import build

X = torch.randn(2, 3, 8, 8, dtype=torch.float64)


def conv(inputs, outputs, groups=1, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, **options)


def transposed(inputs, outputs, groups):
    return nn.ConvTranspose2d(inputs, outputs, 3, padding=1, groups=groups)


def chain(**modules):
    return nn.Sequential(*modules.values())


NETWORKS = {
    "more outputs than inputs": (lambda: chain(a=conv(3, 12), g=conv(12, 24, 3), b=conv(24, 2)), 3),
    "transposed": (lambda: chain(a=conv(3, 12), g=transposed(12, 24, 3), b=conv(24, 2)), 3),
    "one after the other": (
        lambda: chain(a=conv(3, 12), g=conv(12, 12, 2), h=conv(12, 24, 4), b=conv(24, 2)),
        2,
    ),
    "a norm in between": (
        lambda: chain(
            a=conv(3, 12),
            n=nn.GroupNorm(6, 12),
            g=conv(12, 12, 2),
            m=nn.BatchNorm2d(12),
            b=conv(12, 2),
        ),
        2,
    ),
    "shuffled": (
        lambda: chain(
            a=conv(3, 12),
            g=conv(12, 12, 3),
            s=nn.ChannelShuffle(3),
            h=conv(12, 12, 3),
            b=conv(12, 2),
        ),
        3,
    ),
    "resnext": (lambda: torchvision.models.resnext50_32x4d(num_classes=5), 32),
    "regnet": (lambda: build("RegNetX-200MF", dataset="cifar100"), 3),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_what_is_cut_computes_what_nobody_reading_it_does(name, random_mask):
    make, groups = NETWORKS[name]
    model = make().double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64) if name in {"resnext", "regnet"} else X
    graph = ChannelGraph(model, x, groups="positions")
    counted = MaskedComplexity(graph)
    full = graph.full_mask()
    assert (counted.flops(full), counted.params(full)) == complexity(model, x)
    grouped = {
        layer: module
        for layer, module in model.named_modules()
        if isinstance(module, CONVOLUTIONS) and module.groups > 1
    }
    for seed in range(3 if len(grouped) < 3 else 1):
        mask = random_mask(graph, seed, share=0.5)
        small = cut(graph, model, mask)
        verify(graph, small, x, mask, counted, batch_norm=True)
        torch.testing.assert_close(small(x), silence(graph, model, mask)(x))
        for layer, before in grouped.items():
            after = small.get_submodule(layer)
            assert after.groups == before.groups
            assert after.in_channels % after.groups == after.out_channels % after.groups == 0
    assert groups in {module.groups for module in grouped.values()}
    assert any(
        small.get_submodule(layer).in_channels < before.in_channels
        for layer, before in grouped.items()
    )


def test_elements_are_positions():
    model = torchvision.models.resnext50_32x4d(num_classes=5)
    x = torch.empty(1, 3, 32, 32)
    sets = {s.name: s for s in ChannelGraph(model, x, groups="positions").sets}
    assert len(sets["layer1.0.conv1"]) == len(sets["layer1.0.conv2"]) == 4
    assert sets["layer1.0.conv1"].reasons == ("equal positions in the groups of layer1.0.conv2",)
    assert sets["layer1.0.conv1"].readers == ("layer1.0.conv2",)
    whole = {s.name: s for s in ChannelGraph(model, x).sets}
    assert len(whole["layer1.0.conv1"]) == 32 and "layer1.0.conv2" not in whole


def test_a_depthwise_convolution_is_as_ever():
    model, x = build("MobileNetV2"), torch.empty(1, 3, 64, 64)
    whole, positions = (ChannelGraph(model, x, groups=g) for g in ("whole", "positions"))
    assert positions.explain() == whole.explain()


def test_another_word():
    with pytest.raises(ConfigError, match="'position': did you mean 'positions'"):
        ChannelGraph(build("ResNet8"), torch.empty(1, 3, 32, 32), groups="position")
    with pytest.raises(ConfigError, match="'position': did you mean 'positions'"):
        lwdna.shrink(
            build("ResNet8"),
            torch.empty(1, 3, 32, 32),
            None,
            target_flops=1e6,
            criterion="magnitude",
            groups="position",
        )


@pytest.mark.parametrize("factor", [2, 1.5])
def test_widened_by_positions(factor):
    model, x = torchvision.models.resnext50_32x4d(num_classes=5), torch.zeros(1, 3, 32, 32)
    wide = lwdna.widen(model, x, factor, groups="positions")
    before, after = model.layer1[0].conv2, wide.layer1[0].conv2
    assert (after.groups, after.in_channels) == (32, factor * before.in_channels)
    assert wide.eval()(x).shape == (1, 5)
    assert lwdna.complexity(wide, x)[0] <= factor**2 * lwdna.complexity(model, x)[0]
