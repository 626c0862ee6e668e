"""Small networks, masks and losses that tests share, and what all of them start from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.surgery import cut, silence, verify


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


@pytest.fixture
def measured(record_property, request):
    """Notes what a test measured, for the summary at the end."""
    return lambda what: record_property("measured", f"{request.node.name}: {what}")


class Net(nn.Module):
    """A network whose forward is the function ``run(self, *inputs)``; the rest it keeps."""

    def __init__(self, run: Callable, **kept: Any) -> None:
        super().__init__()
        self.run = run
        for name, value in kept.items():
            setattr(self, name, value)

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
def proven(random_mask, scramble, tmp_path):
    """Shrink a network and check all of it: what it computes, its counts, its file, its gradients.

    The network is given by a function that makes it, always alike. Returns the channel graph, and
    the smaller network of a mask drawn at random.
    """

    def prove(make: Callable[[], nn.Module], x: torch.Tensor) -> tuple[ChannelGraph, nn.Module]:
        wide, inputs = scramble(make()).double().eval(), x.double()
        graph = ChannelGraph(wide, inputs)
        counted = MaskedComplexity(graph)
        mask = random_mask(graph)
        for elements in [
            e for layer in graph.layers.values() for e in (layer.inputs, layer.outputs)
        ]:
            if (elements >= 0).all() and not mask[elements].any():
                mask[elements[0]] = True
        assert not mask.all()
        small = cut(graph, wide, mask)
        verify(graph, small, inputs, mask, counted, batch_norm=True)
        silent = silence(graph, wide, mask)
        torch.testing.assert_close(small(inputs), silent(inputs), rtol=1e-9, atol=1e-9)
        small(inputs).sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in small.parameters() if p.grad is not None)

        shrunk = lwdna.shrink(
            make(), x, None, target_flops=counted.flops(mask), rho=0.0, tau=0.0, criterion="random"
        )
        assert shrunk.flops <= counted.flops(mask) < shrunk.flops_before
        shrunk.save(tmp_path / "small.safetensors")
        again = lwdna.load(tmp_path / "small.safetensors", network=make)
        torch.testing.assert_close(again.eval()(x), shrunk.model.eval()(x))
        return graph, small

    return prove


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
