"""A sliced forward is that of the network cut by the mask, and trains the shared weights."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import lwdna
from lwdna.graph.channels import ChannelGraph, keeps
from lwdna.graph.slicing import SlicedNetwork
from lwdna.graph.surgery import cut, silence, tensors_of
from lwdna.networks.registry import NETWORKS

models = torchvision.models
MOBILE = ("EfficientNet", "MnasNet", "MobileNetV1", "MobileNetV2", "MobileNetV3-large")
SMALL = {
    **{name: {"width": 0.25} for name in (*MOBILE, "MobileNetV3-small", "ResNet50")},
    **{name: {"width": 0.5} for name in NETWORKS if name.startswith("RegNet")},
    "DenseNet40": {"width": 0.5},
    "EDSR": {"width": 0.125, "blocks": 2},
    "DnCNN": {"width": 0.5, "blocks": 3},
    "U-Net": {"width": 0.25, "depth": 4},
    "SRResNet": {"width": 0.25, "blocks": 2},
}
"""Where a network is built smaller, for time."""

DEEP = {f"ResNet{depth}" for depth in (20, 26, 32, 38, 44, 56, 110)}
"""As ResNet8 and ResNet14, only deeper."""

FOREIGN = {
    "shufflenet_v2_x0_5": lambda: models.shufflenet_v2_x0_5(num_classes=10),
    "convnext_tiny": lambda: models.convnext_tiny(num_classes=10),
    "googlenet": lambda: models.googlenet(num_classes=10, init_weights=False, aux_logits=False),
}


def zoo():
    for name in NETWORKS.keys() - DEEP:
        channels = NETWORKS[name].channels
        yield pytest.param(
            lambda name=name: lwdna.build(name, **SMALL.get(name, {})), channels, id=name
        )
    for name, make in FOREIGN.items():
        yield pytest.param(make, 3, id=name)


def ran(model, x, seed=3):
    torch.manual_seed(seed)  # dropout
    return model(x)


@pytest.mark.parametrize(("make", "channels"), sorted(zoo(), key=lambda case: case.id))
def test_sliced_is_cut_to_the_bit(make, channels, random_mask, scramble, measured):
    model = scramble(make())
    x = torch.randn(2, channels, 32, 32)
    graph = ChannelGraph(model, x)
    sliced = SlicedNetwork(graph, model)
    worst = 0.0
    first = graph.frozen.copy()
    for shared in graph.sets:
        first[shared.elements[: -(-len(shared) // 2)]] = True
    for mask in (random_mask(graph, 0, 0.6), first, random_mask(graph, 0, 0.6)):
        assert not mask.all()
        for training in (True, False):
            model.train(training)
            small = cut(graph, model, mask).train(training)
            expected, found = ran(small, x), ran(lambda x, m=mask: sliced(m, x), x)
            worst = max(worst, float((expected - found).detach().abs().max()))
            assert found.isfinite().all()
    measured(worst)
    assert worst == 0.0


@pytest.mark.parametrize("name", ["ResNet8", "MobileNetV3-small", "RegNetY-200MF", "U-Net"])
def test_gradients_land_in_the_shared_weights(name, random_mask, scramble):
    """They are those of the network that was cut, and exactly 0 for what it lacks."""
    model = scramble(lwdna.build(name, **SMALL.get(name, {}))).train()
    x = torch.randn(4, NETWORKS[name].channels, 32, 32)
    graph = ChannelGraph(model, x)
    mask = random_mask(graph)
    small = cut(graph, model, mask).train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    ran(small, x).square().mean().backward()
    ran(lambda x: SlicedNetwork(graph, model)(mask, x), x).square().mean().backward()
    kept = {
        key: [None if elements is None else keeps(mask, elements) for elements in axes]
        for key, axes in graph.axes.items()
    }
    for (key, whole), own in zip(model.named_parameters(), small.parameters(), strict=True):
        scattered = torch.zeros_like(whole)
        index = [
            np.arange(n) if k is None else np.flatnonzero(k)
            for k, n in zip(kept.get(key, [None] * whole.dim()), whole.shape, strict=True)
        ]
        scattered[np.ix_(*index)] = own.grad
        assert torch.equal(scattered, whole.grad), key
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, before[key]), f"{key} was changed"


def test_sliced_is_what_no_dropped_channel_is_read_in(random_mask, scramble, measured):
    model = scramble(lwdna.build("ResNet14")).double().train()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    graph = ChannelGraph(model, x)
    mask = random_mask(graph)
    silent = silence(graph, model, mask).train()
    difference = float((SlicedNetwork(graph, model)(mask, x) - silent(x)).detach().abs().max())
    measured(difference)
    assert difference <= 1e-12


def test_slices_have_the_layout_of_the_whole(random_mask):
    model = lwdna.build("ResNet8").to(memory_format=torch.channels_last)
    graph = ChannelGraph(model, torch.empty(1, 3, 8, 8))
    mask = random_mask(graph)
    small = tensors_of(cut(graph, model, mask))
    for name, tensor in SlicedNetwork(graph, model).tensors(mask).items():
        assert torch.equal(tensor, small[name]), name
        if tensor.dim() == 4:
            assert tensor.is_contiguous(memory_format=torch.channels_last), name


def test_buffers_and_modes_are_followed():
    """A full mask is the network, but for the statistics that it leaves alone."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    x = torch.randn(8, 3, 4, 4)
    graph = ChannelGraph(model, x)
    sliced = SlicedNetwork(graph, model)
    model[1].eval()
    assert torch.equal(ran(lambda x: sliced(graph.full_mask(), x), x), ran(model, x))
    model.train()
    sliced(graph.full_mask(), x)
    assert model[1].num_batches_tracked == 0
