"""Following: a network traced in evaluation and in training mode, its channels labelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from lwdna.graph.computed import computed_axes
from lwdna.graph.labels import Labels
from lwdna.graph.layer_rules import KNOWN_LAYERS, is_known
from lwdna.graph.meta import on_meta, uncollected
from lwdna.graph.propagation import propagate
from lwdna.graph.rules import rule_of
from lwdna.graph.sizes import RESIZED, RESIZED_LAYERS, Escapes, plain, remember
from lwdna.graph.tracing import calling, trace

Operations = list[tuple[str, Any]]


def follow(
    model: nn.Module, inputs: tuple[Tensor, ...], found: Labels
) -> tuple[Operations, Operations]:
    """Follow the channels of a network in evaluation mode, and in training mode if that differs.

    Auxiliary heads, for one, run in training only. What the FLOPs convention counts is evaluation.

    Args:
        model: the network; it is not changed.
        inputs: its inputs, ``(B, C, H, W)`` as a rule.
        found: where to note what is found.

    Returns:
        The operations in evaluation and in training mode.
    """
    inputs = tuple(x.to("meta") for x in inputs)
    with uncollected():
        evaluation, modules, escapes = _traced(model, inputs, training=False)
        propagate(evaluation, modules, found, escapes, count=True)
        training, modules, escapes = _traced(model, inputs, training=True)
        operations = _operations(evaluation), _operations(training)
        if operations[0] != operations[1]:
            propagate(training, modules, found, escapes, count=False)
    _settle(modules, found)
    return operations


def _traced(
    model: nn.Module, inputs: tuple[Tensor, ...], *, training: bool
) -> tuple[fx.Graph, dict[str, nn.Module], Escapes]:
    """The graph of a copy without data, its modules by name, and the sizes that escaped."""
    skeleton, escapes = on_meta(model), Escapes(calling)
    modules = dict(skeleton.named_modules())
    skeleton.train(training)
    for module in modules.values():
        if isinstance(module, KNOWN_LAYERS):
            module.eval()  # a batch norm refuses to train on one value
        computed_axes(module)  # tried now: no module can be run while another is traced
    remember(skeleton, lambda module: rule_of(module) is not None, escapes)
    return trace(skeleton, inputs, _is_leaf, escapes), modules, escapes


def _is_leaf(module: nn.Module) -> bool:
    """Whether a rule is known for a module as a whole."""
    return is_known(module) or rule_of(module) is not None or computed_axes(module) is not None


def _operations(graph: fx.Graph) -> Operations:
    return [(node.op, node.target) for node in graph.nodes]


def _settle(modules: dict[str, nn.Module], found: Labels) -> None:
    """Tie the numbers that layers of PyTorch and tensors hold to what they are the number of."""
    for name, labels in found.numbers.items():
        for counted in _known(name, modules, found):
            if len(counted) == len(labels):
                found.tie(labels, counted, name)
    for name, where in found.constants.items():
        if name in found.numbers:
            found.held.append((torch.unique(found.numbers[name]), where))


def _known(name: str, modules: dict[str, nn.Module], found: Labels) -> Iterator[Tensor]:
    """The labels that an attribute of a layer of PyTorch counts, or the size of a tensor."""
    owner, _, attribute = name.rpartition(".")
    if attribute.startswith("shape["):
        axis = found.axes.get(owner, ())[int(attribute[6:-1]) :][:1]
        yield from (labels for labels in axis if labels is not None)
    elif is_layers(name, modules):
        outputs = found.outputs.get(owner)
        if attribute in {"in_channels", "in_features"}:
            outputs = found.inputs.get(owner)
        elif attribute in {"num_features", "num_channels", "num_groups"}:
            axes = (found.axes.get(f"{owner}.{n}", ()) for n in ("weight", "running_mean"))
            outputs = next((axis[0] for axis in axes if axis), None)
        if outputs is not None:
            number = plain(getattr(modules[owner], attribute))
            yield outputs.view(number, -1)[:, 0]


def is_layers(name: str, modules: dict[str, nn.Module]) -> bool:
    """Whether an attribute is one that surgery sets because a layer of PyTorch has it."""
    owner, _, attribute = name.rpartition(".")
    return attribute in RESIZED and isinstance(modules.get(owner), RESIZED_LAYERS)
