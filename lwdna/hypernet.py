"""Latent vectors, the hypernetwork that makes weights from them, and latent gradients.

A convolution with weight ``W`` of shape (n, c, k, k) is generated from the latent vectors
``z_o`` (n) and ``z_i`` (c) of its output and input channels and the hypernetwork's tensors
``weight1`` (n, c, m) and ``weight2`` (n, c, k^2, m)::

    e = (z_o[o] z_i[i] + bias0[o, i]) weight1[o, i] + bias1[o, i]        (m)
    W[o, i] = weight2[o, i] @ e + bias2[o, i]                            (k^2)

(Listing 1 of the supplement; biases start at zero.) An axis without a channel set, the inside
of a group or the single input of a depthwise convolution, has a latent vector of its own that is
never pruned (Sec. 1.1). Linear layers have ordinary weights.

At initialisation ``W[o, i] = z_o[o] z_i[i] V[o, i]``, so that the chain rule gives

    z_e dL/dz_e = sum of W dL/dW over every weight that z_e takes part in,

and one ordinary backward pass of the plain network, with its weights drawn from that
distribution, yields the latent gradients: ``latent_gradients`` needs no hypernetwork.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lwdna.channels import ChannelGraph, Classes
from lwdna.errors import ConfigError, TrainingError
from lwdna.layers import CONVOLUTIONS, TRANSPOSED

EMBEDDING = 8
"""The embedding dimension m of the authors' code (2 in its ImageNet command)."""
WARMUP: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
"""The SGD of the authors' search epoch, over every tensor of the hypernetwork."""
_BLOCK = 2**22
"""Elements of ``weight2`` drawn at a time."""

LossFunction = Callable[[nn.Module], Tensor]
"""Maps the network in training mode to the scalar loss of the next batch, which it draws."""


@dataclass(frozen=True)
class HyperLayer:
    """A convolution whose weight the hypernetwork makes."""

    name: str
    module: Any
    axes: tuple[Classes | None, Classes | None]
    """Classes along the first two axes of the weight; None for a latent vector of its own."""

    @property
    def fan_in(self) -> int:
        """Inputs that an output element sums over."""
        n, c = self.module.weight.shape[:2]
        inputs = n // self.module.groups if isinstance(self.module, TRANSPOSED) else c
        return int(inputs) * self.kernel

    @property
    def kernel(self) -> int:
        """Elements of a kernel, k^2."""
        return int(np.prod(self.module.kernel_size))


def hyper_layers(graph: ChannelGraph, model: nn.Module) -> list[HyperLayer]:
    """The layers of ``model`` (the graph's network, or a copy) that get a hypernetwork.

    Raises:
        ConfigError: if there is none.
    """
    layers = []
    for name in graph.layers:
        module = model.get_submodule(name)
        if isinstance(module, CONVOLUTIONS) and module.weight.requires_grad:
            first, second = graph.axes[f"{name}.weight"][:2]
            layers.append(HyperLayer(name, module, (first, second)))
    if not layers:
        raise ConfigError(
            f"{type(model).__name__} has no convolution with a trained weight, so there is "
            "nothing that latent vectors could generate; give a convolutional network."
        )
    return layers


def scored_classes(graph: ChannelGraph, model: nn.Module) -> NDArray[np.bool_]:
    """Which latent elements take part in generating a weight: ``(classes,)``.

    The others, such as the channels between two linear layers, have no gradient to be judged by.
    """
    scored = np.zeros(graph.classes, np.bool_)
    for layer in hyper_layers(graph, model):
        for classes in layer.axes:
            if classes is not None:
                scored[classes[classes >= 0]] = True
    return scored


def draw_latents(graph: ChannelGraph, seed: int) -> Tensor:
    """Draw every latent vector from N(0, 1).

    Returns:
        ``(classes,)`` in float64: the element of each class of the graph; no element is 0.
    """
    z = torch.ones(graph.classes, dtype=torch.float64)
    for channels in graph.sets:
        z[torch.from_numpy(channels.classes)] = _normal(len(channels), seed, channels.name)
    return z


def _normal(count: int, seed: int, name: str) -> Tensor:
    z = torch.randn(count, dtype=torch.float64, generator=_generator(seed, f"latent {name}"))
    return torch.where(z == 0, torch.finfo(torch.float64).eps, z)


def _axis_latents(layer: HyperLayer, axis: int, z: Tensor, seed: int) -> Tensor:
    """The latent elements along an axis of the weight; class -1 is a constant 1."""
    classes = layer.axes[axis]
    if classes is None:
        return _normal(layer.module.weight.shape[axis], seed, f"{layer.name} inside")
    index = torch.from_numpy(classes)
    return torch.where(index < 0, 1.0, z[index.clamp(min=0)])


