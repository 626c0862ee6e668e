"""What cannot be shrunk, and what is no argument, is said in a sentence before anything is done."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import lwdna
from lwdna.errors import BudgetError, ConfigError, GraphError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import complexity

X = torch.randn(1, 3, 16, 16)


def case_name(value):
    """A name of a case that is the same in every process: addresses are not."""
    return None if " at 0x" in str(value) else str(value)


def network():
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 4, 1))


def shrink(model=None, x=X, **settings):
    model = network() if model is None else model
    settings = {"flops_ratio": 0.5, "criterion": "magnitude"} | settings
    return lwdna.shrink(model, x, None, **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"flops_ratio": None}, "No budget was given; give either target_flops, or flops_ratio"),
        ({"target_flops": 1e5}, "Two budgets were given"),
        ({"flops_ratio": 0}, "flops_ratio is 0; give a share above 0"),
        ({"flops_ratio": -0.5}, "flops_ratio is -0.5"),
        ({"flops_ratio": "half"}, "flops_ratio is 'half'"),
        ({"flops_ratio": True}, "flops_ratio is True"),
        ({"flops_ratio": None, "target_flops": "1e5"}, "target_flops is '1e5'; give a number"),
        ({"flops_ratio": None, "target_flops": float("nan")}, "target_flops is nan"),
        ({"flops_ratio": None, "target_flops": torch.tensor(1e5)}, "target_flops is tensor"),
        ({"rho": "0.2"}, "rho is '0.2'; give a number"),
        ({"rho": None}, "rho is None"),
        ({"rho": 1.5}, "rho is 1.5; give a share"),
        ({"tau": [0.4]}, r"tau is \[0.4\]"),
        ({"tau": float("nan")}, "tau is nan"),
        ({"seed": 0.5}, "seed is 0.5; give a whole number"),
        ({"seed": None}, "seed is None"),
        ({"seed": -1}, "seed is -1; give 0 or more"),
        ({"seed": 2**70}, "at most 63 bits"),
        ({"batches": 2.0}, "batches is 2.0; give a whole number"),
        ({"batches": True}, "batches is True"),
        ({"batches": 0}, "batches is 0; give at least 1"),
        ({"warmup_steps": "1"}, "warmup_steps is '1'"),
        ({"embedding": None}, "embedding is None"),
        ({"multiple_of": 0}, "multiple_of is 0; give at least 1"),
        ({"multiple_of": 8.0}, "multiple_of is 8.0"),
        ({"criterion": None}, "criterion is None; give a name"),
        ({"criterion": lambda graph: 1}, "which takes .graph.; give a function .* the settings"),
        ({"criterion": "magnitud"}, "did you mean 'magnitude'"),
        ({"start": 3}, "start is 3; give a name"),
        ({"batch_norm": "no"}, "batch_norm is 'no'; give True or False"),
    ],
    ids=case_name,
)
def test_settings_that_are_none(settings, said):
    with pytest.raises(ConfigError, match=said):
        shrink(**settings)


@pytest.mark.parametrize("loss", ["a name", 3, X])
def test_a_loss_that_is_no_function(loss):
    with pytest.raises(ConfigError, match=r"The loss is .*; give a function"):
        lwdna.shrink(network(), X, loss, flops_ratio=0.5)


def own(network, x):
    return network(x).sum()


@pytest.mark.parametrize(
    ("loss", "takes"),
    [
        (nn.CrossEntropyLoss(), "a CrossEntropyLoss, which takes (input, target)"),
        (torch.nn.functional.mse_loss, "a function, which takes (input, target, "),
        (nn.CrossEntropyLoss, "the class CrossEntropyLoss, which takes"),
        (own, "a function, which takes (network, x)"),
        (lambda: 0, "a function, which takes ()"),
    ],
    ids=case_name,
)
def test_a_loss_of_other_arguments(loss, takes):
    said = re.escape(f"The loss is {takes}") + ".*; give a function that is called with the network"
    with pytest.raises(ConfigError, match=said):
        lwdna.shrink(network(), X, loss, flops_ratio=0.5)


def test_an_error_in_a_loss_is_its_own():
    def loss(network):
        return own(network)

    with pytest.raises(TypeError, match="missing 1 required"):
        lwdna.shrink(network(), X, loss, flops_ratio=0.5)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda: lwdna.load("net.safetensors", network="net.py:make"), "is 'net.py:make'; give a "),
        (lambda: lwdna.load("net.safetensors", network=network()), "is a Sequential, which takes"),
        (lambda: lwdna.load("net.safetensors", network=nn.ReLU6().forward), "takes .input.; give"),
        (lambda: lwdna.load(None), "The path is None; give the name of a file"),
        (lambda: lwdna.load("."), "The path is '.'; give the name of a file"),
        (lambda: lwdna.export(network(), X, 3), "The path is 3; give the name of a file"),
        (lambda: lwdna.export(None, X, "net.pt2"), "The model is a NoneType"),
        (lambda: lwdna.export(nn.ReLU, X, "net.pt2"), "The model is the class ReLU"),
        (lambda: shrink().save(""), "The path is ''; give the name of a file"),
        (lambda: shrink().save("."), "The path is '.'; give the name of a file"),
    ],
    ids=case_name,
)
def test_what_is_no_file_or_function(use, said):
    with pytest.raises(ConfigError, match=said):
        use()


def test_numbers_of_numpy_are_numbers():
    settings = {"rho": np.float32(0.1), "seed": np.int64(3), "batches": np.int32(1)}
    assert shrink(flops_ratio=np.float64(0.5), **settings).flops > 0


def test_a_share_of_the_networks_own_flops():
    model = network()
    target = 0.37 * complexity(model, X)[0]
    by_share, by_number = (
        shrink(model, flops_ratio=0.37),
        shrink(model, flops_ratio=None, target_flops=target),
    )
    assert by_share.kept == by_number.kept
    assert by_share.flops <= target


USES = {"shrink": shrink, "graph": ChannelGraph, "complexity": complexity}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("ResNet20", "is a str"),
        ([], "is a list"),
        (nn.ReLU, "is the class ReLU; give a network"),
    ],
    ids=case_name,
)
def test_a_model_that_is_no_network(use, model, said):
    with pytest.raises(ConfigError, match=f"The model {said}"):
        USES[use](model, X)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X.numpy(), "is of type ndarray"),
        ((1, 3, 16, 16), "is a tuple that holds something of type int"),
        ({"x": X}, "is a dict of x; give a tensor"),
        (([X, X],), "is a tuple that holds something of type list"),
        ((), "is empty"),
        (None, "is of type NoneType"),
        (X[:0], "without a single image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_input_that_is_no_tensor(use, x, said):
    with pytest.raises(ConfigError, match=f"The example input .*{said}"):
        USES[use](network(), x)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.h = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(32, 4, 1)

    def forward(self, x, y, scale=1.0):
        return scale * self.h(torch.cat([self.e(x), self.e(y)], 1))


@pytest.mark.parametrize(
    ("x", "said"),
    [(X, "takes .x, y, scale., but 1 input was given: missing"), ([X] * 4, "4 inputs were given")],
)
def test_one_input_of_two(x, said):
    with pytest.raises(GraphError, match=said):
        shrink(Two(), x)
    assert shrink(Two(), [X, X]).flops > 0


class Passing(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, *args, **kwargs):
        return self.inside(*args, **kwargs)


def test_inputs_handed_on():
    small = shrink(Passing(network()))
    assert len(small.kept["inside.0"]) == len(shrink().kept["0"])
    assert len(shrink(Passing(Two()), (X, X)).kept["inside.e"]) < 16


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.compile, lambda model: torch.compile(nn.DataParallel(model))],
    ids=["DataParallel", "compile", "both"],
)
def test_a_wrapped_network_is_unwrapped(wrap, tmp_path):
    model = network()
    wrapped = wrap(model)
    assert complexity(wrapped, X) == complexity(model, X)
    small = shrink(wrapped)
    assert type(small.model) is nn.Sequential
    assert small.kept == shrink(model).kept
    small.save(tmp_path / "small.safetensors")
    for make in (network, lambda: wrap(network())):
        again = lwdna.load(tmp_path / "small.safetensors", network=make)
        assert type(again) is nn.Sequential
        assert torch.equal(again(X), small.model(X))


def unseen():
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.LazyConv2d(4, 1))


def compiled_inside():
    return nn.Sequential(torch.compile(nn.Conv2d(3, 32, 3)), nn.Conv2d(32, 4, 1))


# Of the layers that TorchScript compiles, one without lists as attributes: PyTorch finds built-in
# functions by the address of an object, also of one that is gone, and so it now and then takes a
# list for a function.
REFUSED = {
    "script": (lambda: torch.jit.script(nn.ReLU()), "is TorchScript"),
    "trace": (lambda: torch.jit.trace(network(), X), "is TorchScript"),
    "a part in TorchScript": (lambda: Passing(torch.jit.script(nn.ReLU())), "Module 'inside' is T"),
    "layers without a forward": (lambda: nn.ModuleList([network()]), "without a forward"),
    "a part compiled": (compiled_inside, "Module '0' is wrapped as OptimizedModule"),
    "a part without sizes": (unseen, "Module '1', a LazyConv2d, has no sizes"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_network_that_cannot_be_followed(use, case):
    make, said = REFUSED[case]
    with pytest.raises((ConfigError, GraphError), match=said):
        USES[use](make(), X)


def test_a_network_without_data_is_counted_but_not_shrunk():
    model = network().to("meta")
    assert complexity(model, X) == complexity(network(), X)
    assert ChannelGraph(model, X).elements == ChannelGraph(network(), X).elements
    with pytest.raises(ConfigError, match=r"'0.weight' of Sequential is on the meta device"):
        shrink(model)


class Eca(nn.Module):
    """Attention by a convolution along the channels, which ties them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        y = self.conv(x.mean((2, 3), keepdim=True).squeeze(-1).transpose(1, 2))
        return x * torch.sigmoid(y.transpose(1, 2).unsqueeze(-1))


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(3, 32, 3, padding=1)
        self.g, self.o = nn.Conv2d(64, 64, 3, padding=1, groups=2), nn.Conv2d(64, 4, 1)

    def forward(self, x):
        return self.o(self.g(torch.cat([self.a(x), self.b(x)], 1)))


