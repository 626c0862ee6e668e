"""L1: the trained baseline, pruned by the norms of its channel groups."""

import json

import numpy as np
import pytest
import torch
from running import lwdna as command
from torch import nn

import lwdna
from lwdna.errors import BudgetError, ConfigError
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.surgery import silence
from lwdna.networks.build import build
from lwdna.networks.own import build as from_any
from lwdna.networks.provenance import provenance_of
from lwdna.networks.registry import input_shape
from lwdna.networks.weights import read_provenance, save
from lwdna.rivals.l1 import score

X = torch.empty(1, 2, 8, 8)
TASK = json.dumps({"kind": "classification", "mean": [0.3] * 3, "std": [0.3] * 3})
PROTOCOL = json.dumps(
    {
        "epochs": 1,
        "batch_size": 4,
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "schedule": {"kind": "cosine"},
    }
)


class Sum(nn.Module):
    """Two layers whose channels are added, and one that reads them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.c = nn.Conv2d(4, 6, 1)
        self.d = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        """Map (B, 2, H, W) to (B, 3, H, W)."""
        return self.d(self.c(self.norm(self.a(x) + self.b(x))))


@torch.no_grad()
def summed():
    """``Sum`` with weights made by hand: channel 2 is the largest only in all layers together."""
    net = Sum()
    for layer in (net.a, net.b, net.c, net.d):
        nn.init.constant_(layer.weight, 0.5)
    net.a.weight[:] = torch.tensor([4.0, 3.0, 3.0, 1.0])[:, None, None, None]
    net.b.weight[:] = -torch.tensor([1.0, 2.0, 3.0, 1.0])[:, None, None, None]
    net.c.weight[:, 3] = -3.0  # a channel is also what reads it
    nn.init.constant_(net.norm.weight, 100.0)
    return net


def test_scores_of_a_network_made_by_hand():
    net = summed()
    graph = lwdna.ChannelGraph(net, X)
    scores = score(graph, net, None, None)
    tied, inner = (next(s for s in graph.sets if s.name == name) for name in ("a", "c"))
    # Two weights of a, two of b and six of c: ten for each channel.
    sums = np.array([8 + 2 + 3, 6 + 4 + 3, 6 + 6 + 3, 2 + 2 + 18]) / 10
    assert scores[tied.elements] == pytest.approx(sums / sums.mean())
    assert scores[inner.elements] == pytest.approx(np.ones(6))


def test_the_largest_stay_and_ties_are_decided_by_order():
    small = lwdna.prune(summed(), X, score, flops_ratio=0.75, rho=0, tau=0)
    assert small.flops <= 0.75 * small.flops_before
    assert small.kept["a"] == small.kept["b"] == [2, 3]
    assert small.kept["c"] == list(range(len(small.kept["c"])))
    assert torch.equal(small.model.a.weight, summed().a.weight[[2, 3]])


def test_a_scale_of_the_weights_of_a_set_changes_nothing():
    net, other = summed(), summed()
    with torch.no_grad():
        for layer in (other.a, other.b, other.c):
            layer.weight.mul_(7)
        other.norm.weight.mul_(3)
    graph = lwdna.ChannelGraph(net, X)
    tied = next(s for s in graph.sets if s.name == "a").elements
    ours, theirs = (score(graph, n, None, None)[tied] for n in (net, other))
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("name", ["ResNet8", "MobileNetV1", "DenseNet40", "RegNetX-200MF", "U-Net"])
@pytest.mark.parametrize("ratio", [0.9, 0.4])
def test_the_budget_is_met_and_never_exceeded(name, ratio):
    torch.manual_seed(0)
    options = {"depth": 3, "channels": 8} if name == "U-Net" else {}
    dataset = None if name == "U-Net" else "cifar10"
    net, x = build(name, dataset=dataset, **options), torch.empty(input_shape(name, dataset))
    whole, _ = lwdna.complexity(net, x)
    small = lwdna.prune(net, x, score, flops_ratio=ratio, rho=0, tau=0)
    assert lwdna.complexity(small.model, x) == (small.flops, small.params)
    assert small.flops <= ratio * whole
    # No channel that is gone would fit any more.
    graph = lwdna.ChannelGraph(net, x)
    complexity, mask = MaskedComplexity(graph), graph.full_mask()
    for layer, kept in small.kept.items():
        outputs = graph.layers[layer].outputs
        gone = np.setdiff1d(np.arange(len(outputs)), kept)
        mask[outputs[gone][outputs[gone] >= 0]] = False
    assert complexity.flops(mask) == small.flops
    extra = complexity.extra_flops(mask, np.flatnonzero(~mask))
    assert (extra > ratio * whole - small.flops).all()


def test_the_pruned_network_is_the_baseline_with_silent_channels():
    torch.manual_seed(0)
    net = build("ResNet14", dataset="cifar10")
    x = torch.randn(16, 3, 32, 32)
    for _ in range(2):
        net(x)  # running statistics of its own
    net = net.double().eval()
    x = x.double()
    small = lwdna.prune(net, x[:1], score, flops_ratio=0.6)
    graph = lwdna.ChannelGraph(net, x[:1])
    mask = graph.full_mask()
    for layer, kept in small.kept.items():
        outputs = graph.layers[layer].outputs
        mask[np.setdiff1d(outputs[outputs >= 0], outputs[kept])] = False
    with torch.no_grad():
        ours, silent = small.model(x), silence(graph, net, mask)(x)
        assert (ours - silent).abs().max() < 1e-12 * silent.abs().max()
        assert (ours - net(x)).abs().max() > 1e-3


def test_the_file_says_how_it_was_pruned_and_is_read_back(tmp_path):
    torch.manual_seed(0)
    net, x = build("ResNet8", dataset="cifar10"), torch.randn(2, 3, 32, 32)
    small = lwdna.prune(net, x[:1], score, flops_ratio=0.7, seed=3)
    small.save(tmp_path / "small.safetensors")
    again = lwdna.load(tmp_path / "small.safetensors").eval()
    with torch.no_grad():
        assert torch.equal(again(x), small.model.eval()(x))
    settings = provenance_of(again).shrinkage.settings
    assert settings["criterion"] == "lwdna.rivals.l1:score"
    assert settings["seed"] == 3 and "embedding" not in settings and "start" not in settings


def test_what_cannot_be_is_refused():
    net = summed()
    with pytest.raises(BudgetError, match="rho"):
        lwdna.prune(net, X, score, flops_ratio=0.01)
    with pytest.raises(ConfigError, match="The criterion is 'l1'; give a function"):
        lwdna.prune(net, X, "l1", flops_ratio=0.5)
    with pytest.raises(ConfigError, match="gave scores of shape"):
        lwdna.prune(net, X, lambda *_: np.ones(1), flops_ratio=0.5)
    with pytest.raises(ConfigError, match="No budget"):
        lwdna.prune(net, X, score)


NETWORK = """
from torch import nn


