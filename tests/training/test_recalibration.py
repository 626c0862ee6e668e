"""Recalibration gives batch norm the mean of batch statistics, whatever it had before."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lwdna
from lwdna.errors import DataError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.slicing import SlicedNetwork
from lwdna.graph.surgery import cut
from lwdna.training.recalibration import recalibrate


def network():
    return nn.Sequential(
        nn.BatchNorm2d(3, momentum=0.3), nn.Conv2d(3, 4, 1), nn.Dropout(0.5), nn.BatchNorm2d(4)
    )


def batches(number=5, size=6):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 3, 5, 5, generator=generator) for _ in range(number)]


def test_statistics_are_the_mean_over_the_batches(measured):
    model = network().double().eval()
    model[0].running_mean.fill_(100.0)
    given = [batch.double() for batch in batches()]
    recalibrate(model, given)
    mean = torch.stack([x.mean((0, 2, 3)) for x in given]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in given]).mean(0)
    difference = float((model[0].running_mean - mean).abs().max())
    difference = max(difference, float((model[0].running_var - variance).abs().max()))
    measured(difference)
    assert difference <= 1e-12
    assert (model[0].momentum, model[3].momentum) == (0.3, 0.1)
    assert not any(module.training for module in model.modules())


def test_again_is_the_same_and_nothing_else_changes():
    model = network().train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    weights = copy.deepcopy(dict(model.named_parameters()))
    recalibrate(model, batches())
    first = copy.deepcopy(model.state_dict())
    recalibrate(model, batches())
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert [module.training for module in model.modules()] == modes


def test_shared_weights_and_a_cut_network_get_the_same(random_mask, scramble):
    """A sub-network of shared weights normalises as the plain one does that it is cut to."""
    model = scramble(lwdna.build("ResNet8"))
    given = batches(size=4)
    graph = ChannelGraph(model, torch.empty(1, 3, 5, 5))
    mask = random_mask(graph)
    small = cut(graph, model, mask)
    recalibrate(small, given)
    # By hand: the statistics of the sliced forward, batch by batch.
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 1.0
    sliced = SlicedNetwork(graph, model)
    found = []
    for inputs in given:
        slices = {}

        def keep(mask, tensors=SlicedNetwork.tensors, into=slices):
            into.update(tensors(sliced, mask))
            return into

        sliced.tensors = keep
        sliced(mask, inputs)
        found.append({n: t.clone() for n, t in slices.items() if "running" in n})
    for name, value in small.named_buffers():
        if "running" in name:
            mean = np.mean([statistics[name].numpy() for statistics in found], 0)
            torch.testing.assert_close(value, torch.from_numpy(mean), rtol=1e-5, atol=1e-6)


def test_without_batch_norm_nothing_is_run():
    def fail():
        raise AssertionError("a batch was asked for")
        yield

    recalibrate(nn.Conv2d(3, 3, 1), fail())
    recalibrate(nn.BatchNorm2d(3, track_running_stats=False), fail())


def test_no_batch_is_refused_before_anything_is_forgotten():
    model = network()
    model[0].running_mean.fill_(7.0)
    with pytest.raises(DataError, match="no batch to recalibrate"):
        recalibrate(model, [])
    assert (model[0].running_mean == 7).all() and model[0].momentum == 0.3
