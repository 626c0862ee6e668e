"""PruningNet: weights are made for the widths, and a part of them is what is made of the parts."""

import copy

import numpy as np
import pytest
import torch
from searches import EXAMPLE, network
from searches import trained as train_network
from stopping import StopError, stop_at
from trainings import BATCH

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.surgery import cut
from lwdna.networks.build import build_seeded
from lwdna.rivals.pruning_net import PruningNet, RandomWidths
from lwdna.rivals.widths import Grid, Widths
from lwdna.shrinkage.hypernetwork import detach_hypernetwork


class Case:
    """A network whose weights are generated, and masks of it."""

    def __init__(self, model=None, example=EXAMPLE, seed=3):
        self.model = network() if model is None else model
        self.model.to(example.dtype)
        self.graph = ChannelGraph(self.model, example)
        self.plain = copy.deepcopy(self.model)
        self.net = PruningNet(self.graph, self.model, seed=seed)
        self.grid = Grid.of(Widths(self.graph), groups=8, lowest=0.1)

    def mask(self, seed):
        return self.grid.widths.mask(self.grid.draw(np.random.default_rng(seed)))


def models():
    double = torch.float64
    return {
        "Residual": lambda: Case(network(), EXAMPLE.to(double)),
        "MobileNetV2": lambda: Case(
            build_seeded({"name": "MobileNetV2", "width": 0.25}, 1),
            torch.empty(1, 3, 32, 32, dtype=double),
        ),
    }


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("training", [True, False])
def test_a_part_of_the_weights_is_made_of_the_parts(name, training, measured):
    """The network with all weights for a mask, cut by it, and the one made for it are the same."""
    case = models()[name]()
    worst = 0.0
    for seed in range(3):
        mask = case.mask(seed)
        other = models()[name]()  # the same draw
        other.net.encode(mask)
        detach_hypernetwork(other.graph, other.model)
        theirs, ours = cut(other.graph, other.model, mask), case.net.plain(mask)
        x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
        for model in (theirs, ours, case.model):
            model.train(training)
        made, parts = dict(ours.named_parameters()), dict(theirs.named_parameters())
        assert made.keys() == parts.keys()
        for key, a in parts.items():
            b = made[key]
            assert a.shape == b.shape, key
            worst = max(worst, float((a - b).abs().max().detach()))
        with torch.no_grad():
            outputs = []
            for run in (theirs, ours, lambda x, m=mask: case.net(m, x)):
                torch.manual_seed(seed)  # dropout
                outputs.append(run(x))
        worst = max(worst, *(float((one - outputs[2]).abs().max()) for one in outputs))
    measured(worst)
    assert worst < 1e-12


def test_weights_depend_on_the_widths_and_have_the_variance_of_fresh_ones(measured):
    case = Case(lwdna.build("ResNet14"), torch.empty(1, 3, 32, 32))
    full, other = case.graph.full_mask(), case.mask(0)
    ours, narrow = (case.net.tensors(mask) for mask in (full, other))
    worst = 0.0
    for name, weight in case.plain.named_parameters():
        if weight.dim() == 4:
            n, c = narrow[name].shape[:2]
            if (n, c) != weight.shape[:2]:
                assert not torch.allclose(ours[name][:n, :c], narrow[name]), name
            variance = float(ours[name].var().detach()) * weight[0].numel()
            worst = max(worst, abs(variance - 1))
    measured(worst)
    assert worst < 0.15  # of 432 numbers in the smallest layer


def test_gradients_land_in_what_generates():
    case = Case()
    mask = case.mask(1)
    case.net(mask, torch.randn(2, 3, 8, 8)).sum().backward()
    made = case.model.last.parametrizations.weight
    kept = [int(n) for n in case.net.plain(mask).last.weight.shape[:2]]
    for tensor in (made.original0, made.original1):
        assert tensor.grad[: kept[0], : kept[1]].any()
        assert not tensor.grad[kept[0] :].any() and not tensor.grad[:, kept[1] :].any()
    assert made.original2.grad.any() and made.original3.grad.any()


def test_widths_are_a_function_of_seed_and_step():
    case = Case()
    ours, again, other = (RandomWidths(case.net, case.grid, seed=seed) for seed in (3, 3, 4))

    def masks(passes):
        return [passes(step)[0].run.args[0].tobytes() for step in range(20)]

    assert masks(ours) == masks(again) != masks(other)
    assert len(set(masks(ours))) > 10
    assert all(len(ours(step)) == 1 and not ours(step)[0].soft for step in range(3))


def trained(folder, **changes):
    case = Case()
    widths = RandomWidths(case.net, case.grid, seed=3)
    return train_network(folder, case.model, widths, epochs=20, **changes)


def test_a_training_learns_and_goes_on_to_the_same_bits(one_thread, tmp_path):
    expected, rows = trained(tmp_path / "whole")
    losses = [row["train_loss"] for row in rows]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    for number, images in enumerate((BATCH + 1, 5 * BATCH + 1)):
        folder = tmp_path / str(number)
        with pytest.raises(StopError):
            trained(folder, hook=stop_at(images), checkpoint_minutes=1e-9)
        assert trained(folder) == (expected, rows)