def shuffling():
    return nn.Sequential(
        nn.Conv2d(3, 32, 1),
        nn.Conv2d(32, 32, 1, groups=4),
        nn.ChannelShuffle(4),
        nn.Conv2d(32, 4, 1),
    )


class Standardised(nn.Module):
    """Takes statistics over channels, one of which then stands for all."""

    def forward(self, x):
        return x - x.mean(1, keepdim=True)


TIED = {
    "a mean over channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 32, 3), Standardised(), nn.Conv2d(32, 4, 1)),
        "'0' stay whole, since they can only go together: mean at 1",
    ),
    "along channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), Eca(), nn.Conv2d(32, 4, 1)),
        "'0' stay whole, since they can only go together: .*1.conv",
    ),
    "groups over a concatenation": (Grouped, "'a', 'b', 'g' stay whole.*whole groups of g"),
    "shuffled groups": (shuffling, "'0', '1' stay whole.*whole groups of 1; 2"),
}


@pytest.mark.parametrize("case", TIED)
def test_the_tie_is_named_where_no_setting_helps(case):
    make, said = TIED[case]
    with pytest.raises(BudgetError, match=said) as caught:
        shrink(make(), rho=0.0, tau=0.0)
    assert "or lower rho" not in str(caught.value)


def half_fixed():
    model = network()
    model[2].requires_grad_(False)
    return model


