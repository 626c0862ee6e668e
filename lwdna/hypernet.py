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

**No hypernetwork is needed for its gradients.** Write ``a = z_o z_i + bias0`` and
``V = weight2 @ weight1``, so that ``W = a V`` at initialisation, and let ``G = dL/dW`` be what an
ordinary backward pass of the plain network leaves in its weights. The chain rule gives for each
pair (o, i)

    h = G @ weight2         dL/dweight1 = a h                dL/dbias1 = h
    s = G . V = dL/da       dL/dweight2 = a G (x) weight1    dL/dbias2 = G     dL/dbias0 = s

and for each latent element the sum of ``s`` times the other element of every pair it is in, or

    z_e dL/dz_e = sum of (z_o z_i V) . G over the pairs with e.

At initialisation ``z_o z_i V`` is the weight: nothing but the weights and ``G`` is needed. A step
of SGD on all tensors needs ``weight1`` and ``weight2`` once more. They are functions of the seed,
so they are drawn again, a block at a time; only the weight that they generate after the step is
kept, and its share ``z_o z_i V``, for the gradients of the next backward pass.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lwdna.errors import ConfigError, TrainingError
from lwdna.graph.channels import ChannelGraph, Classes
from lwdna.graph.operations import CONVOLUTIONS, TRANSPOSED
from lwdna.graph.rules import rule_of

EMBEDDING = 8
"""The embedding dimension m of the authors' code (2 in its ImageNet command)."""
WARMUP: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
"""The SGD of the authors' search epoch, over every tensor of the hypernetwork."""
_BLOCK = 2**18
"""Elements of ``weight2`` drawn at a time: few enough for a cache. A seed's draws depend on it."""

_CHUNK = 2**18
"""Elements of a weight multiplied by its gradient at a time, likewise."""
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}

Array = NDArray[Any]
LossFunction = Callable[[nn.Module], Tensor]
"""Maps the network in training mode to the scalar loss of the next batch, which it draws."""


@dataclass(frozen=True)
class HyperLayer:
    """A convolution or hidden linear layer whose weight the hypernetwork makes."""

    name: str
    module: Any
    axes: tuple[Classes | None, Classes | None]
    """Classes along the first two axes of the weight; None for a latent vector of its own."""
    parameter: str = "weight"
    """Which parameter of the module is the weight."""

    @property
    def weight(self) -> Tensor:
        """The weight ``(n, c, k, k)``."""
        weight: Tensor = getattr(self.module, self.parameter)
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The bias beside it."""
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


def scored_classes(graph: ChannelGraph, model: nn.Module) -> NDArray[np.bool_]:
    """Which latent elements take part in generating a weight: ``(classes,)``.

    The others, such as what a scale alone controls, have no gradient to be judged by.
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
    z = torch.randn(count, dtype=torch.float64, generator=generator_for(seed, f"latent {name}"))
    return torch.where(z == 0, torch.finfo(torch.float64).eps, z)


def _draw_inside(layers: Sequence[HyperLayer], seed: int) -> dict[str, Tensor]:
    """The latent vectors of single layers, by layer: those of the axes without classes."""
    return {
        layer.name: _normal(size, seed, f"{layer.name} inside")
        for layer in layers
        for classes, size in zip(layer.axes, layer.weight.shape[:2], strict=True)
        if classes is None
    }


