"""FLOPs and parameters: exact integers of the paper's convention."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.networks.build import build
from lwdna.networks.registry import input_shape

PAPER = Path(__file__).parents[2] / "paper"

GOLDEN = {
    ("ResNet50", "imagenet"): (4_117_734_400, 25_557_032),
    ("RegNetX-4.0GF", "imagenet"): (4_000_485_200, 22_118_248),
    ("MobileNetV3-small", "imagenet"): (61_173_062, 3_107_558),
    ("MobileNetV1", "tiny-imagenet"): (47_783_936, 3_411_976),
    ("MobileNetV2", "tiny-imagenet"): (93_001_728, 2_480_072),
    ("MobileNetV3-large", "tiny-imagenet"): (86_014_918, 4_120_518),
    ("MobileNetV3-small", "tiny-imagenet"): (20_729_638, 2_082_758),
    ("MnasNet", "tiny-imagenet"): (27_100_672, 3_358_512),
    ("RegNetY-200MF", "cifar100"): (225_939_196, 2_830_896),
    ("RegNetY-400MF", "cifar100"): (458_529_472, 3_947_244),
    ("RegNetX-200MF", "cifar100"): (225_464_256, 2_352_692),
    ("RegNetX-400MF", "cifar100"): (469_825_024, 4_809_924),
    ("EfficientNet", "cifar100"): (416_124_416, 4_135_648),
    ("DenseNet40", "cifar100"): (290_146_848, 1_100_428),
    ("DenseNet40", "cifar10"): (290_105_808, 1_059_298),
    ("ResNet56", "cifar10"): (127_369_856, 855_786),
    ("U-Net", None): (3_411_017_728, 7_759_521),
    ("DnCNN", None): (9_126_805_504, 557_057),
    ("EDSR", None): (90_370_883_584, 3_696_667),
    ("SRResNet", None): (32_826_720_256, 1_535_638),
}
DNCNN_WITHOUT_BATCH_NORM = 9_095_348_224


def built(name, dataset=None, **options):
    """A network without data, and an input for it."""
    with torch.device("meta"):
        return build(name, dataset=dataset, **options), torch.empty(input_shape(name, dataset))


def both(model, example_input, **options):
    """By running the network, and by the full mask of its graph; they must agree."""
    direct = complexity(model, example_input, **options)
    graph = ChannelGraph(model, example_input)
    masked = MaskedComplexity(graph, **options)
    full = graph.full_mask()
    assert (masked.flops(full), masked.params(full)) == direct
    return direct


@pytest.mark.parametrize(("name", "dataset"), GOLDEN)
def test_networks_of_the_paper(name, dataset):
    assert both(*built(name, dataset)) == GOLDEN[name, dataset]


def test_table_2_leaves_batch_norm_out():
    flops, params = both(*built("DnCNN"), batch_norm=False)
    assert (flops, params) == (DNCNN_WITHOUT_BATCH_NORM, GOLDEN["DnCNN", None][1])


WIDENED_BY_2 = {
    "MobileNetV1": ("0.1836", "13.103"),
    "MobileNetV2": ("0.3484", "9.209"),
    "ResNet56": ("0.5053", "3.412"),
    # 16.1803 if every call of the ReLUs counted.
    "ResNet50": ("16.1737", "98.004"),
    "RegNetX-4.0GF": ("13.6646", "77.014"),
    "RegNetX-200MF": ("0.8329", "8.823"),
    "RegNetX-400MF": ("1.6474", "17.392"),
    "RegNetY-200MF": ("0.8348", "10.728"),
    "RegNetY-400MF": ("1.6908", "15.023"),
}
"""FLOPs in G, parameters in M."""


@pytest.mark.parametrize("name", WIDENED_BY_2)
def test_networks_widened_by_2(name):
    flops, params = complexity(*built(name, width=2))
    assert (f"{flops / 1e9:.4f}", f"{params / 1e6:.3f}") == WIDENED_BY_2[name]


@pytest.mark.parametrize(
    ("make", "size", "expected"),
    [
        # Its blocks use one ReLU three times: counting every call gives 4.1210 G.
        (torchvision.models.resnet50, 224, (4_117_734_400, 25_557_032)),
        (lambda: torchvision.models.mnasnet1_0(num_classes=200), 64, (27_100_672, 3_358_512)),
        # 59.8 M without h-swish and h-sigmoid.
        (torchvision.models.mobilenet_v3_small, 224, (60_608_360, 2_542_856)),
    ],
    ids=["resnet50", "mnasnet1_0", "mobilenet_v3_small"],
)
def test_networks_of_torchvision(make, size, expected):
    with torch.device("meta"):
        model = make()
    assert both(model, torch.empty(1, 3, size, size)) == expected


def decimals(text):
    return len(text.partition(".")[2])


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_golden_numbers_are_the_printed_ones(table):
    with (PAPER / f"{table}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "Baseline"]
    assert len(rows) == {"table1": 16, "table2": 2}[table]
    for row in rows:
        name = row["network"]
        flops, params = GOLDEN[name, row.get("dataset")]
        if name == "DnCNN":
            flops = DNCNN_WITHOUT_BATCH_NORM
        printed_flops, printed_params = row["flops_g"], row["params_m"]
        assert f"{flops / 1e9:.{decimals(printed_flops)}f}" == printed_flops, name
        assert f"{params / 1e6:.{decimals(printed_params)}f}" == printed_params, name


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
        # The ReLU6 inside them.
        (nn.Hardswish(), 4 * 64),
        (nn.Hardsigmoid(), 4 * 64),
        (nn.SiLU(), 0),
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