class Adding(nn.Module):
    """Adds its input, so that all of its channels are those of input and output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Adding, "'input x' are inputs or outputs of the network"),
        (half_fixed, "'0' are fixed where they are made .* without a trained parameter"),
    ],
    ids=["ends", "fixed"],
)
def test_a_network_of_which_nothing_may_go(make, said):
    for target in (1, 1e12):
        with pytest.raises(BudgetError, match=f"no channel may go, .*{said}") as caught:
            shrink(make(), flops_ratio=None, target_flops=target)
        assert "Give a target" not in str(caught.value)


def test_settings_that_would_help_are_named():
    with pytest.raises(BudgetError, match=r"or lower rho or tau\."):
        shrink(rho=0.6)
    with pytest.raises(BudgetError, match="To lower rho or tau would not do") as caught:
        shrink(rho=0.6, flops_ratio=0.001)
    assert "stay whole" not in str(caught.value)


def test_weights_that_are_counted_are_not_warned_of(caplog):
    model = nn.Sequential(weight_norm(nn.Conv2d(3, 16, 3, padding=1)), nn.Conv2d(16, 4, 1))
    assert complexity(model, X)[0] == 256 * (27 * 16 + 16 * 4)
    assert not caplog.text


def test_buffers_that_a_tool_left_are_named(caplog):
    model = nn.Sequential(network(), nn.BatchNorm2d(4))
    shrink(model)
    assert not caplog.text
    for module in model.modules():
        module.register_buffer("total_ops", torch.zeros(1))
    shrink(model)
    assert "The buffers 0.0.total_ops, 0.1.total_ops, 0.2.total_ops, ... are none of" in caplog.text
