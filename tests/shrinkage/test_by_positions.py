"""Shrinkage with grouped convolutions cut by positions: gradients, files, backward."""

import pytest
import torch
import torchvision
from torch import nn

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.networks.provenance import provenance_of
from lwdna.shrinkage.gradients import explicit_gradients, latent_gradients


def resnext():
    """ResNeXt of one block a stage, 8 groups of 4."""
    return torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck,
        [1, 1, 1, 1],
        num_classes=5,
        groups=8,
        width_per_group=4,
    )


@pytest.mark.parametrize("widen", [1, 2])
def test_shrunk_saved_loaded_and_trained(widen, stream, tmp_path):
    torch.manual_seed(0)
    model, x = resnext(), torch.zeros(1, 3, 32, 32)
    flops, _ = lwdna.complexity(model, x)
    small = lwdna.shrink(
        model,
        x,
        stream(2, 3, 32, 32),
        target_flops=0.6 * flops,
        groups="positions",
        widen=widen,
        rho=0.1,
    )
    assert small.flops == lwdna.complexity(small.model, x)[0] <= 0.6 * flops
    grouped = [m for m in small.model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.groups for m in grouped] == [8] * 4
    assert any(m.in_channels != m.out_channels for m in grouped)
    small.save(tmp_path / "small.safetensors")
    again = lwdna.load(tmp_path / "small.safetensors", network=resnext)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), small.model.eval()(images))
    assert provenance_of(again).shrinkage.settings["groups"] == "positions"
    small.model.train()(images).sum().backward()
    assert all(p.grad is not None for p in small.model.parameters())


def test_shrunk_by_one_rule_then_by_the_other(tmp_path):
    """The file counts from the first network, and its channels tell how many groups are left."""
    model, x = resnext(), torch.zeros(1, 3, 32, 32)
    for groups in ("whole", "positions"):
        target = 0.6 * lwdna.complexity(model, x)[0]
        options = {"criterion": "magnitude", "groups": groups, "rho": 0.1, "tau": 0.1}
        small = lwdna.shrink(model, x, None, target_flops=target, **options)
        model = small.model
    numbers = {m.groups for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert min(numbers) < 8
    small.save(tmp_path / "small.safetensors")
    again = lwdna.load(tmp_path / "small.safetensors", network=resnext)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), model.eval()(images))


def test_gradients_are_those_of_the_hypernetwork(stream):
    """The closed form, and the explicit hypernetwork by automatic differentiation."""
    x = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    graph = ChannelGraph(resnext().double(), x, groups="positions")
    found = []
    for take, options in (
        (latent_gradients, {"batches": 1}),
        (explicit_gradients, {"batches": 1, "warmup_steps": 0, "seed": 0, "embedding": 8}),
    ):
        torch.manual_seed(1)
        model = resnext().double().train()
        loss = stream(2, 3, 32, 32, dtype=torch.float64)
        _, gradients = take(graph, model, loss, **options)
        found.append(torch.as_tensor(gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-12)
