"""Published numbers of channels: as masks on the graph, and as built networks."""

import json
import re
import tomllib
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchvision
import yaml
from click.testing import CliRunner
from running import run_python
from torch import nn

import lwdna
from lwdna.errors import ConfigError, DataError
from lwdna.graph.complexity import MaskedComplexity, count
from lwdna.graph.prefixes import channels_left, mask_of
from lwdna.networks.narrowing import narrow
from lwdna.networks.provenance import provenance_of
from lwdna.networks.weights import save
from lwdna.networks.zoo import (
    FOLDER,
    LISTS_OF_OURS,
    channels_of,
    find_list,
    read_lists,
    write_lists,
    zoo,
)
from lwdna.rivals.widths import Widths
from lwdna.shrinkage.replicate import LISTS
from lwdna.steps.zoo import main

PUBLISHED = {
    "autoslim-3005M": (3_004_547_840, 3_028_404_960, 23_185_064),
    "autoslim-2006M": (2_006_045_440, 2_024_665_440, 20_608_336),
    "autoslim-1000M": (999_850_432, 1_012_884_432, 13_344_136),
    "autoslim-570M": (570_004_736, 581_042_672, 7_417_104),
    "metapruning-2G": (1_989_926_060, 2_008_396_316, 15_712_607),
    "metapruning-1G": (1_027_554_986, 1_041_136_610, 10_567_336),
}
"""Multiply-accumulates of convolutions and the classifier, FLOPs and parameters, counted by
another program from the sources."""


@pytest.fixture(scope="module")
def resnet50():
    """ResNet50's graph, its counter, and an input."""
    with torch.device("meta"):
        model, example = lwdna.build("ResNet50"), torch.empty(1, 3, 224, 224)
    graph = lwdna.ChannelGraph(model, example)
    return graph, MaskedComplexity(graph), example


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lists_have_their_counts_to_the_digit(resnet50, name):
    graph, complexity, example = resnet50
    macs, flops, params = PUBLISHED[name]
    mask = mask_of(graph, channels_of(name))
    assert (complexity.flops(mask), complexity.params(mask)) == (flops, params)
    with torch.device("meta"):
        built = lwdna.build("ResNet50", channels=name)
    counted = count(built, example)
    assert (counted.layers, counted.flops, counted.params) == (macs, flops, params)
    entry = find_list(name)
    assert (entry.layer_macs, entry.flops, entry.params) == (macs, flops, params)
    norms = sum(2 * n for layer, n in entry.channels.items())
    assert entry.layer_params == params - norms  # every convolution has a batch norm
    assert channels_left(graph, mask) == channels_of(name)


def test_autoslims_lists_are_nested(resnet50):
    graph = resnet50[0]
    names = ("570M", "1000M", "2006M", "3005M")
    masks = [mask_of(graph, channels_of(f"autoslim-{name}")) for name in names]
    for smaller, larger in pairwise(masks):
        assert (smaller <= larger).all() and (smaller < larger).any()


