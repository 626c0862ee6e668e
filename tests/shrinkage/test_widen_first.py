"""A baseline that is widened by its channels, then shrunk: sizes, files, bad factors."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import lwdna
from lwdna.errors import CheckpointError, ConfigError
from lwdna.networks.provenance import provenance_of


def make():
    return torchvision.models.resnet18(num_classes=10)


@pytest.mark.parametrize("start", ["fresh", "generated"])
def test_resnet18(start, tmp_path, stream):
    """No network of torchvision has an argument ``width``."""
    torch.manual_seed(0)
    model, x = make(), torch.zeros(1, 3, 32, 32)
    flops, _ = lwdna.complexity(model, x)
    wide = lwdna.complexity(lwdna.widen(model, x, 2), x)
    small = lwdna.shrink(
        model, x, stream(2, 3, 32, 32), target_flops=0.9 * flops, widen=2, start=start, rho=0.1
    )
    assert (small.flops_before, small.params_before) == wide
    assert 0.88 * flops < small.flops <= 0.9 * flops
    assert small.flops == lwdna.complexity(small.model, x)[0]
    assert small.channels_before["conv1"] == 128
    small.model(torch.randn(2, 3, 32, 32)).sum().backward()
    small.save(tmp_path / "small.safetensors")
    again = lwdna.load(tmp_path / "small.safetensors", network=make)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), small.model.eval()(images))
    (widening,) = provenance_of(again).widened
    assert (widening.factor, widening.inputs) == (2, [[1, 3, 32, 32]])
    with pytest.raises(CheckpointError, match="give the one that was given to lwdna"):
        lwdna.load(tmp_path / "small.safetensors", network=lambda: lwdna.widen(make(), x, 2))


def test_as_the_network_widened_by_its_own_argument():
    """The same sets of the same names: the same latent vectors, and the same channels stay."""
    x = torch.zeros(1, 3, 32, 32)
    options = {"target_flops": 30e6, "criterion": "magnitude", "seed": 3}
    ours = lwdna.shrink(lwdna.build("ResNet20"), x, None, widen=2, **options)
    other = lwdna.shrink(lwdna.build("ResNet20", width=2), x, None, **options)
    assert ours.kept == other.kept
    assert (ours.flops, ours.params_before) == (other.flops, other.params_before)


def test_the_same_seed_the_same_network():
    model, x = lwdna.build("ResNet8"), torch.zeros(1, 3, 32, 32)
    state = torch.get_rng_state()
    options = {"target_flops": 10e6, "criterion": "magnitude", "widen": 1.5, "seed": 1}
    first, second = (lwdna.shrink(model, x, None, **options).model for _ in range(2))
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("factor", [0.9, -2, float("nan"), "two", None, True])
def test_a_bad_factor(factor):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3))
    with pytest.raises(ConfigError, match="give a number of 1 or more, such as 2"):
        lwdna.shrink(model, torch.zeros(1, 3, 8, 8), None, target_flops=1e4, widen=factor)


def test_a_number_of_numpy_will_do():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3))
    assert lwdna.widen(model, torch.zeros(1, 3, 8, 8), np.float32(1.5))[0].out_channels == 12
