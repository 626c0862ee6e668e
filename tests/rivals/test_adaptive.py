"""A trained network at several widths is what it is cut to, with batch norm of its own."""

import copy

import pytest
import torch
from searches import EXAMPLE, Noise, network, trained

import lwdna
from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.surgery import cut
from lwdna.rivals.adaptive import measured_at
from lwdna.rivals.mutualnet import resized
from lwdna.rivals.widths import Widths
from lwdna.tasks.task import task_for
from lwdna.training.evaluation import evaluate
from lwdna.training.recalibration import recalibrate


class Pairs:
    """What is tested on: pairs of image and class."""

    def __init__(self):
        self.data = Noise()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[0, index]


TASK = task_for("classification")


def measured(model, **settings):
    return measured_at(
        model, EXAMPLE, task=TASK, train_data=Noise(), test_data=Pairs(), calibration=2, **settings
    )


@pytest.fixture(scope="module")
def model(one_thread, tmp_path_factory):
    found = network()
    trained(tmp_path_factory.mktemp("training"), found)
    return found


def test_each_is_the_network_cut_to_its_width_and_given_images_of_its_size(model):
    before = copy.deepcopy(model.state_dict())
    rows = measured(model, widths=[1.0, 0.5], sizes=[8, 6])
    assert [(row["width"], row["size"]) for row in rows] == [(1, 8), (1, 6), (0.5, 8), (0.5, 6)]
    graph = ChannelGraph(model, EXAMPLE)
    widths = Widths(graph)
    images = torch.stack([Noise()[0, n][0] for n in range(len(Noise()))])
    classes = torch.tensor([Noise()[0, n][1] for n in range(len(Noise()))])
    for row in rows:
        small = cut(graph, model, widths.mask(widths.uniform(row["width"])))
        x = resized(images, row["size"])
        counted = lwdna.complexity(small, resized(EXAMPLE, row["size"]))
        assert (row["flops"], row["params"]) == counted and row["images"] == len(images)
        for column in ("top1_error_percent_before", "top1_error_percent"):
            with torch.no_grad():
                wrong = (small.eval()(x).argmax(1) != classes).float().mean()
            assert row[column] == pytest.approx(100 * float(wrong))
            recalibrate(small, [x])  # all images are one batch, in whatever order
    assert len({row["flops"] for row in rows}) == 4
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_the_whole_network_before_recalibration_is_as_it_was_tested(model):
    (row,) = measured(model, widths=[1.0])
    assert row["size"] is None
    assert row["top1_error_percent_before"] == evaluate(model, Pairs(), task=TASK)["top1_error"]


def test_without_batch_norm_there_is_nothing_to_recalibrate():
    for row in measured(network(norm=False), widths=[1.0, 0.3]):
        assert row["top1_error_percent_before"] == row["top1_error_percent"]


@pytest.mark.parametrize("width", [0.0, 1.2])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(ConfigError, match="give shares above 0, and at most 1"):
        measured(network(), widths=[1.0, width])