def _draws(layer: HyperLayer, seed: int, embedding: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Draw ``weight1`` and ``weight2`` of a layer, a block of rows at a time.

    Hyperfan-in: Uniform(-sqrt 3, sqrt 3), and Uniform of variance 1 / (m fan_in), so that the
    generated weight has variance 1 / fan_in.
    """
    n, c = layer.module.weight.shape[:2]
    dtype = layer.module.weight.dtype
    generator = _generator(seed, f"hypernetwork {layer.name}")
    bound = math.sqrt(3 / (embedding * layer.fan_in))
    rows = max(1, _BLOCK // (c * layer.kernel * embedding))
    for start in range(0, n, rows):
        block = slice(start, min(start + rows, n))
        height = block.stop - block.start
        weight1 = torch.empty(height, c, embedding, dtype=dtype)
        weight2 = torch.empty(height, c, layer.kernel, embedding, dtype=dtype)
        weight1.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator)
        weight2.uniform_(-bound, bound, generator=generator)
        yield block, weight1, weight2


@torch.no_grad()
def draw_weights(
    graph: ChannelGraph, model: nn.Module, z: Tensor, *, seed: int, embedding: int = EMBEDDING
) -> None:
    """Give the network the weights that a fresh hypernetwork would generate, layer by layer.

    Convolution biases become 0, as in the authors' hypernetwork; everything else stays.
    """
    for layer in hyper_layers(graph, model):
        weight = layer.module.weight
        z_0, z_1 = (_axis_latents(layer, axis, z, seed).to(weight.dtype) for axis in (0, 1))
        for block, weight1, weight2 in _draws(layer, seed, embedding):
            v = torch.matmul(weight2, weight1.unsqueeze(-1)).squeeze(-1)
            v *= torch.outer(z_0[block], z_1).unsqueeze(-1)
            weight[block] = v.view(weight[block].shape).to(weight.device)
        if layer.module.bias is not None:
            layer.module.bias.zero_()


class HyperWeight(nn.Module):
    """The hypernetwork of one convolution, as a parametrization of its weight (Listing 1)."""

    def __init__(
        self, layer: HyperLayer, latents: LatentVectors, seed: int, embedding: int
    ) -> None:
        super().__init__()
        self.latents = latents
        self.layer = layer
        self.draw = (seed, embedding)
        self.shape = layer.module.weight.shape
        inside = [
            _normal(size, seed, f"{layer.name} inside")
            for classes, size in zip(layer.axes, self.shape[:2], strict=True)
            if classes is None
        ]
        weight = layer.module.weight
        self.inside = nn.ParameterList(nn.Parameter(z.to(weight)) for z in inside)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """The tensors that take the place of the weight: a fresh draw, and zero biases."""
        blocks = [(w1, w2) for _, w1, w2 in _draws(self.layer, *self.draw)]
        weight1, weight2 = (
            torch.cat(parts).to(weight.device) for parts in zip(*blocks, strict=True)
        )
        bias0 = weight1.new_zeros(weight1.shape[:2])
        bias1 = torch.zeros_like(weight1)
        bias2 = weight2.new_zeros(weight2.shape[:3])
        return weight1, weight2, bias0, bias1, bias2

    def forward(
        self, weight1: Tensor, weight2: Tensor, bias0: Tensor, bias1: Tensor, bias2: Tensor
    ) -> Tensor:
        """Generate the weight ``(n, c, k, k)`` from ``weight1`` ``(n, c, m)`` and the others."""
        z_0, z_1 = (
            self.inside[0] if classes is None else self.latents.along(classes)
            for classes in self.layer.axes
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
            nn.Parameter(z[torch.from_numpy(channels.classes)].to(like)) for channels in graph.sets
        )
        self._set = np.full(graph.classes, -1)
        self._position = np.zeros(graph.classes, np.int64)
        for number, channels in enumerate(graph.sets):
            self._set[channels.classes] = number
            self._position[channels.classes] = np.arange(len(channels))
        self._classes = [torch.from_numpy(channels.classes) for channels in graph.sets]

    def along(self, classes: Classes) -> Tensor:
        """The latent elements of channels ``(C,)``; 1 for channels that are always there."""
        numbers = np.where(classes < 0, -1, self._set[classes])
        used = [int(number) for number in np.unique(numbers) if number >= 0]
        offsets, start = {-1: 0}, 1
        for number in used:
            offsets[number] = start
            start += len(self.vectors[number])
        index = np.array([offsets[number] for number in numbers.tolist()])
        index += np.where(numbers < 0, 0, self._position[classes])
        one = self.vectors[0].new_ones(1)
        pool = torch.cat([one, *(self.vectors[number] for number in used)])
        return pool[torch.from_numpy(index).to(pool.device)]

    def gather(self, *, gradients: bool) -> Tensor:
        """Every latent element, or its gradient, by class: ``(classes,)`` in float64."""
        result = torch.full((len(self._set),), 0.0 if gradients else 1.0, dtype=torch.float64)
        for classes, vector in zip(self._classes, self.vectors, strict=True):
            values = vector.grad if gradients else vector.detach()
            if values is not None:
                result[classes] = values.cpu().double()
        return result


def attach_hypernetwork(
    graph: ChannelGraph, model: nn.Module, z: Tensor, *, seed: int, embedding: int = EMBEDDING
) -> LatentVectors:
    """Make every convolution of the network generate its weight, from the draws of ``seed``.

    The weights at this moment equal those of ``draw_weights`` with the same arguments.
    """
    layers = hyper_layers(graph, model)
    latents = LatentVectors(graph, z, layers[0].module.weight)
    for layer in layers:
        weight = HyperWeight(layer, latents, seed, embedding)
        parametrize.register_parametrization(layer.module, "weight", weight, unsafe=True)
        if layer.module.bias is not None:
            nn.init.zeros_(layer.module.bias)
    return latents


def detach_hypernetwork(graph: ChannelGraph, model: nn.Module) -> None:
    """Leave the generated weights in place as ordinary parameters."""
    for name in graph.layers:
        module = model.get_submodule(name)
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def latent_gradients(
    graph: ChannelGraph,
    model: nn.Module,
    loss_fn: LossFunction,
    *,
    batches: int = 2,
    warmup_steps: int = 0,
    seed: int = 0,
    embedding: int = EMBEDDING,
) -> tuple[Tensor, NDArray[np.float64]]:
    """Initialise a network by its latent vectors and read off the gradients of those.

    ``warmup_steps`` 0 is the paper's text: the gradients at initialisation, by the closed form.
    With more, as in the authors' code (1), the explicit hypernetwork first makes that many SGD
    steps on all its tensors, each on a batch of its own out of ``batches``. The network is left
    with the generated weights; its buffers (batch norm statistics) are left as they were.

    Returns:
        The latent elements by class and dL/dz, averaged over the batches left (at least one):
        ``(classes,)`` each.

    Raises:
        TrainingError: if a gradient is not finite.
    """
    z = draw_latents(graph, seed)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    if warmup_steps:
        latents = attach_hypernetwork(graph, model, z, seed=seed, embedding=embedding)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, **WARMUP)
        for _ in range(warmup_steps):
            _accumulate(model, loss_fn, 1)
            optimizer.step()
        _accumulate(model, loss_fn, max(1, batches - warmup_steps))
        z, gradients = latents.gather(gradients=False), latents.gather(gradients=True)
        model.zero_grad(set_to_none=True)
        detach_hypernetwork(graph, model)
    else:
        draw_weights(graph, model, z, seed=seed, embedding=embedding)
        _accumulate(model, loss_fn, batches)
        gradients = _closed_form(graph, model, z)
        model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    if not bool(torch.isfinite(gradients).all()):
        raise TrainingError(
            f"The gradients of the latent vectors are not finite (warmup_steps={warmup_steps}). "
            "Check that the loss is finite on an untrained network; a warm-up step may be too "
            "large for this network, so use warmup_steps=0."
        )
    return z, gradients.numpy()


def _accumulate(model: nn.Module, loss_fn: LossFunction, batches: int) -> None:
    """Leave in the parameters the gradient of the mean loss of the next ``batches``."""
    model.zero_grad(set_to_none=True)
    for _ in range(batches):
        loss = loss_fn(model)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ConfigError(
                "The loss function must return a tensor with one element that depends on the "
                f"network's weights, but it returned {loss!r:.60}."
            )
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"The loss of the untrained network is not finite ({loss.item()}); check the loss "
                "function and the scale of its inputs."
            )
        (loss / batches).backward()  # type: ignore[no-untyped-call]


@torch.no_grad()
def _closed_form(graph: ChannelGraph, model: nn.Module, z: Tensor) -> Tensor:
    """dL/dz of every class from dL/dW of the generated weights: ``(classes,)``."""
    total = torch.zeros(graph.classes, dtype=torch.float64)
    for layer in hyper_layers(graph, model):
        weight = layer.module.weight
        if weight.grad is None:
            continue
        product = (weight * weight.grad).flatten(2).sum(2).cpu()
        for axis, classes in enumerate(layer.axes):
            if classes is not None:
                index = torch.from_numpy(classes)
                real = index >= 0
                total.index_add_(0, index[real], product.sum(1 - axis).double()[real])
    return total / z


def _generator(seed: int, name: str) -> torch.Generator:
    """A generator of its own for each purpose: draws do not depend on the order of layers."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
