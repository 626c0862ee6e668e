"""Small networks, masks and losses that tests share, and what all of them start from."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from lwdna.graph.channels import ChannelGraph


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Results are equal for a given number of threads; more only cost time here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def fixed_initialisation():
    torch.manual_seed(20210620)


class Net(nn.Module):
    """A network whose forward is the function ``run(self, *inputs)``."""

    def __init__(self, run: Callable, **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.run(self, x)


@pytest.fixture
def net():
    return Net


@pytest.fixture
def random_mask():
    """A mask that honours frozen elements and leaves every set at least one."""

    def draw(graph: ChannelGraph, seed: int = 0, share: float = 0.4) -> np.ndarray:
        generator = np.random.default_rng(seed)
        mask = graph.full_mask()
        for channels in graph.sets:
            dropped = (generator.random(len(channels)) < share) & ~channels.frozen
            if dropped.all():
                dropped[generator.integers(len(channels))] = False
            mask[channels.elements[dropped]] = False
        return mask

    return draw


@pytest.fixture
def scramble():
    """Give batch norms and PReLUs the statistics and slopes of a trained network."""

    def fill(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 1.5)
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.3)
                elif isinstance(module, nn.PReLU):
                    module.weight.uniform_(0.1, 0.5)
        return model

    return fill


@pytest.fixture
def stream():
    """A loss that draws a new batch at each call: ``stream(shape, dtype=...)``."""

    class Stream:
        def __init__(self, *shape: int, dtype=torch.float32, seed: int = 7, first: int = 0):
            self.generator = torch.Generator().manual_seed(seed)
            self.shape, self.dtype, self.calls, self.modes = shape, dtype, 0, []
            for _ in range(first):
                self.batch()

        def batch(self):
            return torch.randn(self.shape, dtype=self.dtype, generator=self.generator)

        def __call__(self, model):
            self.calls += 1
            self.modes.append(model.training)
            output = model(self.batch())
            weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype)
            return (output.flatten() * weights).mean() + 0.1 * output.square().mean()

    return Stream


@pytest.fixture
def snapshot():
    """Everything of a model, and of the process, that a function could change by accident."""

    def take(model: nn.Module):
        return (
            {name: tensor.clone() for name, tensor in model.state_dict().items()},
            {name: (type(m), m.training) for name, m in model.named_modules()},
            {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
            torch.get_rng_state(),
        )

    def compare(model: nn.Module, before) -> None:
        state, modes, parameters, random_state = before
        assert state.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, state[name]), name
        assert modes == {name: (type(m), m.training) for name, m in model.named_modules()}
        assert parameters == {
            name: (p.requires_grad, p.grad) for name, p in model.named_parameters()
        }
        assert torch.equal(torch.get_rng_state(), random_state)

    take.compare = compare
    return take
