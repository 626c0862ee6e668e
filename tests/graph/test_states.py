"""Tensors that modules keep as plain attributes, and state that forward sets."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import lwdna
from lwdna.graph.complexity import complexity

X = torch.randn(2, 3, 8, 8)


def conv(inputs, outputs, kernel=3):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.second = conv(channels, channels), conv(channels, channels)

    def forward(self, x):
        return x + 0.1 * self.second(functional.relu(self.first(x)))


class SuperResolution(nn.Module):
    """The mean of the colours is a plain tensor, which forward sets anew."""

    def __init__(self, channels=8):
        super().__init__()
        self.mean = torch.tensor([0.45, 0.44, 0.4]).view(1, 3, 1, 1)
        self.head, self.tail = conv(3, channels), conv(channels, 3)
        self.body = nn.Sequential(Residual(channels), Residual(channels), conv(channels, channels))
        self.up = nn.Sequential(conv(channels, 4 * channels), nn.PixelShuffle(2))

    def forward(self, x):
        self.mean = self.mean.type_as(x)
        x = self.head((x - self.mean) * 255.0)
        x = self.up(self.body(x) + x)
        return self.tail(x) / 255.0 + self.mean


class Shift(nn.Conv2d):
    """A shift of the mean as a fixed layer."""

    def __init__(self, sign):
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias.data = sign * torch.tensor([0.4, 0.4, 0.5])
        self.requires_grad_(False)


class Distilled(nn.Module):
    """Features are kept in a list, a dictionary and an attribute."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 8), conv(8, 4)
        self.features, self.by_name, self.last = [], {}, None

    def forward(self, x):
        self.features = []
        for layer in (self.a, self.b):
            x = layer(x)
            self.features.append(x)
        self.by_name["b"] = self.last = x
        return self.c(self.last + self.features[0])


class Grids(nn.Module):
    """What is made for one size of images is kept."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.grids = conv(3, 8), conv(10, 4), {}

    def grid(self, height, width):
        if (height, width) not in self.grids:
            lines = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
            self.grids[height, width] = torch.stack(torch.meshgrid(*lines, indexing="ij"))[None]
        return self.grids[height, width]

    def forward(self, x):
        x = self.a(x)
        grid = self.grid(*x.shape[2:]).to(x).expand(x.size(0), -1, -1, -1)
        return self.b(torch.cat([x, grid], 1))


class Counted(nn.Module):
    """Buffers are set in forward."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 4)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        x = self.a(x)
        self.calls += 1
        mean = 0.0 * self.mean + x.mean((0, 2, 3)).detach()
        self.mean = mean
        return self.b(x - mean.view(1, -1, 1, 1))


class Kept(nn.Module):
    """Tensors in a list and a dictionary."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 4)
        self.scales, self.constants = [torch.tensor(0.5)], {"mean": torch.ones(3, 1, 1)}

    def forward(self, x):
        return self.b(self.a(x - self.constants["mean"]) * self.scales[0])


def shifted():
    return nn.Sequential(Shift(-1), SuperResolution(), Shift(1))


def after_a_run(make):
    def run():
        torch.manual_seed(0)
        model = make()
        model(X)
        return model

    return run


STATES = {
    "mean": SuperResolution,
    "mean as a layer": shifted,
    "features": Distilled,
    "features of a run": after_a_run(Distilled),
    "grids": Grids,
    "buffers": Counted,
    "lists": Kept,
}


@pytest.mark.parametrize("case", STATES)
def test_networks_that_keep_tensors(case, proven):
    _, small = proven(STATES[case], X)
    assert all(
        type(value) is not torch.fx.Proxy for m in small.modules() for value in vars(m).values()
    )


def test_a_run_leaves_no_state_behind():
    """The search runs the network, whose state must not find its way into the small one."""
    model = Grids()
    target = 0.6 * complexity(model, X)[0]

    def loss(network):
        return network(X).square().mean()

    small = lwdna.shrink(model, X, loss, target_flops=target).model
    assert model.grids == {} == small.grids
    assert small(X).shape == (2, 4, 8, 8)


def test_a_kept_tensor_of_many_channels_holds_them():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.scale = conv(3, 8), conv(8, 4), torch.rand(1, 8, 1, 1)

        def forward(self, x):
            return self.b(self.a(x) * self.scale)

    graph = lwdna.ChannelGraph(Fixed(), X)
    (held,) = [channels for channels in graph.sets if channels.name == "a"]
    assert not held.prunable
    assert "mul" in held.holds[0]
