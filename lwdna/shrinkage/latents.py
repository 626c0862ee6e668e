"""Latent vectors, and the weights that they generate at initialisation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph, Elements
from lwdna.graph.operations import CONVOLUTIONS, TRANSPOSED
from lwdna.graph.rules import rule_of

EMBEDDING = 8
"""The embedding dimension m of the authors' code (2 in its ImageNet command)."""

_BLOCK = 2**18
"""Elements of ``weight2`` drawn at a time: few enough for a cache. A seed's draws depend on it."""

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}

Array = NDArray[Any]


@dataclass(frozen=True)
class HyperLayer:
    """A convolution or hidden linear layer whose weight the hypernetwork makes."""

    name: str
    module: Any
    axes: tuple[Elements | None, Elements | None]
    """Elements along the first two axes of the weight; None for a latent vector of its own."""
    parameter: str = "weight"
    """Which parameter of the module is the weight."""

    @property
    def weight(self) -> Tensor:
        """The weight ``(n, c, k, k)``."""
        weight: Tensor = getattr(self.module, self.parameter)
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The bias beside it, ``(n,)``, or in a transposed layer ``(c,)``."""
        return getattr(self.module, "bias", None)

    @property
    def fan_in(self) -> int:
        """Inputs that an output element sums over."""
        n, c = self.weight.shape[:2]
        inputs = n // self.module.groups if isinstance(self.module, TRANSPOSED) else c
        return int(inputs) * self.kernel

    @property
    def kernel(self) -> int:
        """Elements of a kernel, k^2."""
        return math.prod(self.weight.shape[2:])

    @property
    def precision(self) -> torch.dtype:
        """What the hypernetwork computes in: at least single precision."""
        double = self.weight.dtype == torch.float64
        return torch.float64 if double else torch.float32


Use: TypeAlias = Callable[[slice, Array, Array], None]
"""What is done with the rows of a block, its ``weight1`` and ``weight2``."""


class _Block(NamedTuple):
    """Rows of a layer that are drawn at once."""

    layer: HyperLayer
    use: Use
    rows: slice
    pairs: int
    """Of channels."""


def hyper_layers(graph: ChannelGraph, model: nn.Module) -> list[HyperLayer]:
    """The layers of ``model`` (the graph's network, or a copy) that get a hypernetwork.

    Raises:
        ConfigError: if there is none.
    """
    layers = []
    rules = {call.name: rule_of(model.get_submodule(call.name)) for call in graph.taught}
    for name, rule in rules.items():
        for tensor in rule.generated if rule is not None else ():
            owner, _, parameter = f"{name}.{tensor}".rpartition(".")
            module = model.get_submodule(owner)
            if getattr(module, parameter).requires_grad:
                first, second = graph.axes[f"{name}.{tensor}"][:2]
                whole = name if tensor == "weight" else f"{name}.{tensor}"
                layers.append(HyperLayer(whole, module, (first, second), parameter))
    for name in graph.layers:
        if name in rules:
            continue
        module = model.get_submodule(name)
        hidden = (
            isinstance(module, nn.Linear) and not graph.frozen[graph.layers[name].outputs].all()
        )
        if (hidden or isinstance(module, CONVOLUTIONS)) and module.weight.requires_grad:
            first, second = graph.axes[f"{name}.weight"][:2]
            layers.append(HyperLayer(name, module, (first, second)))
    if not layers:
        raise ConfigError(
            f"{type(model).__name__} has no convolution and no hidden linear layer with a trained "
            "weight, so there is nothing that latent vectors could generate; give a network with "
            "one."
        )
    return layers


def hypernetwork_size(graph: ChannelGraph, model: nn.Module, embedding: int = EMBEDDING) -> int:
    """How many numbers the hypernetworks of a network hold, latent vectors left out."""
    return sum(
        math.prod(layer.weight.shape[:2]) * (1 + 2 * embedding + layer.kernel * (1 + embedding))
        for layer in hyper_layers(graph, model)
    )


def scored_elements(graph: ChannelGraph, model: nn.Module) -> NDArray[np.bool_]:
    """Which latent elements take part in generating a weight: ``(elements,)``.

    The others, such as what a scale alone controls, have no gradient to be judged by.
    """
    scored = np.zeros(graph.elements, np.bool_)
    for layer in hyper_layers(graph, model):
        for elements in layer.axes:
            if elements is not None:
                scored[elements[elements >= 0]] = True
    return scored


def draw_latents(graph: ChannelGraph, seed: int) -> Tensor:
    """Draw every latent vector from N(0, 1).

    Returns:
        ``(elements,)`` in float64: the value of each element of the graph; none is 0.
    """
    z = torch.ones(graph.elements, dtype=torch.float64)
    for channels in graph.sets:
        z[torch.from_numpy(channels.elements)] = _normal(len(channels), seed, channels.name)
    return z


def _normal(count: int, seed: int, name: str) -> Tensor:
    z = torch.randn(count, dtype=torch.float64, generator=generator_for(seed, f"latent {name}"))
    return torch.where(z == 0, torch.finfo(torch.float64).eps, z)


def draw_inside(layers: Sequence[HyperLayer], seed: int) -> dict[str, Tensor]:
    """The latent vectors of single layers, by layer: those of the axes without elements.

    Each has an element for each channel of its axis: ``(n,)`` or ``(c,)``.
    """
    return {
        layer.name: _normal(size, seed, f"{layer.name} inside")
        for layer in layers
        for elements, size in zip(layer.axes, layer.weight.shape[:2], strict=True)
        if elements is None
    }


def _along(layer: HyperLayer, z: Tensor, inside: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The latent elements along the two axes of a weight; element -1 is a constant 1."""

    def values(elements: Elements | None) -> Tensor:
        if elements is None:
            return inside[layer.name]
        index = torch.from_numpy(elements)
        return torch.where(index < 0, 1.0, z[index.clamp(min=0)])

    first, second = layer.axes
    return values(first), values(second)


def products(layer: HyperLayer, z: Tensor, inside: dict[str, Tensor]) -> Callable[[slice], Array]:
    """z_o z_i of the pairs in some rows: ``(P,)``."""
    z_0, z_1 = (x.to(layer.precision).numpy() for x in _along(layer, z, inside))
    return lambda rows: np.outer(z_0[rows], z_1).ravel()


def draw_blocks(uses: Sequence[tuple[HyperLayer, Use]], seed: int, embedding: int) -> None:
    """Draw ``weight1`` and ``weight2`` of some layers, and use them, a block of rows at a time.

    Hyperfan-in: Uniform(-sqrt 3, sqrt 3), and Uniform of variance 1 / (m fan_in), so that the
    generated weight has variance 1 / fan_in.

    The blocks of all layers are drawn in parallel, each from a generator of its own: the number of
    threads makes no difference, nor does which of them draws what.

    Args:
        uses: layers, and what is given the rows of a block, its ``weight1`` ``(m, P)`` and
            ``weight2`` ``(k^2, m, P)`` for the P pairs of channels in these rows, which run last
            for speed.
        seed: of the hypernetwork.
        embedding: its dimension m.
    """
    blocks = [block for layer, use in uses for block in _blocks_of(layer, use, embedding)]
    size = max(block.pairs * block.layer.kernel for block in blocks) * embedding
    size1 = max(block.pairs for block in blocks) * embedding
    waiting = iter(blocks)

    def draw(_: int) -> None:
        # New memory for every block would cost as much time as the numbers.
        memory1, memory2 = np.empty(size1, np.float64), np.empty(size, np.float64)
        for layer, use, rows, pairs in waiting:
            kernel, precision = layer.kernel, _NUMPY[layer.precision]
            entropy = _entropy(seed, f"hypernetwork {layer.name} {rows.start}")
            generator = np.random.Generator(np.random.SFC64(entropy))
            weight1, weight2 = (
                memory.view(precision)[: math.prod(shape)].reshape(shape)
                for memory, shape in (
                    (memory1, (embedding, pairs)),
                    (memory2, (kernel, embedding, pairs)),
                )
            )
            _fill_uniform(weight1, math.sqrt(3), generator)
            _fill_uniform(weight2, math.sqrt(3 / (embedding * layer.fan_in)), generator)
            use(rows, weight1, weight2)

    threads = min(torch.get_num_threads(), len(blocks))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw, range(threads)))


