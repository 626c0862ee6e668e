"""Numbers beside channels: sizes of tensors, and integers that modules keep, follow them."""

import math

import pytest
import torch
from small import Net
from torch import nn
from torch.nn import functional

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import complexity

X = torch.randn(2, 3, 8, 8)


def conv(inputs, outputs, kernel=3, **options):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def halves(block, x):
    c = x.shape[1] // 2
    return torch.cat([x[:, :c], block.conv(x[:, c:])], 1)


def two_sizes(block, x):
    c = x.shape[1] // 2
    a, b = torch.split(x, [c, x.shape[1] - c], 1)
    return torch.cat([block.conv(a), b], 1)


def narrowed(block, x):
    c = x.size(1) // 2
    return torch.cat([block.conv(x.narrow(1, 0, c)), x.narrow(1, c, c)], 1)


def shifted_in_time(_block, x):
    fold, out = x.shape[1] // 4, torch.zeros_like(x)
    out[:, :fold, 1:] = x[:, :fold, :-1]
    out[:, fold : 2 * fold, :-1] = x[:, fold : 2 * fold, 1:]
    out[:, 2 * fold :] = x[:, 2 * fold :]
    return out


def recurrent(block, x):
    h = c = torch.zeros_like(x)
    for _ in range(2):
        i, f, o, g = block.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h


def hidden(block, x):
    h = torch.zeros(x.size(0), block.width, *x.shape[2:], device=x.device).to(x)
    for _ in range(2):
        h = torch.tanh(block.gates(torch.cat([x, h], 1)))
    return h


def parts(block, x):
    pieces = torch.split(x, block.splits, 1)
    return torch.cat([f(piece) for f, piece in zip(block.convs, pieces, strict=True)], 1)


def stairs(block, x):
    pieces, out = torch.split(x, block.width, 1), []
    for piece, layer in zip(pieces, block.convs, strict=False):
        out.append(layer(piece if not out else piece + out[-1]))
    return torch.cat([*out, pieces[-1]], 1)


