"""What kernels make of tensors without data is what PyTorch's own make of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lwdna.graph.kernels import WithoutData


def layer(module):
    return module.to("meta").eval()


def of(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


CASES = {
    "convolution": lambda: layer(nn.Conv2d(3, 6, 3, 2, 1))(of(2, 3, 9, 8)),
    "grouped": lambda: layer(nn.Conv2d(4, 8, 3, groups=2, dilation=2))(of(5, 4, 9, 8)),
    "transposed": lambda: layer(nn.ConvTranspose2d(4, 8, 3, 2, 1, 1))(of(2, 4, 9, 8)),
    "line": lambda: layer(nn.Conv1d(4, 8, 3))(of(2, 4, 9)),
    "one image": lambda: layer(nn.Conv2d(3, 6, 3))(of(3, 9, 8)),
    "double": lambda: layer(nn.Conv2d(3, 6, 3).double())(of(2, 3, 9, 8, dtype=torch.float64)),
    "batch norm": lambda: layer(nn.BatchNorm2d(3))(of(2, 3, 4, 5)),
    "of numbers": lambda: layer(nn.BatchNorm1d(3))(of(7, 3)),
    "layer norm": lambda: layer(nn.LayerNorm((4, 5)))(of(2, 3, 4, 5)),
    "layer norm of a view": lambda: layer(nn.LayerNorm(3))(of(2, 3, 4, 5).permute(0, 2, 3, 1)),
    "layer norm of all": lambda: layer(nn.LayerNorm(3))(of(3)),
    "relu": lambda: functional.relu(of(2, 3, 4, 5)),
    "relu6 in place": lambda: functional.relu6(of(2, 3, 4, 5), inplace=True),
    "silu": lambda: functional.silu(of(2, 3, 4, 5)),
    "hard": lambda: functional.hardswish(functional.hardsigmoid(of(2, 3, 4, 5))),
    "prelu": lambda: layer(nn.PReLU(3))(of(2, 3, 4, 5)),
    "sum": lambda: of(2, 3, 4, 5) + of(2, 3, 4, 5),
    "sum of one and two": lambda: of(1, 3, 1, 1) + of(2, 3, 4, 5),
    "sum in place": lambda: of(2, 3).add_(of(1, 3)),
    "sum of two types": lambda: of(2, 3) + of(2, 3, dtype=torch.float64),
    "sum with a number": lambda: of(2, 3) + 1,
    "sum with twice": lambda: of(2, 3).add(other=of(2, 3), alpha=2),
    "sum of no image": lambda: of(0, 3) + of(1, 3),
    "scale": lambda: of(2, 3, 4, 5) * of(2, 3, 1, 1),
    "scale of all": lambda: of(2, 3, 4, 5) * of(3, 1, 1),
    "mean": lambda: of(2, 3, 4, 5).mean((2, 3)),
    "mean that stays": lambda: of(2, 3, 4, 5).mean((-1, -2), keepdim=True),
    "means of images": lambda: of(2, 3, 4).mean((1, 2)),
    "mean over images": lambda: of(2, 3, 4, 5).mean(0),
    "largest": lambda: functional.max_pool2d(of(2, 3, 8, 8), 2),
    "average": lambda: functional.avg_pool2d(of(2, 3, 8, 8), 3, 2, 1),
    "shuffle": lambda: functional.pixel_shuffle(of(2, 8, 4, 5), 2),
    "shuffle of one image": lambda: functional.pixel_shuffle(of(8, 4, 5), 2),
    "largest of one image": lambda: functional.max_pool2d(of(3, 8, 8), 2),
    "concatenation": lambda: torch.cat([of(2, 3, 4), of(2, 5, 4)], 1),
    "concatenation of images": lambda: torch.cat([of(2, 3), of(4, 3)]),
    "linear": lambda: layer(nn.Linear(3, 4))(of(2, 3)),
    "pixel by pixel": lambda: layer(nn.Conv2d(3, 6, 3))(
        of(2, 3, 9, 8).to(memory_format=torch.channels_last)
    ),
}


NORMED = {
    "in order": of(2, 3, 4, 5),
    "pixel by pixel": of(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "rows side by side": of(2, 4, 3).transpose(1, 2),
    "columns first": of(2, 3, 5, 4).transpose(2, 3),
    "a part": of(2, 6, 4, 5)[:, :3],
}


@torch.no_grad()
@pytest.mark.parametrize("case", NORMED)
def test_norms_lie_as_with_data(case):
    """PyTorch's own lie otherwise without data than with it."""
    x = NORMED[case]
    kind = nn.BatchNorm1d if x.ndim == 3 else nn.BatchNorm2d
    full = torch.empty_strided(x.shape, x.stride()).zero_()
    with WithoutData():
        ours = layer(kind(3))(x)
    assert ours.stride() == kind(3).eval()(full).stride()


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_shapes_types_and_layout_are_those_of_pytorch(case):
    theirs = CASES[case]()
    with WithoutData():
        ours = CASES[case]()
    assert ours.is_meta
    assert (ours.shape, ours.dtype, ours.stride()) == (theirs.shape, theirs.dtype, theirs.stride())


def test_in_place_is_in_place():
    x = of(2, 3)
    with WithoutData():
        assert torch.relu_(x) is x


@torch.no_grad()
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: layer(nn.Conv2d(3, 6, 3))(of(2, 4, 9, 8)),
        lambda: layer(nn.BatchNorm2d(3))(of(2, 4, 9, 8)),
        lambda: layer(nn.LayerNorm(3))(of(2, 4)),
        lambda: of(2, 3) + of(2, 4),
        lambda: of(2, 3) + of(3, 3),
        lambda: of(1, 3).add_(of(2, 3)),
        lambda: torch.cat([of(2, 3), of(3, 3)], 1),
        lambda: torch.cat([of(1, 3), of(3, 3)], 1),
        lambda: torch.cat([of(2), of(2)], 1),
        lambda: functional.pixel_shuffle(of(2, 4, 5), 2),
        lambda: layer(nn.Linear(3, 4))(of(2, 5)),
    ],
)
def test_what_does_not_fit_is_refused_in_the_same_words(wrong):
    with pytest.raises((RuntimeError, IndexError)) as theirs:
        wrong()
    with pytest.raises(theirs.type) as ours, WithoutData():
        wrong()
    assert str(ours.value) == str(theirs.value)
