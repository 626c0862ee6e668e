"""FLOPs and parameters: exact integers of the paper's convention."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from lwdna.channels import ChannelGraph
from lwdna.complexity import MaskedComplexity, complexity
from lwdna.networks import build, input_shape

PAPER = Path(__file__).parents[2] / "paper"

GOLDEN = {
    "ResNet56": (127_369_856, 855_786),
    "MobileNetV1": (47_783_936, 3_411_976),
    "U-Net": (3_411_017_728, 7_759_521),
    "DnCNN": (9_126_805_504, 557_057),
    "EDSR": (90_370_883_584, 3_696_667),
    "SRResNet": (32_826_720_256, 1_535_638),
}
DNCNN_WITHOUT_BATCH_NORM = 9_095_348_224


def both(model, example_input, **options):
    """By running the network, and by the full mask of its graph; they must agree."""
    direct = complexity(model, example_input, **options)
    graph = ChannelGraph(model, example_input)
    masked = MaskedComplexity(graph, **options)
    full = graph.full_mask()
    assert (masked.flops(full), masked.params(full)) == direct
    return direct


@pytest.mark.parametrize("name", GOLDEN)
def test_networks_of_the_paper(name):
    with torch.device("meta"):
        model = build(name)
    assert both(model, torch.empty(input_shape(name))) == GOLDEN[name]


def test_table_2_leaves_batch_norm_out():
    model = build("DnCNN")
    example_input = torch.empty(input_shape("DnCNN"))
    flops, params = both(model, example_input, batch_norm=False)
    assert (flops, params) == (DNCNN_WITHOUT_BATCH_NORM, GOLDEN["DnCNN"][1])


@pytest.mark.parametrize(
    ("make", "size", "expected"),
    [
        # Its blocks use one ReLU three times: counting every call gives 4.1210 G.
        (torchvision.models.resnet50, 224, (4_117_734_400, 25_557_032)),
        (lambda: torchvision.models.mnasnet1_0(num_classes=200), 64, (27_100_672, 3_358_512)),
    ],
    ids=["resnet50", "mnasnet1_0"],
)
def test_networks_of_torchvision(make, size, expected):
    with torch.device("meta"):
        model = make()
    assert both(model, torch.empty(1, 3, size, size)) == expected


def decimals(text):
    return len(text.partition(".")[2])


@pytest.mark.parametrize(
    ("table", "name", "flops"),
    [
        ("table1", "ResNet56", GOLDEN["ResNet56"][0]),
        ("table1", "MobileNetV1", GOLDEN["MobileNetV1"][0]),
        ("table2", "U-Net", GOLDEN["U-Net"][0]),
        ("table2", "DnCNN", DNCNN_WITHOUT_BATCH_NORM),
    ],
)
def test_golden_numbers_are_the_printed_ones(table, name, flops):
    with (PAPER / f"{table}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == name]
    (row,) = [row for row in rows if row["method"] == "Baseline"]
    printed_flops, printed_params = row["flops_g"], row["params_m"]
    assert f"{flops / 1e9:.{decimals(printed_flops)}f}" == printed_flops
    assert f"{GOLDEN[name][1] / 1e6:.{decimals(printed_params)}f}" == printed_params


@pytest.mark.parametrize(
    ("module", "flops"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), 9 * 4 * 6 * 64),
        (nn.Conv2d(4, 6, 3, stride=2), 9 * 4 * 6 * 9),
        (nn.Conv2d(4, 6, (1, 3), groups=2, bias=False), 3 * 2 * 6 * 8 * 6),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4), 9 * 1 * 8 * 64),
        # By the convention at the output size, although 4 times fewer are computed.
        (nn.ConvTranspose2d(4, 6, 2, stride=2), 4 * 4 * 6 * 256),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), 4 * 2 * 6 * 256),
        (nn.Linear(8, 5), 8 * 5 * 4 * 8),
        (nn.BatchNorm2d(4), 2 * 4 * 64),
        (nn.BatchNorm2d(4, affine=False), 4 * 64),
        (nn.ReLU(), 4 * 64),
        (nn.ReLU6(), 4 * 64),
        (nn.PReLU(), 4 * 64),
        (nn.PReLU(4), 4 * 64),
        (nn.LeakyReLU(), 4 * 64),
        (nn.ELU(), 4 * 64),
        (nn.SiLU(), 0),
        (nn.Hardswish(), 0),
        (nn.Sigmoid(), 0),
        (nn.MaxPool2d(2), 0),
        (nn.PixelShuffle(2), 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("images", [1, 3])
def test_cost_of_a_module_is_that_of_one_image(module, flops, images):
    params = sum(p.numel() for p in module.parameters())
    assert both(nn.Sequential(module), torch.empty(images, 4, 8, 8)) == (flops, params)


def test_other_dimensions():
    assert both(nn.Sequential(nn.Conv1d(2, 3, 5)), torch.empty(1, 2, 9))[0] == 5 * 2 * 3 * 5
    assert both(nn.Sequential(nn.Conv3d(2, 3, 2)), torch.empty(1, 2, 4, 4, 4))[0] == 8 * 2 * 3 * 27


def test_activation_counts_its_last_call_and_a_layer_each_call(net):
    def run(self, x):
        return self.relu(self.pool(self.relu(self.conv(self.conv(x)))))

    model = net(run, conv=nn.Conv2d(2, 2, 1), relu=nn.ReLU(), pool=nn.MaxPool2d(2))
    assert both(model, torch.empty(1, 2, 8, 8))[0] == 2 * (2 * 2 * 64) + 2 * 16


def test_functional_activations_are_free_and_idle_parameters_count(net):
    model = net(lambda self, x: functional.relu(self.conv(x)), conv=nn.Conv2d(2, 2, 1))
    model.idle = nn.Conv2d(7, 7, 3)
    assert both(model, torch.empty(1, 2, 4, 4)) == (2 * 2 * 16, 6 + 7 * 7 * 9 + 7)


def test_linear_after_flatten_reads_every_position():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 5))
    assert both(model, torch.empty(1, 1, 2, 2))[0] == 3 * 4 + 12 * 5


def test_counting_leaves_no_trace(snapshot):
    model = build("ResNet8").train()
    before = snapshot(model)
    complexity(model, torch.randn(2, 3, 32, 32, generator=torch.Generator()))
    snapshot.compare(model, before)


def test_untraceable_network_can_be_counted(net):
    def run(self, x):
        for _ in range(len(x.shape) - 2):
            x = self.conv(x)
        return x if x.size(0) > 100 else self.conv(x)

    model = net(run, conv=nn.Conv2d(2, 2, 1))
    assert complexity(model, torch.empty(1, 2, 4, 4)) == (3 * 4 * 16, 6)


def test_masked_counts_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)
    )
    graph = ChannelGraph(model, torch.empty(1, 3, 5, 5))
    mask = graph.full_mask()
    mask[graph.layers["0"].outputs[[0, 2]]] = False
    counted = MaskedComplexity(graph)
    assert counted.flops(mask) == 25 * (9 * 3 * 2 + 2 * 2 + 2 + 2 * 2)
    assert counted.params(mask) == (27 * 2 + 2) + 2 * 2 + (2 * 2 + 2)
    # The mask is only read.
    assert np.count_nonzero(~mask) == 2
