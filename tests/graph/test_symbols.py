"""What symbols meet: tensors made from sizes, parts that are set, modules made in forward."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lwdna.errors import GraphError
from lwdna.graph.channels import ChannelGraph

X = torch.randn(2, 3, 8, 8)


def conv(inputs, outputs, kernel=3):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class Beside(nn.Module):
    """Something is made of a tensor ``(B, 8, H, W)`` and read instead of it."""

    def __init__(self, make, channels=8):
        super().__init__()
        self.make, self.a, self.b = make, conv(3, 8), conv(channels, 4)

    def forward(self, x):
        return self.b(self.make(self.a(x)))


def coordinates(x):
    b, _, h, w = x.size()
    lines = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij")).to(x)[None].repeat(b, 1, 1, 1)
    return torch.cat([x, grid / max(h, w)], 1)


def interleaved(x):
    b, c, h, w = x.shape
    out = torch.zeros(b, c, 2 * h, w, dtype=x.dtype, device=x.device)
    out[:, :, ::2], out[:, :, 1::2] = x, x.flip(3)
    return out


def wavelet(x):
    b, c, h, w = x.size()
    parts = x.view(b, 4, c // 4, h, w)
    out = torch.zeros([b, c // 4, 2 * h, 2 * w]).to(x)
    for i in range(4):
        out[:, :, i // 2 :: 2, i % 2 :: 2] = parts[:, i]
    return out


def with_numpy(x):
    side = int(np.sqrt(np.prod(x.shape[2:])))
    return functional.adaptive_avg_pool2d(x, side // 2)


def if_a_tensor(x):
    things = [x]
    return things[0] if isinstance(things[0], torch.Tensor) else things


MADE = {
    "zeros": (lambda x: torch.cat([x, torch.zeros(x.size(0), 2, *x.shape[2:]).to(x)], 1), 10),
    "ones on a device": (
        lambda x: torch.cat([x, torch.ones(len(x), 2, 8, x.size(3), device=x.device).to(x)], 1),
        10,
    ),
    "full": (lambda x: x + torch.full((x.size(0), x.size(1), 8, 8), 0.5).to(x), 8),
    "coordinates": (coordinates, 10),
    "rows set": (interleaved, 8),
    "wavelet": (wavelet, 2),
    "numpy": (with_numpy, 8),
    "math": (lambda x: functional.avg_pool2d(x, math.ceil(x.size(2) / 4)), 8),
    "from numpy": (lambda x: x + torch.from_numpy(np.ones((1, 1, 8, 8))).to(x), 8),
    "devices": (lambda x: x.cpu().to("cpu"), 8),
    "activation": (lambda x: nn.ReLU()(x - 0.5), 8),
    "pooling": (lambda x: nn.AvgPool2d(x.shape[-1] // 4)(x), 8),
    "modules": (lambda x: nn.Sequential(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1))(x + 1), 8),
    "asked for its class": (if_a_tensor, 8),
    "checkpoint": (
        lambda x: torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=False),
        8,
    ),
}


def beside(make, channels=8):
    def build():
        torch.manual_seed(0)
        return Beside(make, channels)

    return build


@pytest.mark.parametrize("case", MADE)
def test_networks_that_make_things(case, proven):
    graph, _ = proven(beside(*MADE[case]), X)
    assert graph.unfollowed == []


EINOPS = {
    "channels last": ("b c h w -> b h w c", {}, 8, (0, 3, 1, 2)),
    "shuffle": ("b (g c) h w -> b (c g) h w", {"g": 4}, 8, None),
    "pixels": ("b (c p q) h w -> b c (h p) (w q)", {"p": 2, "q": 2}, 2, None),
}


@pytest.mark.parametrize("case", EINOPS)
def test_einops(case, proven):
    einops = pytest.importorskip("einops")
    pattern, sizes, channels, back = EINOPS[case]

    def make(x):
        x = einops.rearrange(x, pattern, **sizes)
        return x if back is None else x.permute(back)

    reckons = einops.einops._reconstruct_from_shape
    graph, _ = proven(beside(make, channels), X)
    assert graph.sets[1].prunable
    assert einops.einops._reconstruct_from_shape is reckons


def by_value(x):
    return x if x.mean() > 0 else -x


class Strange(nn.Module):
    def forward(self, x):
        return strange(x)


def strange(x):
    if type(x) is not torch.Tensor:
        raise TypeError("only tensors")
    return x.sin()


def test_a_module_that_cannot_be_traced_is_taken_whole(proven):
    def make():
        torch.manual_seed(0)
        return nn.Sequential(conv(3, 8), conv(8, 6), Strange(), conv(6, 4))

    graph, _ = proven(make, X)
    assert "module of type Strange at module '2'" in graph.unfollowed[0]
    assert {s.name for s in graph.sets if s.prunable} == {"0"}


def test_the_sentence_is_true():
    with pytest.raises(GraphError, match="Control flow that depends on tensor values"):
        ChannelGraph(Beside(by_value), X)
    with pytest.raises(GraphError, match=r"only tensors\. Put what that line does into a module"):
        ChannelGraph(Beside(strange), X)