def _blocks_of(layer: HyperLayer, use: Use, embedding: int) -> Iterator[_Block]:
    """The blocks of a layer: few enough rows for a cache, one at least."""
    n, c = layer.weight.shape[:2]
    height = min(n, max(1, _BLOCK // (c * layer.kernel * embedding)))
    for start in range(0, n, height):
        rows = slice(start, min(start + height, n))
        yield _Block(layer, use, rows, (rows.stop - start) * c)


def _fill_uniform(values: Array, bound: float, generator: np.random.Generator) -> None:
    """Draw from Uniform(-bound, bound) on a grid of 2^16 values: 4 for each word generated."""
    words = generator.integers(2**64, size=-(-values.size // 4), dtype=np.uint64)
    np.copyto(values, words.view(np.int16)[: values.size].reshape(values.shape))
    values += 0.5
    values *= bound / 2**15


def array_of(layer: HyperLayer, tensor: Tensor) -> Array:
    """A tensor like the layer's weight as ``(n, c, k^2)``, its own memory where possible."""
    pairs = tensor.detach().to("cpu", layer.precision).reshape(*tensor.shape[:2], -1)
    array: Array = pairs.contiguous().numpy()
    return array


def write_back(array: Array, tensor: Tensor) -> None:
    """Write what ``array_of`` gave, or its like, to the tensor, if it is not there already.

    Args:
        array: ``(n, c, k^2)``.
        tensor: ``(n, c, k, k)``.
    """
    values = torch.from_numpy(array).view(tensor.shape)
    if values.data_ptr() != tensor.data_ptr():
        tensor.copy_(values)


def pairs_last(array: Array, rows: slice) -> Array:
    """Rows of ``(n, c, k^2)`` as ``(k^2, P)``, a view."""
    return array[rows].reshape(-1, array.shape[2]).T


@torch.no_grad()
def draw_weights(
    graph: ChannelGraph, model: nn.Module, z: Tensor, *, seed: int, embedding: int = EMBEDDING
) -> None:
    """Give the network the weights that a fresh hypernetwork would generate, layer by layer.

    Their biases become 0, as in the authors' hypernetwork; everything else stays.

    Args:
        graph: of the model.
        model: whose weights are written.
        z: the latent vectors, one after the other: ``(elements,)``.
        seed: of the draw.
        embedding: the embedding dimension m.
    """
    layers = hyper_layers(graph, model)
    inside = draw_inside(layers, seed)
    # Of layers that share a weight, the last one makes it.
    made = {id(layer.weight): (layer, array_of(layer, layer.weight)) for layer in layers}

    def generates(layer: HyperLayer, weight: Array) -> Use:
        a = products(layer, z, inside)

        def generate(rows: slice, weight1: Array, weight2: Array) -> None:
            pairs_last(weight, rows)[:] = a(rows) * np.einsum("kmp,mp->kp", weight2, weight1)

        return generate

    uses = [(layer, generates(layer, weight)) for layer, weight in made.values()]
    draw_blocks(uses, seed, embedding)
    for layer, weight in made.values():
        write_back(weight, layer.weight)
    for layer in layers:
        if layer.bias is not None:
            layer.bias.zero_()


def generator_for(seed: int, name: str) -> torch.Generator:
    """A generator of its own for each purpose: draws do not depend on the order of layers."""
    return torch.Generator().manual_seed(_entropy(seed, name))


def _entropy(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