def make(width=1):
    n = int(8 * width)
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU(), nn.Conv2d(n, 4, 1))
"""


@pytest.fixture
def trained(tmp_path):
    """The file of a network by its name, and that of a network of a user's own."""
    (tmp_path / "net.py").write_text(NETWORK)
    torch.manual_seed(0)
    save(build("ResNet8", dataset="cifar10"), tmp_path / "named.safetensors")
    save(from_any(f"{tmp_path}/net.py:make"), tmp_path / "own.safetensors")
    return tmp_path


def prune(folder, weights, *arguments):
    words = ["prune", folder / weights, "--criterion", "l1", *arguments]
    return command(*words, "--output", folder / "small.safetensors")


def test_the_command_prunes_what_was_trained(trained):
    status, said = prune(trained, "named.safetensors", "--flops-ratio", 0.5, "--seed", 4)
    assert status == 0, said
    small = lwdna.load(trained / "small.safetensors")
    whole = lwdna.load(trained / "named.safetensors")
    x = torch.empty(1, 3, 32, 32)
    assert lwdna.complexity(small, x)[0] <= 0.5 * lwdna.complexity(whole, x)[0]
    summary = json.loads((trained / "small.json").read_text())
    assert summary["flops"]["percent_of_baseline"] == summary["flops"]["percent"] <= 50
    assert summary["settings"]["seed"] == 4 and summary["network"]["width"] == 1


def test_the_command_prunes_a_network_of_ones_own(trained):
    own = ("--network", f"{trained}/net.py:make", "--input", "1x3x8x8")
    channels = trained / "channels.csv"
    status, said = prune(
        trained, "own.safetensors", *own, "--flops-ratio", 0.6, "--channels", channels
    )
    assert status == 0, said
    kept = read_provenance(trained / "small.safetensors").kept
    lines = [line.split(",")[:5] for line in channels.read_text().splitlines()]
    first = ["0", "8", "8", str(len(kept["0"])), "False"]
    assert lines[1:] == [first, ["2", "4", "4", "4", "True"]] and len(kept["0"]) < 8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "No budget was given"),
        (("--flops-ratio", 0.5, "--target-flops", 1e6), "Two budgets were given"),
        (("--flops-ratio", 0.001), "cannot be reached: with this rho, tau and width"),
    ],
    ids=str,
)
def test_the_command_refuses_what_cannot_be(trained, arguments, sentence):
    status, said = prune(trained, "named.safetensors", *arguments)
    assert status == 1 and sentence in said and "Traceback" not in said
    assert not (trained / "small.safetensors").exists()


def test_a_wrong_share_is_a_usage_error(trained):
    status, said = prune(trained, "named.safetensors", "--flops-ratio", 0.5, "--rho", 2)
    assert status == 2 and "--rho" in said and "Traceback" not in said
    assert not (trained / "small.safetensors").exists()


def test_the_command_needs_what_makes_a_network_of_ones_own(trained):
    status, said = prune(trained, "own.safetensors", "--flops-ratio", 0.5)
    assert status == 1 and "--network FILE:FUNCTION" in said


def test_the_command_does_not_write_over_what_it_reads(trained):
    weights = trained / "small.safetensors"
    (trained / "named.safetensors").rename(weights)
    before = weights.read_bytes()
    status, said = prune(trained, weights.name, "--flops-ratio", 0.5)
    assert status == 2 and "Give WEIGHTS and --output different files" in said
    assert weights.read_bytes() == before


@pytest.mark.parametrize("other", ["--channels", "--history"])
def test_a_search_writes_no_file_over_another(tmp_path, other):
    files = {"--history": "h.csv", "--channels": "c.csv", other: "t.csv", "--trajectory": "t.csv"}
    status, said = command(
        *("autoslim", "ResNet8", "--flops-ratio", 0.5, "--task", TASK, "--protocol", PROTOCOL),
        *("--train", tmp_path, "--test", tmp_path, "--checkpoints", tmp_path),
        *(word for name, file in files.items() for word in (name, tmp_path / file)),
        *("--output", tmp_path / "small.safetensors"),
    )
    assert status == 2 and f"Give --trajectory and {other} different files" in said
    assert not list(tmp_path.iterdir())