def _along(layer: HyperLayer, z: Tensor, inside: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The latent elements along the two axes of a weight; class -1 is a constant 1."""

    def elements(classes: Classes | None) -> Tensor:
        if classes is None:
            return inside[layer.name]
        index = torch.from_numpy(classes)
        return torch.where(index < 0, 1.0, z[index.clamp(min=0)])

    first, second = layer.axes
    return elements(first), elements(second)


def _products(layer: HyperLayer, z: Tensor, inside: dict[str, Tensor]) -> Callable[[slice], Array]:
    """z_o z_i of the pairs in some rows: ``(P,)``."""
    z_0, z_1 = (x.to(layer.precision).numpy() for x in _along(layer, z, inside))
    return lambda rows: np.outer(z_0[rows], z_1).ravel()


def _draw(
    layer: HyperLayer,
    seed: int,
    embedding: int,
    use: Callable[[slice, Array, Array], None],
) -> None:
    """Draw ``weight1`` and ``weight2`` of a layer, and use them, a block of rows at a time.

    Hyperfan-in: Uniform(-sqrt 3, sqrt 3), and Uniform of variance 1 / (m fan_in), so that the
    generated weight has variance 1 / fan_in.

    Blocks are drawn in parallel, each from a generator of its own: the number of threads makes
    no difference. ``use`` is given the rows, ``weight1`` ``(m, P)`` and ``weight2``
    ``(k^2, m, P)`` for the P pairs of channels in these rows, which run last for speed.
    """
    n, c = layer.weight.shape[:2]
    kernel = layer.kernel
    height = min(n, max(1, _BLOCK // (c * kernel * embedding)))
    starts = range(0, n, height)
    threads = min(torch.get_num_threads(), len(starts))
    bound = math.sqrt(3 / (embedding * layer.fan_in))

    def blocks(first: int) -> None:
        # New memory for every block would cost as much time as the numbers.
        size = embedding * height * c
        memory1, memory2 = (np.empty(k * size, _NUMPY[layer.precision]) for k in (1, kernel))
        for start in starts[first::threads]:
            rows = slice(start, min(start + height, n))
            pairs = (rows.stop - start) * c
            generator = np.random.Generator(
                np.random.SFC64(_entropy(seed, f"hypernetwork {layer.name} {start}"))
            )
            weight1 = memory1[: embedding * pairs].reshape(embedding, pairs)
            weight2 = memory2[: kernel * embedding * pairs].reshape(kernel, embedding, pairs)
            _fill_uniform(weight1, math.sqrt(3), generator)
            _fill_uniform(weight2, bound, generator)
            use(rows, weight1, weight2)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(blocks, range(threads)))


def _fill_uniform(values: Array, bound: float, generator: np.random.Generator) -> None:
    """Draw from Uniform(-bound, bound) on a grid of 2^16 values: 4 for each word generated."""
    words = generator.integers(2**64, size=-(-values.size // 4), dtype=np.uint64)
    np.copyto(values, words.view(np.int16)[: values.size].reshape(values.shape))
    values += 0.5
    values *= bound / 2**15


def _array(layer: HyperLayer, tensor: Tensor) -> Array:
    """A tensor like the layer's weight as ``(n, c, k^2)``, its own memory where possible."""
    pairs = tensor.detach().to("cpu", layer.precision).reshape(*tensor.shape[:2], -1)
    array: Array = pairs.contiguous().numpy()
    return array


def _write(array: Array, tensor: Tensor) -> None:
    """Write what ``_array`` gave, or its like, to the tensor, if it is not there already."""
    values = torch.from_numpy(array).view(tensor.shape)
    if values.data_ptr() != tensor.data_ptr():
        tensor.copy_(values)


def _pairs_last(array: Array, rows: slice) -> Array:
    """Rows of ``(n, c, k^2)`` as ``(k^2, P)``, a view."""
    return array[rows].reshape(-1, array.shape[2]).T


@torch.no_grad()
def draw_weights(
    graph: ChannelGraph, model: nn.Module, z: Tensor, *, seed: int, embedding: int = EMBEDDING
) -> None:
    """Give the network the weights that a fresh hypernetwork would generate, layer by layer.

    Their biases become 0, as in the authors' hypernetwork; everything else stays.
    """
    layers = hyper_layers(graph, model)
    inside = _draw_inside(layers, seed)
    for layer in layers:
        weight = _array(layer, layer.weight)
        a = _products(layer, z, inside)

        def generate(
            rows: slice,
            weight1: Array,
            weight2: Array,
            weight: Array = weight,
            a: Callable[[slice], Array] = a,
        ) -> None:
            _pairs_last(weight, rows)[:] = a(rows) * np.einsum("kmp,mp->kp", weight2, weight1)

        _draw(layer, seed, embedding, generate)
        _write(weight, layer.weight)
        if layer.bias is not None:
            layer.bias.zero_()


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
        inside = _draw_inside([layer], seed).values()
        weight = layer.weight
        self.inside = nn.ParameterList(nn.Parameter(z.to(weight)) for z in inside)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """The tensors that take the place of the weight: a fresh draw, and zero biases."""
        seed, embedding = self.draw
        n, c = self.shape[:2]
        first = torch.empty(n, c, embedding, dtype=self.layer.precision)
        second = torch.empty(n, c, self.layer.kernel, embedding, dtype=self.layer.precision)

        def keep(rows: slice, weight1: Array, weight2: Array) -> None:
            first.numpy()[rows].reshape(-1, embedding)[:] = weight1.T
            second.numpy()[rows].reshape(-1, *second.shape[2:])[:] = weight2.transpose(2, 0, 1)

        _draw(self.layer, seed, embedding, keep)
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
    """Put a hypernetwork in the place of each weight that has one, from the draws of ``seed``.

    The weights at this moment equal those of ``draw_weights`` with the same arguments.
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
    for layer in hyper_layers(graph, model):
        if parametrize.is_parametrized(layer.module, layer.parameter):
            parametrize.remove_parametrizations(
                layer.module, layer.parameter, leave_parametrized=True
            )


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

    ``warmup_steps`` 0 is the paper's text: the gradients at initialisation. With more, as in the
    authors' code (1), that many steps of SGD on all tensors of the hypernetwork come first, each
    on a batch of its own out of ``batches``. None and one need no hypernetwork in memory. The
    network is left with the generated weights; its buffers (batch norm statistics) are left as
    they were.

    Returns:
        The latent elements by class and dL/dz, averaged over the batches left (at least one):
        ``(classes,)`` each.

    Raises:
        TrainingError: if a gradient is not finite.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    rest = max(1, batches - warmup_steps)
    if warmup_steps > 1:
        z, gradients = explicit_gradients(
            graph,
            model,
            loss_fn,
            batches=rest,
            warmup_steps=warmup_steps,
            seed=seed,
            embedding=embedding,
        )
    else:
        layers = hyper_layers(graph, model)
        z, inside, shares = draw_latents(graph, seed), _draw_inside(layers, seed), None
        draw_weights(graph, model, z, seed=seed, embedding=embedding)
        if warmup_steps:
            _accumulate(model, loss_fn, 1)
            z, inside, shares = _warm_up(graph, model, z, inside, seed=seed, embedding=embedding)
        _accumulate(model, loss_fn, rest, steps=warmup_steps)
        gradients, _ = _closed_form(graph, layers, z, inside, shares)
        model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    if not bool(gradients.any()):
        raise TrainingError(
            "Every latent gradient is 0: the loss does not depend on the network; return a loss of "
            "its output."
        )
    if not bool(torch.isfinite(gradients).all()):
        raise TrainingError(
            f"The gradients of the latent vectors are not finite (warmup_steps={warmup_steps}). "
            "Check that the loss is finite on an untrained network; a warm-up step may be too "
            "large for this network, so use warmup_steps=0."
        )
    return z, gradients.numpy()


def _accumulate(model: nn.Module, loss_fn: LossFunction, batches: int, *, steps: int = 0) -> None:
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
                f"The loss after {steps} warm-up steps is not finite ({loss.item()}); "
                + (
                    "the steps are too large for this network, use warmup_steps=0."
                    if steps
                    else "check the loss function and the scale of its inputs."
                )
            )
        (loss / batches).backward()  # type: ignore[no-untyped-call]


def explicit_gradients(
    graph: ChannelGraph,
    model: nn.Module,
    loss_fn: LossFunction,
    *,
    batches: int,
    warmup_steps: int,
    seed: int,
    embedding: int,
) -> tuple[Tensor, Tensor]:
    """What ``latent_gradients`` returns, with the hypernetwork in memory, for any ``warmup_steps``.

    ``batches`` are those after the warm-up. The network's buffers are not restored.
    """
    z = draw_latents(graph, seed)
    latents = attach_hypernetwork(graph, model, z, seed=seed, embedding=embedding)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], **WARMUP)
    for step in range(warmup_steps):
        _accumulate(model, loss_fn, 1, steps=step)
        optimizer.step()
    _accumulate(model, loss_fn, batches, steps=warmup_steps)
    z, gradients = latents.gather(gradients=False), latents.gather(gradients=True)
    model.zero_grad(set_to_none=True)
    detach_hypernetwork(graph, model)
    return z, gradients


@torch.no_grad()
def _closed_form(
    graph: ChannelGraph,
    layers: Sequence[HyperLayer],
    z: Tensor,
    inside: dict[str, Tensor],
    shares: dict[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """dL/dz from dL/dW of the generated weights: ``(classes,)``, and those inside layers.

    ``shares`` are z_o z_i V by layer; left out, they are the weights, as at initialisation.
    """
    gradients, gradients_inside = torch.zeros(graph.classes, dtype=torch.float64), {}
    for layer in layers:
        weight = layer.weight
        if weight.grad is None:
            continue
        sums = _sums_of_product(weight.grad, weight if shares is None else shares[layer.name])
        for classes, total in zip(layer.axes, sums, strict=True):
            if classes is None:
                gradients_inside[layer.name] = total / inside[layer.name]
            else:
                index = torch.from_numpy(classes)
                real = index >= 0
                gradients.index_add_(0, index[real], total[real])
    return gradients / z, gradients_inside


def _sums_of_product(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``(x * y)`` summed over all axes but the first, and all but the second, in float64."""
    rows = max(1, _CHUNK // x[0].numel())
    first, second = [], x.new_zeros(x.shape[1:])
    for x_rows, y_rows in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
        product = x_rows * y_rows
        first.append(product.flatten(1).sum(1))
        second += product.sum(0)
    return torch.cat(first).cpu().double(), second.reshape(len(second), -1).sum(1).cpu().double()


@torch.no_grad()
def _warm_up(
    graph: ChannelGraph,
    model: nn.Module,
    z: Tensor,
    inside: dict[str, Tensor],
    *,
    seed: int,
    embedding: int,
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """One step of SGD on the whole hypernetwork, from the gradients in the network.

    Returns:
        z and the latent vectors inside layers after the step, and z_o z_i V of each layer.
    """
    layers = hyper_layers(graph, model)
    gradients, gradients_inside = _closed_form(graph, layers, z, inside)
    # The first step has no momentum yet. What has no gradient stays, without weight decay too.
    reached = np.zeros(graph.classes, np.bool_)
    for layer in layers:
        for classes in layer.axes:
            if classes is not None and layer.weight.grad is not None:
                reached[classes[classes >= 0]] = True
    stepped = z.clone()
    for channels in graph.sets:
        if reached[channels.classes].any():
            index = torch.from_numpy(channels.classes)
            stepped[index] = _stepped(z[index], gradients[index])
    stepped_inside = inside | {
        name: _stepped(inside[name], gradient) for name, gradient in gradients_inside.items()
    }
    shares = {}
    for layer in layers:
        before = _products(layer, z, inside)
        after = _products(layer, stepped, stepped_inside)
        shares[layer.name] = _step_layer(layer, before, after, seed, embedding)
        layer.weight.grad = None
    for parameter in model.parameters():
        if parameter.grad is not None:  # batch norms, biases, linear layers
            parameter.copy_(_stepped(parameter, parameter.grad))
    return stepped, stepped_inside, shares


def _stepped(value: Any, gradient: Any) -> Any:
    """A tensor or array after the first step of SGD."""
    return (1 - WARMUP["lr"] * WARMUP["weight_decay"]) * value - WARMUP["lr"] * gradient


def _step_layer(
    layer: HyperLayer,
    before: Callable[[slice], Array],
    after: Callable[[slice], Array],
    seed: int,
    embedding: int,
) -> Tensor:
    """Give a layer the weight that its hypernetwork generates after a step of SGD.

    Args:
        layer: the weight is that at initialisation, with its gradient.
        before: z_o z_i at initialisation.
        after: z_o z_i after the step.
        seed: of the hypernetwork.
        embedding: its dimension m.

    Returns:
        z_o z_i V after the step, of the shape of the weight.
    """
    parameter = layer.weight
    share = torch.empty_like(parameter)
    weight, weight_share = _array(layer, parameter), _array(layer, share)
    if parameter.grad is None:
        rows = slice(0, len(weight))
        _pairs_last(weight, rows)[:] *= after(rows) / before(rows)
        weight_share[:] = weight
    else:
        grad = _array(layer, parameter.grad)

        # A step into infinity shows in the next loss, which is checked.
        @np.errstate(over="ignore", invalid="ignore")
        def step(rows: slice, weight1: Array, weight2: Array) -> None:
            g, a, a_next = _pairs_last(grad, rows).copy(), before(rows), after(rows)
            v = _pairs_last(weight, rows) / a
            h = np.einsum("kp,kmp->mp", g, weight2)
            h_generated = np.einsum("kmp,mp->kp", weight2, h)
            s = np.einsum("mp,mp->p", weight1, h)
            square = np.einsum("mp,mp->p", weight1, weight1)

            def generated(x: Array, y: Array) -> Array:
                """Weight2 after the step times x weight1 + y h: neither is ever written down."""
                product = x * v + y * h_generated
                stepped: Array = _stepped(product, a * g * (x * square + y * s))
                return stepped

            # weight1 after the step is x weight1 + y h, and so is e.
            x, y = _stepped(1, 0), _stepped(0, a)
            _pairs_last(weight_share, rows)[:] = a_next * generated(x, y)
            bias0, bias1, bias2 = _stepped(0, s), _stepped(0, 1), _stepped(0, g)
            a_next += bias0
            _pairs_last(weight, rows)[:] = generated(a_next * x, a_next * y + bias1) + bias2

        _draw(layer, seed, embedding, step)
    _write(weight, parameter)
    _write(weight_share, share)
    return share


def generator_for(seed: int, name: str) -> torch.Generator:
    """A generator of its own for each purpose: draws do not depend on the order of layers."""
    return torch.Generator().manual_seed(_entropy(seed, name))


def _entropy(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