def divisible(number, divisor=8):
    """MutualNet's rule: the nearest multiple, and one more where more than a tenth is lost."""
    nearest = max(divisor, int(number + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * number else nearest


def test_mutualnets_count_at_width_0_9(resnet50):
    """Its log counts convolutions, the classifier and what the pooling before that reads."""
    graph, _, example = resnet50

    def counts(channels):
        outer = channels.makers[-1].endswith(("conv3", "downsample.0"))
        whole = len(channels) if outer else 4 * len(channels)
        return divisible(0.9 * whole) // (1 if outer else 4)

    numbers = [counts(s) if s.prunable else len(s) for s in graph.sets]
    assert {58, 116, 230, 232, 460, 464, 920, 1840} < set(numbers)
    mask = Widths(graph).mask(np.array(numbers))
    with torch.device("meta"):
        built = lwdna.build("ResNet50", channels=channels_left(graph, mask))
    assert count(built, example).layers + 7 * 7 * 1840 == 3_338_064_192


def test_weights_are_those_of_the_first_channels():
    torch.manual_seed(0)
    net = torchvision.models.resnet50().eval()
    small = narrow(net, torch.empty(1, 3, 64, 64), channels_of("autoslim-570M"))
    assert torch.equal(small.conv1.weight, net.conv1.weight[:24])
    assert torch.equal(small.layer1[0].conv2.weight, net.layer1[0].conv2.weight[:16, :8])
    assert not small.training
    assert type(small) is type(net) and provenance_of(net).kept is None


def test_a_network_with_a_list_is_drawn_at_its_size(tmp_path):
    torch.manual_seed(0)
    net = lwdna.build("ResNet50", channels="autoslim-570M")
    weight = net.layer4[2].conv2.weight
    assert weight.shape == (280, 280, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (9 * 280)) ** 0.5, rel=0.02)
    with pytest.raises(ConfigError, match="a width of 2 was given too; leave it out"):
        lwdna.build("ResNet50", channels="autoslim-570M", width=2)
    with pytest.raises(ConfigError, match="The width multiplier is 'wide'; give a number"):
        lwdna.build("ResNet50", channels="autoslim-570M", width="wide")
    with pytest.raises(ConfigError, match="'channels' of ResNet50 is a list; give the name of"):
        lwdna.build("ResNet50", channels=[64])
    save(net, tmp_path / "net.safetensors")
    again = lwdna.load(tmp_path / "net.safetensors").eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(again(x), net.eval()(x))


def test_a_list_is_of_a_network_for_other_images_too():
    with torch.device("meta"):
        net = lwdna.build("ResNet50", dataset="cifar10", channels="metapruning-1G")
    assert net.layer4[2].conv3.weight.shape == (2048, 327, 1, 1)
    assert net.fc.weight.shape == (10, 2048)


class Tied(nn.Module):
    """Two layers that are added, and one whose channels go two by two."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
        self.c = nn.Conv2d(8, 8, 3, groups=4)
        self.d = nn.Linear(8, 2)

    def forward(self, x):
        """Map (B, 3, H, W) to (B, 2)."""
        return self.d(self.c(self.a(x) + self.b(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        ({"a": 4, "b": 6, "c": 4}, "'b' and 'a' share channels, but the list has 6 of one and 4"),
        ({"a": 5}, "'a' cannot have 5 channels: its channels go together; give 4 or 6"),
        ({"a": 10}, "'a' cannot have 10 channels: it has 8; give fewer, or a wider network"),
        ({"a": 0}, "'a' cannot have 0 channels: 2 is the least"),
        ({"d": 1}, "'d' cannot have 1 channels: 2 is the least"),
        ({"e": 1}, "The network has no layer 'e'"),
        ({"a": 4.5}, "The number of channels of 'a' is 4.5; give a whole number"),
        ({"a": "4"}, "The number of channels of 'a' is '4'; give a whole number"),
        ({"a": True}, "The number of channels of 'a' is True; give a whole number"),
        ({"a": None}, "The number of channels of 'a' is None; give a whole number"),
        ([4], "The list of channels is a list; give numbers of channels by the names of layers"),
        ("autoslim-570M", "is 'autoslim-570M'; give .* such as those of lwdna.channels_of"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(channels, sentence):
    with pytest.raises(ConfigError, match=sentence):
        narrow(Tied(), torch.empty(1, 3, 8, 8), channels)


def test_coupled_layers_need_not_all_be_named():
    small = narrow(Tied(), torch.empty(1, 3, 8, 8), {"a": 4})
    assert (small.a.out_channels, small.b.out_channels, small.c.groups) == (4, 4, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("autoslim-3000M",), "did you mean 'autoslim-3005M'"),
        (("autoslim-570M", "VGG"), "no list of channels for 'VGG': allowed: .*'ResNet50'"),
        (("lw-dna", "ResNet-56"), "did you mean 'ResNet56'"),
        ((570,), "The list is 570; give a name"),
    ],
    ids=str,
)
def test_lists_that_do_not_exist(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        channels_of(*arguments)


def test_every_list_is_told_from_the_others():
    keys = [(entry.network, entry.dataset, entry.name) for entry in zoo()]
    assert len(set(keys)) == len(keys) >= len(PUBLISHED)
    for entry in zoo():
        assert find_list(entry.name, entry.network, entry.dataset) == entry
        assert entry.source and entry.about


def test_files_are_read_as_they_are_written(tmp_path):
    for path in sorted(FOLDER.glob("*.json")):
        write_lists(tmp_path / path.name, read_lists(path))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"network": "ResNet50"}'])
def test_a_damaged_file_is_said(tmp_path, damage):
    (tmp_path / "a.json").write_text(damage)
    with pytest.raises(DataError, match="no file of channel lists"):
        read_lists(tmp_path / "a.json")
    with pytest.raises(DataError, match="no file of channel lists"):
        main.main(["--write", str(tmp_path)], standalone_mode=False)


def test_a_layer_without_channels_is_damage(tmp_path):
    said = json.loads((FOLDER / "metapruning-resnet50.json").read_text())
    said["lists"]["metapruning-1G"]["channels"]["conv1"] = 0
    (tmp_path / "a.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match="a layer without channels"):
        read_lists(tmp_path / "a.json")


def test_the_command_prints_lists():
    said = CliRunner().invoke(main, []).output
    assert [line.split()[2] for line in said.splitlines() if "autoslim" in line] == [
        name for name in PUBLISHED if "autoslim" in name
    ]
    one = CliRunner().invoke(main, ["autoslim-3005M"]).output
    assert ["layer4.2.conv3", "2016"] in [line.split() for line in one.splitlines()]
    assert "3,028,404,960 FLOPs, 23,185,064 parameters" in one
    assert "alone: 3,004,547,840 and 23,134,584" in one
    assert "github.com/JiahuiYu/slimmable_networks" in one
    some = CliRunner().invoke(main, ["--dataset", "cifar10"]).output
    assert {line.split()[1] for line in some.splitlines()[1:]} == {"cifar10"}
    with pytest.raises(ConfigError, match="for the dataset 'cifar': did you mean 'cifar10'"):
        CliRunner().invoke(main, ["--dataset", "cifar"], catch_exceptions=False)


def test_the_lists_are_read_without_pytorch():
    code = "import sys, lwdna; lwdna.channels_of('autoslim-570M'); print('torch' in sys.modules)"
    assert run_python("-c", code).strip() == "False"


OURS = {path.stem: path for path in sorted(FOLDER.glob(LISTS_OF_OURS.format("*")))}


def test_every_lw_dna_network_of_the_paper_has_its_lists():
    config = yaml.safe_load((FOLDER.parents[1] / "config/complexity.yaml").read_text())
    networks = config["replication"]["networks"]
    assert set(OURS) == {f"lw-dna-{name}" for name in networks}
    for name, section in networks.items():
        entries = read_lists(OURS[f"lw-dna-{name}"])
        criteria = set(LISTS.values()) - ({"lw-dna-warmup"} if name == "u-net" else set())
        assert criteria <= {entry.name for entry in entries}  # U-Net's warm-up diverges
        assert {(e.network, e.dataset) for e in entries} == {
            (section["network"], section.get("dataset"))
        }


@pytest.mark.parametrize("name", OURS)
def test_lists_of_lw_dna_have_the_counts_that_they_say(name):
    entries = read_lists(OURS[name])
    first = entries[0]
    with torch.device("meta"):
        wide = lwdna.build(first.network, dataset=first.dataset, width=first.width)
        example = torch.empty(first.input)
    graph = lwdna.ChannelGraph(wide, example)
    complexity = MaskedComplexity(graph, batch_norm=first.count_batch_norm)
    for entry in entries:
        assert entry.width == first.width
        mask = mask_of(graph, entry.channels)
        assert (complexity.flops(mask), complexity.params(mask)) == (entry.flops, entry.params)
        assert channels_left(graph, mask) == entry.channels
        target = float(re.search(r"([\d.]+) G FLOPs", entry.about)[1]) * 1e9
        assert 0.98 * target < entry.flops <= target


def test_a_list_of_lw_dna_is_what_shrinkage_comes_to():
    """By the magnitude of latent vectors, which needs neither images nor gradients."""
    wide, images = lwdna.build("MobileNetV1", width=2), torch.empty(1, 3, 64, 64)
    settings = {"criterion": "magnitude", "rho": 0.2, "tau": 0.45, "seed": 0}
    small = lwdna.shrink(wide, images, None, target_flops=0.046e9, **settings)
    found = find_list("lw-dna-magnitude", "MobileNetV1")
    assert (small.flops, small.params) == (found.flops, found.params)
    assert found.channels == {layer: len(small.kept[layer]) for layer in found.channels}
    assert set(small.kept) - set(found.channels) == {"classifier"}


def test_a_network_of_lw_dna_is_built_by_name():
    with torch.device("meta"):
        net = lwdna.build("ResNet56", channels="lw-dna")
    found = find_list("lw-dna", "ResNet56")
    assert lwdna.complexity(net, torch.empty(found.input)) == (found.flops, found.params)
    with pytest.raises(ConfigError, match=r"'lw-dna' is a list of several networks; .*ResNet56"):
        channels_of("lw-dna")
    with pytest.raises(ConfigError, match=r"DenseNet40 for several datasets; .* cifar10, cifar100"):
        channels_of("lw-dna", "DenseNet40")
    two = [channels_of("lw-dna", "DenseNet40", name) for name in ("cifar10", "cifar100")]
    assert two[0] != two[1] and two[0].keys() == two[1].keys()


def test_the_files_are_shipped():
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["lwdna"]
    shipped = {path for pattern in patterns for path in FOLDER.parent.glob(pattern)}
    assert set(FOLDER.iterdir()) == shipped