def shuffled(block, x):
    b, c, h, w = x.size()
    assert c % block.groups == 0
    x = x.view(b, block.groups, c // block.groups, h, w).transpose(1, 2).contiguous()
    return x.view(b, c, h, w)


def cheap(block, x):
    first = block.primary(x)
    return torch.cat([first, block.cheap(first)], 1)[:, : block.outputs]


def ghost(inputs, outputs):
    n = math.ceil(outputs / 2)
    return Net(cheap, primary=conv(inputs, n, 1), cheap=conv(n, n, groups=n), outputs=outputs)


def several(n, *sizes):
    return nn.ModuleList([conv(size, size) for size in sizes * n])


def between(block, n=8):
    return nn.Sequential(conv(3, 8), nn.ReLU(), block, conv(n, 4))


def shortcut(zeros):
    """Zeros beside the channels of a shortcut that meets more channels."""

    def run(block, x):
        y, z = block.narrow(x), block.wide(x)
        return torch.cat([y, zeros(y, z)], 1) + z

    return lambda: between(Net(run, narrow=conv(8, 6), wide=conv(8, 10)), 10)


FOLLOWED = {
    "halves": lambda: between(Net(halves, conv=conv(4, 4))),
    "two sizes": lambda: between(Net(two_sizes, conv=conv(4, 4))),
    "narrow": lambda: between(Net(narrowed, conv=conv(4, 4))),
    "shift in time": lambda: between(Net(shifted_in_time)),
    "all": lambda: between(Net(lambda _, x: x[:, :8] + x[:, :99])),
    "zeros like": lambda: between(Net(recurrent, gates=conv(16, 32))),
    "noise beside": lambda: between(Net(lambda _, x: torch.cat([x, torch.ones_like(x)], 1)), 16),
    "zeros by an attribute": lambda: between(Net(hidden, gates=conv(14, 6), width=6), 6),
    "splits": lambda: between(
        Net(parts, convs=nn.ModuleList([conv(3, 3), conv(3, 3, 5), conv(2, 2)]), splits=[3, 3, 2])
    ),
    "stairs": lambda: between(Net(stairs, convs=several(3, 2), width=2)),
    "shuffle": lambda: between(Net(shuffled, groups=2)),
    "ghost": lambda: between(ghost(8, 10), 10),
    "ghost of an odd number": lambda: between(ghost(8, 9), 9),
    "last ones": lambda: between(Net(lambda s, x: x[:, -s.n :], n=4), 4),
    "features of a layer": lambda: nn.Sequential(
        conv(3, 8),
        Net(
            lambda s, x: s.fc(s.pool(x).view(-1, s.fc.in_features)),
            fc=nn.Linear(32, 4),
            pool=nn.AdaptiveAvgPool2d(2),
        ),
    ),
    "features by an attribute": lambda: nn.Sequential(
        conv(3, 8),
        Net(
            lambda s, x: s.fc(x.mean((2, 3), keepdim=True).view(-1, s.width)),
            fc=nn.Linear(8, 4),
            width=8,
        ),
    ),
    "product of a shape": lambda: nn.Sequential(
        conv(3, 8),
        Net(lambda s, x: s.fc(x.reshape(x.size(0), math.prod(x.shape[1:]))), fc=nn.Linear(512, 4)),
    ),
    "expanded to a size": lambda: between(
        Net(lambda s, x: x * s.gate(x).sigmoid().expand(-1, x.size(1), -1, -1), gate=conv(8, 1))
    ),
    "written zeros": shortcut(lambda y, _: y.new_zeros(y.size(0), 4, *y.shape[2:])),
    "zeros by a difference": shortcut(
        lambda y, z: torch.zeros(y.size(0), z.size(1) - y.size(1), 8, 8).to(y)
    ),
    "zeros by padding": lambda: between(
        Net(
            lambda s, x: s.wide(x) + functional.pad(s.narrow(x), (0, 0, 0, 0, 1, 3)),
            narrow=conv(8, 6),
            wide=conv(8, 10),
        ),
        10,
    ),
    "pixels": lambda: between(
        Net(
            lambda _, x: (
                x.view(x.size(0), x.size(1) // 4, 2, 2, 8, 8)
                .permute(0, 1, 4, 2, 5, 3)
                .reshape(x.size(0), x.size(1) // 4, 16, 16)
            )
        ),
        2,
    ),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_numbers_follow_the_channels(case, proven):
    graph, _ = proven(FOLLOWED[case], X)
    assert graph.unfollowed == []
    assert graph.sets[1].prunable


def test_attributes_are_set(proven):
    _, small = proven(FOLLOWED["splits"], X)
    assert small[2].splits == [layer.in_channels for layer in small[2].convs]
    assert sum(small[2].splits) < 8
    _, small = proven(FOLLOWED["ghost of an odd number"], X)
    assert small[2].outputs == small[3].in_channels < 9


HELD = {
    "a written half": (lambda: between(Net(lambda _, x: x[:, :4]), 4), "getitem"),
    "a written number of copies": (
        lambda: between(Net(lambda s, x: x + s.one(x).expand(-1, 8, -1, -1), one=conv(8, 1))),
        "add",
    ),
    "a value": (lambda: between(Net(lambda _, x: x / x.shape[1])), "div"),
    "a scale": (lambda: between(Net(lambda _, x: x * x.shape[1] ** -0.5)), "a number computed"),
    "places": (
        lambda: between(Net(lambda _, x: x * torch.arange(x.size(1)).view(1, -1, 1, 1).to(x))),
        "arange",
    ),
    "a number as a value too": (
        lambda: between(Net(lambda s, x: x.view(x.size(0), s.n, 64).view_as(x) * s.n, n=8)),
        "mul",
    ),
}


@pytest.mark.parametrize("case", HELD)
def test_what_cannot_shrink_is_held_before_the_search(case):
    make, what = HELD[case]
    graph = ChannelGraph(make(), X)
    (first,) = [channels for channels in graph.sets if channels.name == "0"]
    assert not first.prunable
    assert any(what in hold and "test_numbers.py" in hold for hold in first.holds)
    assert f"kept whole by: {first.holds[0]}" in graph.explain()


class Converted(nn.Module):
    """Two branches that its own method makes one layer of."""

    def __init__(self, inputs, outputs, groups=1):
        super().__init__()
        self.in_channels, self.out_channels, self.groups = inputs, outputs, groups
        self.dense = conv(inputs, outputs, groups=groups, bias=False)
        self.point = conv(inputs, outputs, 1, groups=groups, bias=False)

    def forward(self, x):
        return self.dense(x) + self.point(x)

    def convert(self):
        layer = conv(self.in_channels, self.out_channels, groups=self.groups, bias=False)
        layer.weight.data = self.dense.weight + functional.pad(self.point.weight, (1, 1, 1, 1))
        return layer


def converted():
    return nn.Sequential(Converted(3, 8), Converted(8, 8, 8), Converted(8, 12), conv(12, 4))


def test_numbers_that_forward_does_not_read(proven):
    _, small = proven(converted, X)
    model = converted()
    target = 0.5 * complexity(model, X)[0]
    small = lwdna.shrink(model, X, None, target_flops=target, criterion="magnitude").model
    blocks = [block.convert() for block in small[:3]]
    torch.testing.assert_close(nn.Sequential(*blocks, small[3])(X), small(X), rtol=1e-4, atol=1e-5)
    wide = lwdna.widen(model, X, 2)
    assert [block.out_channels for block in wide[:3]] == [16, 16, 24]


def test_a_number_is_widened_too():
    make = FOLLOWED["ghost"]
    wide = lwdna.widen(make(), X, 2)
    assert wide[2].outputs == 20 == wide[3].in_channels
