"""One operation that is not followed freezes what it touches; what keeps channels is followed."""

import logging

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import complexity

X = torch.randn(2, 3, 8, 8)


def conv(inputs, outputs, kernel=3, **options):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def body(channels=8):
    return nn.Sequential(conv(3, 12), nn.ReLU(), conv(12, channels), nn.ReLU())


class Before(nn.Module):
    """What is not followed stands behind a body that is."""

    def __init__(self, head, last):
        super().__init__()
        self.body, self.head, self.last = body(), head, last

    def forward(self, x):
        return self.last(self.head(self.body(x)))


class Recurrent(nn.Module):
    def __init__(self, kind, state):
        super().__init__()
        self.rnn, self.state = kind(8, 6, batch_first=True), state

    def forward(self, x):
        out, state = self.rnn(x.mean(2).transpose(1, 2))
        if not self.state:
            return out[:, -1]
        return state[0][-1] if isinstance(state, tuple) else state[-1]


class Heads(nn.Module):
    """Self-attention as a module of PyTorch."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        t = x.flatten(2).transpose(1, 2)
        return self.attention(t, t, t)[0].mean(1)


class Products(nn.Module):
    """Self-attention written out."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = conv(8, 24, 1), conv(8, 8, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        weights = (q.transpose(1, 2) @ k).softmax(-1)
        return (x + self.out((v @ weights.transpose(1, 2)).view(b, c, h, w))).mean((2, 3))


class Deformed(nn.Module):
    def __init__(self):
        super().__init__()
        self.places = conv(8, 18)
        self.conv = torchvision.ops.DeformConv2d(8, 6, 3, padding=1)

    def forward(self, x):
        return self.conv(x, self.places(x)).mean((2, 3))


class Apply(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x):
        return self.run(x)


UNFOLLOWED = {
    "LSTM": (lambda: Before(Recurrent(nn.LSTM, False), nn.Linear(6, 4)), "LSTM", True),
    "state of a GRU": (lambda: Before(Recurrent(nn.GRU, True), nn.Linear(6, 4)), "GRU", True),
    "state of an LSTM": (lambda: Before(Recurrent(nn.LSTM, True), nn.Linear(6, 4)), "LSTM", True),
    "attention": (lambda: Before(Heads(), nn.Linear(8, 4)), "MultiheadAttention", True),
    "deformable convolution": (lambda: Before(Deformed(), nn.Linear(6, 4)), "deform", True),
    "products": (lambda: Before(Products(), nn.Linear(8, 4)), "matmul", True),
    "fold": (
        lambda: Before(
            Apply(lambda x: functional.fold(functional.unfold(x, 2, stride=2), 8, 2, stride=2)),
            conv(8, 4),
        ),
        "fold",
        False,
    ),
    "Fourier": (
        lambda: Before(Apply(lambda x: torch.fft.rfft2(x).abs()), conv(8, 4)),
        "fft",
        False,
    ),
    "local norm": (lambda: Before(nn.LocalResponseNorm(3), conv(8, 4)), "LocalResponseNorm", False),
    "sorted": (lambda: Before(Apply(lambda x: x.sort(1)[0]), conv(8, 4)), "sort", False),
    "rolled": (lambda: Before(Apply(lambda x: x.roll(1, 1)), conv(8, 4)), "roll", False),
    "weight from elsewhere": (
        lambda: Before(
            Apply(lambda x: functional.conv2d(x, torch.ones(6, 8, 1, 1).to(x))), conv(6, 4)
        ),
        "conv2d",
        False,
    ),
}


@pytest.mark.parametrize("case", UNFOLLOWED)
def test_the_rest_is_shrunk(case, proven):
    make, what, multiplies = UNFOLLOWED[case]
    graph, _ = proven(make, X)
    by_name = {channels.name: channels for channels in graph.sets}
    assert by_name["body.0"].prunable
    assert not by_name["body.2"].prunable or case == "products"  # the trunk meets no product
    assert any(what in reason for reason in graph.unfollowed)
    assert any(what in reason for reason in graph.uncounted) == multiplies


def test_it_is_named_once(caplog):
    make, *_ = UNFOLLOWED["products"]
    with caplog.at_level(logging.WARNING):
        graph = ChannelGraph(make(), X)
    (record,) = [r for r in caplog.records if r.name == "lwdna.graph.channels"]
    assert "matmul" in record.getMessage() and "test_unfollowed.py" in record.getMessage()
    assert "not followed: operation 'matmul' at module 'head'" in graph.explain()
    assert "Not counted in the FLOPs: operation 'matmul'" in graph.explain()


