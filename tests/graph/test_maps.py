"""Maps of one channel that weigh many: spatial attention and gates."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import lwdna
from lwdna.errors import GraphError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import complexity
from lwdna.graph.surgery import cut, silence

X = torch.randn(2, 3, 8, 8)


def conv(inputs, outputs, kernel=3):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class Spatial(nn.Module):
    """The spatial half of CBAM."""

    def __init__(self):
        super().__init__()
        self.conv = conv(2, 1, 7)

    def forward(self, x):
        both = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * self.conv(both).sigmoid()


class Channels(nn.Module):
    """The other half: which channels."""

    def __init__(self, n):
        super().__init__()
        self.mlp = nn.Sequential(conv(n, n // 4, 1), nn.ReLU(), conv(n // 4, n, 1))

    def forward(self, x):
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * (self.mlp(mean) + self.mlp(most)).sigmoid()


class Trunk(nn.Module):
    """Attention on a residual trunk, and a layer behind it that is free."""

    def __init__(self, *attention, n=16):
        super().__init__()
        self.a, self.b, self.attention = conv(3, n), conv(n, n), nn.Sequential(*attention)
        self.c, self.d = conv(n, 2 * n), conv(2 * n, 4, 1)

    def forward(self, x):
        x = functional.relu(self.a(x))
        return self.d(functional.relu(self.c(self.attention(x + self.b(x)))))


class Gate(nn.Module):
    """A map of one channel, whichever side of the product it stands on."""

    def __init__(self, weigh):
        super().__init__()
        self.weigh = weigh
        self.a, self.g, self.b = conv(3, 8), conv(3, 1, 1), conv(8, 2, 1)

    def forward(self, x):
        return self.b(self.weigh(self.a(x), self.g(x).sigmoid()))


GATES = {
    "behind": lambda x, gate: x * gate,
    "in front": lambda x, gate: gate * x,
    "expanded": lambda x, gate: gate.expand_as(x) * x,
    "twice": lambda x, gate: gate * x + x * (1 - gate),
    "a choice": lambda x, gate: torch.where(gate > 0.5, x, -x),
    "a sum of both attentions": lambda x, gate: (
        x * (x.mean((2, 3), keepdim=True) + gate.expand_as(x)).sigmoid()
    ),
    "clipped": lambda x, gate: torch.maximum(gate, x),
}


def assert_cut(model, mask):
    graph = ChannelGraph(model, X)
    small = cut(graph, model, mask(graph))
    graph.check_cut(small, X, mask(graph))
    torch.testing.assert_close(small(X), silence(graph, model, mask(graph))(X))


@pytest.mark.parametrize("left", [1, 2, 5])
@pytest.mark.parametrize("gate", GATES)
def test_a_gate_weighs_what_is_left(gate, left):
    def mask(graph):
        kept = graph.full_mask()
        kept[graph.layers["a"].outputs[left:]] = False
        return kept

    assert_cut(Gate(GATES[gate]), mask)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("share", [0.14, 0.3, 0.7])
def test_shrunk_to_any_budget(gate, share):
    model = Gate(GATES[gate])
    target = share * complexity(model, X)[0]
    small = lwdna.shrink(model, X, None, target_flops=target, rho=0.1, criterion="magnitude")
    assert small.flops <= target


class Norm(nn.Module):
    """A layer norm over channels, written by hand."""

    def __init__(self, n):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, n, 1, 1))

    def forward(self, x):
        apart = x - x.mean(1, keepdim=True)
        return self.gamma * apart / (x.var(1, keepdim=True) + 1e-5).sqrt()


class Both(nn.Module):
    """Of which channels and of which places, added before they weigh, as in BAM."""

    def __init__(self, n):
        super().__init__()
        self.channels = nn.Sequential(nn.Linear(n, n // 4), nn.ReLU(), nn.Linear(n // 4, n))
        self.places = nn.Sequential(conv(n, n // 4, 1), nn.ReLU(), conv(n // 4, 1, 1))

    def forward(self, x):
        which = self.channels(x.mean((2, 3)))[:, :, None, None].expand_as(x)
        return x * (1 + (which * self.places(x).expand_as(x)).sigmoid())


class TwoMaps(nn.Module):
    """Two maps of one layer, which weigh two branches."""

    def __init__(self, n):
        super().__init__()
        self.maps = conv(n, 2, 1)

    def forward(self, x):
        weights = self.maps(x).softmax(1)
        return x * weights[:, :1] + weights[:, 1:] * x.flip(3)


@pytest.mark.parametrize("make", [Norm, Both, TwoMaps])
@pytest.mark.parametrize("share", [0.15, 0.4, 0.7])
def test_other_kinds_of_attention(make, share):
    model = nn.Sequential(conv(3, 16), make(16), conv(16, 32), nn.ReLU(), conv(32, 4, 1))
    for seed in range(3):
        small = lwdna.shrink(
            model, X, None, flops_ratio=share, rho=0.0, criterion="magnitude", seed=seed
        )
        assert len(small.kept["2"]) < 32


@pytest.mark.parametrize(
    "attention", [(Spatial(),), (Channels(16), Spatial())], ids=["spatial", "CBAM"]
)
@pytest.mark.parametrize("seed", range(3))
def test_spatial_attention_keeps_its_channels_and_the_rest_shrinks(attention, seed, random_mask):
    model = Trunk(*attention)
    assert_cut(model, lambda graph: random_mask(graph, seed))
    target = 0.7 * complexity(model, X)[0]
    small = lwdna.shrink(model, X, None, target_flops=target, criterion="magnitude", seed=seed)
    assert len(small.kept["a"]) == 16
    assert len(small.kept["c"]) < 32


def test_a_map_that_is_read_for_another_is_noticed():
    """Of the two that meet, the layer behind must read the channels, not the map."""

    class Wrong(Gate):
        def forward(self, x):
            a, gate = self.a(x), self.g(x)
            return self.b((a if a.shape[1] > 1 else gate) * gate)

    model = Wrong(None)
    graph = ChannelGraph(model, X)
    mask = graph.full_mask()
    mask[graph.layers["a"].outputs[1:]] = False
    with pytest.raises(GraphError, match="mixed up at 'b'"):
        graph.check_cut(cut(graph, model, mask), X, mask)
