"""Optimisers and Fabric without the compiler are PyTorch's optimisers, and the Fabric with it."""

import pytest
import torch
from running import run_python
from torch import nn

from lwdna.training.protocol import Protocol

SCHEDULE = {"kind": "cosine"}


def steps(optimizer, parameters):
    """Make a few steps with gradients that are always the same."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        optimizer.zero_grad()
        assert all(p.grad is None for p in parameters)
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
        assert torch.is_grad_enabled() and not any(p.grad_fn for p in parameters)


@pytest.mark.parametrize(
    ("kind", "theirs", "settings"),
    [
        ("sgd", torch.optim.SGD, {"lr": 0.1}),
        ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}),
        ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("adam", torch.optim.Adam, {"lr": 0.01, "weight_decay": 1e-3}),
    ],
)
def test_an_optimizer_computes_what_that_of_pytorch_does(kind, theirs, settings):
    section = {"kind": kind, **settings}
    plan = Protocol.read({"epochs": 1, "batch_size": 2, "optimizer": section, "schedule": SCHEDULE})
    start = [torch.randn(3, 4), torch.randn(5)]
    ours, own = ([nn.Parameter(x.clone()) for x in start] for _ in range(2))
    optimizer, reference = plan.make_optimizer(ours), theirs(own, **settings)
    assert isinstance(optimizer, theirs)
    steps(optimizer, ours)
    steps(reference, own)
    assert all(
        torch.equal(a, b) and not torch.equal(a, c)
        for a, b, c in zip(ours, own, start, strict=True)
    )

    again = plan.make_optimizer(ours)
    again.load_state_dict(optimizer.state_dict())
    assert again.state_dict()["param_groups"] == reference.state_dict()["param_groups"]
    steps(again, ours)
    steps(reference, own)
    assert all(map(torch.equal, ours, own))


COMPILED = """
import sys
import torch
from lwdna.training.devices import make_fabric

fabric = make_fabric("cpu", 1, "32-true")
assert "torch._dynamo" not in sys.modules
network = torch.nn.Linear(2, 2)
assert fabric.setup(network).module is network
compiled = fabric.setup(torch.compile(network, dynamic=False))
assert compiled.module is network, "Fabric took it for another network"
assert torch._dynamo.OptimizedModule in map(type, compiled.children()), "it is not compiled"
"""


@pytest.mark.parametrize(
    "asks", ["torch._dynamo.config", "__import__('torch._dynamo.config')", "from_it"]
)
def test_what_asks_for_more_of_the_compiler_is_imported_with_it(asks, tmp_path):
    source = f"more = {asks}" if asks != "from_it" else "from torch._dynamo import config as more"
    (tmp_path / "lightning_fabric.py").write_text(f"import torch\n{source}\n")
    code = (
        "from lwdna.training.uncompiled import load_fabric_uncompiled\n"
        "load_fabric_uncompiled()\nfrom lightning_fabric import more\nassert more.__name__"
    )
    run_python("-c", code, folder=tmp_path)  # where modules are found first


def test_fabric_knows_a_compiled_network_though_it_was_loaded_without_the_compiler():
    run_python("-c", COMPILED)