def test_the_report_says_what_is_not_counted():
    model = UNFOLLOWED["LSTM"][0]()
    target = 0.8 * complexity(model, X)[0]
    small = lwdna.shrink(model, X, None, target_flops=target, criterion="magnitude")
    assert "not counted: module of type LSTM at module 'head.rnn'" in small.report()


class Unpooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x):
        pooled, places = self.pool(x)
        return self.unpool(pooled.relu(), places)


class Warped(nn.Module):
    """A spatial transformer."""

    def __init__(self):
        super().__init__()
        self.locate = nn.Linear(8, 6)

    def forward(self, x):
        theta = self.locate(x.mean((2, 3))).view(-1, 2, 3)
        grid = functional.affine_grid(theta, x.size(), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)


class Blur(nn.Module):
    """A filter kept as a buffer, and what becomes of it and of the input until they meet."""

    def __init__(self, copies, run):
        super().__init__()
        self.run, self.n = run, 8
        self.register_buffer("filter", torch.rand(1, 1, 3, 3).repeat(copies, 1, 1, 1))

    def forward(self, x):
        return self.run(self, x)


def blurred(copies, run):
    def make():
        torch.manual_seed(1)
        return Before(Blur(copies, run), conv(8, 4))

    return make


FOLLOWED = {
    "unpooling": lambda: Before(Unpooling(), conv(8, 4)),
    "warping": lambda: Before(Warped(), conv(8, 4)),
    "rolling in space": lambda: Before(Apply(lambda x: x.roll((1, 2), (2, 3))), conv(8, 4)),
    "padding channels last": lambda: Before(
        Apply(lambda x: functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1)).permute(0, 3, 1, 2)),
        conv(8, 4),
    ),
    "patches": lambda: Before(
        Apply(lambda x: functional.unfold(x, 3, padding=1).view(*x.shape[:2], 9, 8, 8).sum(2)),
        conv(8, 4),
    ),
    "function with its own gradient": lambda: Before(Apply(Swish.apply), conv(8, 4)),
    "blur": blurred(8, lambda s, x: functional.conv2d(x, s.filter, groups=x.shape[1])),
    "blur by an attribute": blurred(8, lambda s, x: functional.conv2d(x, s.filter, groups=s.n)),
    "blur repeated": blurred(
        1,
        lambda s, x: functional.conv2d(
            x, s.filter.to(x).repeat(x.size(1), 1, 1, 1), groups=x.size(1)
        ),
    ),
    "blur expanded, upwards": blurred(
        1,
        lambda s, x: functional.conv_transpose2d(
            x, s.filter.expand(x.size(1), -1, -1, -1), stride=2, groups=x.size(1)
        ),
    ),
}


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * (x.sigmoid() * (1 + x * (1 - x.sigmoid())))


@pytest.mark.parametrize("case", FOLLOWED)
def test_channels_that_stay_where_they_are(case, proven):
    graph, _ = proven(FOLLOWED[case], X)
    assert graph.unfollowed == []
    assert all(channels.prunable for channels in graph.sets if channels.name.startswith("body"))


class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (w.var((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        return self._conv_forward(x, w, self.bias)


class Scaled(nn.Conv2d):
    """As normaliser-free networks do it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        w = functional.batch_norm(flat, None, None, self.gain.view(-1), training=True)
        return self._conv_forward(x, w.reshape_as(self.weight), self.bias)


class Masked(nn.Conv2d):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register_buffer("mask", torch.ones_like(self.weight).triu())

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)


@pytest.mark.parametrize("kind", [Standardised, Scaled, Masked])
def test_weights_that_are_computed_from_raw_ones(kind, proven):
    def make():
        torch.manual_seed(2)
        return nn.Sequential(
            kind(3, 8, 3, padding=1),
            nn.ReLU(),
            kind(8, 8, 3, padding=1, groups=4),
            nn.ReLU(),
            kind(8, 12, 3, padding=1),
            nn.ReLU(),
            conv(12, 4),
        )

    graph, small = proven(make, X)
    assert graph.unfollowed == []
    assert all(c.prunable for c in graph.sets if not graph.ends[c.elements].any())
    assert small[4].weight.shape[1] == small[2].weight.shape[0]


class Shifted(nn.Conv2d):
    """Which output is which depends on how many there are."""

    def forward(self, x):
        return self._conv_forward(x, self.weight.roll(1, 0), self.bias)


def test_a_weight_that_mixes_outputs_is_left_whole():
    graph = ChannelGraph(nn.Sequential(conv(3, 8), Shifted(8, 6, 1), conv(6, 4)), X)
    assert {s.name for s in graph.sets if s.prunable} == set()
    assert "roll" in graph.unfollowed[0] or "conv2d" in graph.unfollowed[0]
