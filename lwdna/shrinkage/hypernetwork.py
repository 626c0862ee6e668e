"""Latent vectors, the hypernetwork that makes weights from them, and latent gradients.

A convolution with weight ``W`` of shape (n, c, k, k) is generated from the latent vectors
``z_o`` (n) and ``z_i`` (c) of its output and input channels and the hypernetwork's tensors
``weight1`` (n, c, m) and ``weight2`` (n, c, k^2, m)::

    e = (z_o[o] z_i[i] + bias0[o, i]) weight1[o, i] + bias1[o, i]        (m)
    W[o, i] = weight2[o, i] @ e + bias2[o, i]                            (k^2)

(Listing 1 of the supplement; biases start at zero.) An axis without a channel set, the inside
of a group or the single input of a depthwise convolution, has a latent vector of its own that is
never pruned (Sec. 1.1). A hidden linear layer is a 1x1 convolution; the classifier has ordinary
weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lwdna.graph.channels import ChannelGraph, Elements
from lwdna.shrinkage.latents import (
    EMBEDDING,
    Array,
    HyperLayer,
    draw_blocks,
    draw_inside,
    hyper_layers,
)


class HyperWeight(nn.Module):
    """The hypernetwork of one layer, as a parametrization of its weight (Listing 1)."""

    def __init__(
        self, layer: HyperLayer, latents: LatentVectors, seed: int, embedding: int
    ) -> None:
        super().__init__()
        self.latents = latents
        self.layer = layer
        self.draw = (seed, embedding)
        self.shape = layer.weight.shape
        inside = draw_inside([layer], seed).values()
        weight = layer.weight
        self.inside = nn.ParameterList(nn.Parameter(z.to(weight)) for z in inside)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """The tensors that take the place of the weight: a fresh draw, and zero biases.

        Args:
            weight: ``(n, c, k, k)``, of which only type and device matter.

        Returns:
            ``(n, c, m)`` and ``(n, c, k^2, m)``; biases ``(n, c)``, ``(n, c, m)``, ``(n, c, k^2)``.
        """
        seed, embedding = self.draw
        n, c = self.shape[:2]
        first = torch.empty(n, c, embedding, dtype=self.layer.precision)
        second = torch.empty(n, c, self.layer.kernel, embedding, dtype=self.layer.precision)

        def keep(rows: slice, weight1: Array, weight2: Array) -> None:
            first.numpy()[rows].reshape(-1, embedding)[:] = weight1.T
            second.numpy()[rows].reshape(-1, *second.shape[2:])[:] = weight2.transpose(2, 0, 1)

        draw_blocks([(self.layer, keep)], seed, embedding)
        weight1, weight2 = first.to(weight), second.to(weight)
        bias0 = weight1.new_zeros(weight1.shape[:2])
        bias1 = torch.zeros_like(weight1)
        bias2 = weight2.new_zeros(weight2.shape[:3])
        return weight1, weight2, bias0, bias1, bias2

    def forward(
        self, weight1: Tensor, weight2: Tensor, bias0: Tensor, bias1: Tensor, bias2: Tensor
    ) -> Tensor:
        """Generate the weight ``(n, c, k, k)`` from ``weight1`` ``(n, c, m)`` and the others."""
        z_0, z_1 = (
            self.inside[0] if elements is None else self.latents.along(elements)
            for elements in self.layer.axes
        )
        o = torch.outer(z_0, z_1) + bias0
        o = o.unsqueeze(-1) * weight1 + bias1
        o = torch.matmul(weight2, o.unsqueeze(-1)).squeeze(-1) + bias2
        return o.view(self.shape)


class LatentVectors(nn.Module):
    """One latent vector for each channel set of a graph."""

    def __init__(self, graph: ChannelGraph, z: Tensor, like: Tensor) -> None:
        super().__init__()
        self.vectors = nn.ParameterList(
            nn.Parameter(z[torch.from_numpy(channels.elements)].to(like)) for channels in graph.sets
        )
        self._set = np.full(graph.elements, -1)
        self._position = np.zeros(graph.elements, np.int64)
        for number, channels in enumerate(graph.sets):
            self._set[channels.elements] = number
            self._position[channels.elements] = np.arange(len(channels))
        self._elements = [torch.from_numpy(channels.elements) for channels in graph.sets]

    def along(self, elements: Elements) -> Tensor:
        """The latent elements of channels ``(C,)``; 1 for channels that are always there."""
        numbers = np.where(elements < 0, -1, self._set[elements])
        used = [int(number) for number in np.unique(numbers) if number >= 0]
        offsets, start = {-1: 0}, 1
        for number in used:
            offsets[number] = start
            start += len(self.vectors[number])
        index = np.array([offsets[number] for number in numbers.tolist()])
        index += np.where(numbers < 0, 0, self._position[elements])
        one = self.vectors[0].new_ones(1)
        pool = torch.cat([one, *(self.vectors[number] for number in used)])
        return pool[torch.from_numpy(index).to(pool.device)]

    def gather(self, *, gradients: bool) -> Tensor:
        """Every latent element, or its gradient: ``(elements,)`` in float64."""
        result = torch.full((len(self._set),), 0.0 if gradients else 1.0, dtype=torch.float64)
        for elements, vector in zip(self._elements, self.vectors, strict=True):
            values = vector.grad if gradients else vector.detach()
            if values is not None:
                result[elements] = values.cpu().double()
        return result


def attach_hypernetwork(
    graph: ChannelGraph, model: nn.Module, z: Tensor, *, seed: int, embedding: int = EMBEDDING
) -> LatentVectors:
    """Put a hypernetwork in the place of each weight that has one, from the draws of ``seed``.

    The latent vectors are ``z``, one after the other, of shape ``(elements,)``. The weights at this
    moment equal those of ``draw_weights`` with the same arguments.
    """
    layers = hyper_layers(graph, model)
    latents = LatentVectors(graph, z, layers[0].weight)
    for layer in layers:
        weight = HyperWeight(layer, latents, seed, embedding)
        parametrize.register_parametrization(layer.module, layer.parameter, weight, unsafe=True)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return latents


def detach_hypernetwork(graph: ChannelGraph, model: nn.Module) -> None:
    """Leave the generated weights in place as ordinary parameters."""
    for name in dict.fromkeys([*graph.layers, *(call.name for call in graph.taught)]):
        for module in list(model.get_submodule(name).modules()):
            if parametrize.is_parametrized(module):
                for parameter in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, parameter, leave_parametrized=True)
