"""PruningNet: a network whose weights are generated from its widths (Liu et al., 1903.10258).

Of each layer two fully connected layers make the weight ``W`` of shape (n, c, k, k) from the shares
``s`` of its output and input channels that are kept::

    h = relu(F1 s + f1)                (32)
    W[o, i] = A[o, i] @ h + B[o, i]    (k^2)

Trained at random widths, it tells how good networks of other widths are. The authors encode the
widths of a block, which a channel graph does not know; here a layer is encoded by its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lwdna.graph.channels import ChannelGraph, Mask, keeps
from lwdna.graph.meta import on_meta
from lwdna.graph.slicing import SlicedNetwork, sliced
from lwdna.graph.surgery import fit, tensors_of
from lwdna.rivals.widths import Grid
from lwdna.shrinkage.latents import HyperLayer, generator_for, hyper_layers
from lwdna.training.passes import Pass

HIDDEN = 32
"""Of the two fully connected layers, the size between them."""

# Keeps this random stream apart from others that are seeded with the same numbers.
_ENCODINGS = 0x656E636F6465


class GeneratedWeight(nn.Module):
    """The two fully connected layers of one layer, as a parametrization of its weight."""

    shares: Tensor

    def __init__(self, layer: HyperLayer, seed: int) -> None:
        super().__init__()
        self.layer, self.seed = layer, seed
        self.shape = layer.weight.shape
        self.register_buffer("shares", torch.ones(2).to(layer.weight), persistent=False)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """The tensors that take the place of the weight: a fresh draw.

        At full width the generated weight has variance 1 / fan-in, half of it from each of A and B.

        Args:
            weight: ``(n, c, k, k)``, of which only type and device matter.

        Returns:
            A ``(n, c, k^2, 32)``, B ``(n, c, k^2)``, F1 ``(32, 2)`` and f1 ``(32,)``.
        """
        generator = generator_for(self.seed, f"pruning net {self.layer.name}")
        precision, shape = self.layer.precision, (*self.shape[:2], self.layer.kernel)

        def uniform(*size: int) -> Tensor:
            values = torch.rand(size, dtype=precision, generator=generator)
            return (2 * values - 1) / math.sqrt(2)  # for two inputs, as nn.Linear draws

        first, bias = uniform(HIDDEN, 2), uniform(HIDDEN)
        hidden = float(torch.relu(first.sum(1) + bias).square().sum())
        second = torch.randn(*shape, HIDDEN, dtype=precision, generator=generator)
        second *= math.sqrt(0.5 / (self.layer.fan_in * hidden))
        constant = torch.randn(*shape, dtype=precision, generator=generator)
        constant *= math.sqrt(0.5 / self.layer.fan_in)
        return second.to(weight), constant.to(weight), first.to(weight), bias.to(weight)

    def forward(self, second: Tensor, constant: Tensor, first: Tensor, bias: Tensor) -> Tensor:
        """Generate the weight ``(n, c, k, k)``, or a part of its rows and columns.

        Args:
            second: A, ``(n, c, k^2, 32)``.
            constant: B, ``(n, c, k^2)``.
            first: F1, ``(32, 2)``.
            bias: f1, ``(32,)``.
        """
        hidden = torch.relu(first @ self.shares + bias)
        made = second @ hidden + constant
        return made.reshape(*made.shape[:2], *self.shape[2:]).contiguous()


class PruningNet(SlicedNetwork):
    """Runs a network at any mask over its channel graph with the weights generated for it.

    What is not generated, such as biases and batch norm, is shared as in every sliced network.

    Args:
        graph: the channel graph of ``model``.
        model: the network; its weights are replaced by what generates them.
        seed: of the draw.

    Raises:
        ConfigError: if there is no weight to generate.
    """

    def __init__(self, graph: ChannelGraph, model: nn.Module, *, seed: int) -> None:
        super().__init__(graph, model)
        self._structure = on_meta(model, values=True)
        self._layers: dict[str, HyperLayer] = {}
        self._weights: dict[str, GeneratedWeight] = {}
        names = {id(tensor): name for name, tensor in tensors_of(model).items()}
        for layer in hyper_layers(graph, model):
            name = names[id(layer.weight)]
            self._layers[name], self._weights[name] = layer, GeneratedWeight(layer, seed)
        for name, layer in self._layers.items():
            parametrize.register_parametrization(
                layer.module, layer.parameter, self._weights[name], unsafe=True
            )

    def tensors(self, mask: Mask) -> dict[str, Tensor]:
        """As of a sliced network: what is shared is sliced, what is generated is made for the mask.

        What generates the weights is sliced before it does, so that no more is made than is used.

        Args:
            mask: ``(elements,)``.
        """
        self.encode(mask)
        indices = self._slices(mask).indices
        found = {}
        for name, weight in self._weights.items():
            layer = self._layers[name]
            made = layer.module.parametrizations[layer.parameter]
            second, constant = (sliced(x, indices[name]) for x in (made.original0, made.original1))
            found[name] = weight(second, constant, made.original2, made.original3)
        return super().tensors(mask) | found

    def encode(self, mask: Mask) -> None:
        """Let weights be generated for the widths of a mask from now on.

        Args:
            mask: ``(elements,)``.
        """
        for name, weight in self._weights.items():
            shares = [
                1.0 if elements is None else float(keeps(mask, elements).mean())
                for elements in self._layers[name].axes
            ]
            # Not in place: a backward pass may yet need those of another mask.
            weight.shares = torch.tensor(shares).to(weight.shares)

    def plain(self, mask: Mask) -> nn.Module:
        """The network cut by a mask, with the weights generated for it as ordinary ones.

        Args:
            mask: ``(elements,)``.
        """
        state = {name: tensor.detach() for name, tensor in self.tensors(mask).items()}
        return fit(self._structure, state, self.graph.kept(mask), self.graph.remembered(mask))


def generators_size(graph: ChannelGraph, model: nn.Module) -> int:
    """How many numbers generate the weights of a network, beyond these weights' own number."""
    layers = hyper_layers(graph, model)
    return sum(layer.weight.numel() * HIDDEN + 3 * HIDDEN for layer in layers)


class RandomWidths:
    """One pass a step at widths drawn at random, a function of (seed, step).

    Args:
        network: runs the sub-networks.
        grid: the counts to draw from, of each set by itself.
        seed: of the widths.
    """

    def __init__(self, network: SlicedNetwork, grid: Grid, *, seed: int) -> None:
        self.network, self.grid, self.seed = network, grid, seed

    def __call__(self, step: int) -> Sequence[Pass]:
        """The pass of a step, by its number."""
        counts = self.grid.draw(np.random.default_rng([_ENCODINGS, self.seed, step]))
        return [Pass(partial(self.network, self.grid.widths.mask(counts)))]
