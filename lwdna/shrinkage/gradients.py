"""Latent gradients: in closed form from those of the weights, or with the hypernetwork.

The names are those of :mod:`lwdna.shrinkage.hypernetwork`.

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

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import ConfigError, TrainingError
from lwdna.graph.channels import ChannelGraph
from lwdna.shrinkage.hypernetwork import attach_hypernetwork, detach_hypernetwork
from lwdna.shrinkage.latents import (
    EMBEDDING,
    Array,
    HyperLayer,
    array_of,
    draw_blocks,
    draw_inside,
    draw_latents,
    draw_weights,
    hyper_layers,
    pairs_last,
    products,
    write_back,
)

WARMUP: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
"""The SGD of the authors' search epoch, over every tensor of the hypernetwork."""

_CHUNK = 2**18
"""Elements of a weight multiplied by its gradient at a time, likewise."""

LossFunction = Callable[[nn.Module], Tensor]
"""Maps the network in training mode to the scalar loss of the next batch, which it draws."""


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
        The latent elements of the graph and dL/dz, averaged over the batches left (at least one):
        ``(elements,)`` each.

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
        z, inside, shares = draw_latents(graph, seed), draw_inside(layers, seed), None
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

    Returns:
        The latent elements and their gradients: ``(elements,)`` each.
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
    """dL/dz from dL/dW of the generated weights: ``(elements,)``, and those inside layers.

    ``shares`` are z_o z_i V by layer; left out, they are the weights, as at initialisation.
    """
    gradients, gradients_inside = torch.zeros(graph.elements, dtype=torch.float64), {}
    for layer in layers:
        weight = layer.weight
        if weight.grad is None:
            continue
        sums = _sums_of_product(weight.grad, weight if shares is None else shares[layer.name])
        for elements, total in zip(layer.axes, sums, strict=True):
            if elements is None:
                gradients_inside[layer.name] = total / inside[layer.name]
            else:
                index = torch.from_numpy(elements)
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
    reached = np.zeros(graph.elements, np.bool_)
    for layer in layers:
        for elements in layer.axes:
            if elements is not None and layer.weight.grad is not None:
                reached[elements[elements >= 0]] = True
    stepped = z.clone()
    for channels in graph.sets:
        if reached[channels.elements].any():
            index = torch.from_numpy(channels.elements)
            stepped[index] = _stepped(z[index], gradients[index])
    stepped_inside = inside | {
        name: _stepped(inside[name], gradient) for name, gradient in gradients_inside.items()
    }
    shares = {}
    for layer in layers:
        before = products(layer, z, inside)
        after = products(layer, stepped, stepped_inside)
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
    weight, weight_share = array_of(layer, parameter), array_of(layer, share)
    if parameter.grad is None:
        rows = slice(0, len(weight))
        pairs_last(weight, rows)[:] *= after(rows) / before(rows)
        weight_share[:] = weight
    else:
        grad = array_of(layer, parameter.grad)

        # A step into infinity shows in the next loss, which is checked.
        @np.errstate(over="ignore", invalid="ignore")
        def step(rows: slice, weight1: Array, weight2: Array) -> None:
            g, a, a_next = pairs_last(grad, rows).copy(), before(rows), after(rows)
            v = pairs_last(weight, rows) / a
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
            pairs_last(weight_share, rows)[:] = a_next * generated(x, y)
            bias0, bias1, bias2 = _stepped(0, s), _stepped(0, 1), _stepped(0, g)
            a_next += bias0
            pairs_last(weight, rows)[:] = generated(a_next * x, a_next * y + bias1) + bias2

        draw_blocks([(layer, step)], seed, embedding)
    write_back(weight, parameter)
    write_back(weight_share, share)
    return share
