"""Layers that a user taught the graph by a rule, followed."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, fx

from lwdna.graph.calls import Call
from lwdna.graph.labels import Given, TaughtCall
from lwdna.graph.rules import Rule, RuleError
from lwdna.graph.tracing import value_of


def follow_rule(call: Call, rule: Rule) -> Tensor:
    """The labels that a layer gives by the rule of a user, ``(1, C, 1, ...)`` as its output.

    Raises:
        RuleError: if the rule does not fit the layer, naming both.
    """
    layer, value = call.module, call.value
    if not isinstance(value, Tensor):
        raise _wrong(call, "gives one tensor", f"gives a {type(value).__name__}")
    sizes = rule.sizes(layer)
    for attribute in rule.numbers:
        if not isinstance(getattr(layer, attribute, None), int):
            raise _wrong(call, f"has a number '{attribute}'", "has none")
    labels = {"in": call.channels(0, rule.channel_axis)} if rule.follow is None else {}
    if rule.follow is not None:
        labels |= rule.follow(call)
        if "in" not in labels:
            raise _wrong(call, f"reads {' and '.join(labels) or 'nothing'}", "must read 'in'")
    if "out" in sizes and "out" not in labels:
        labels["out"] = call.make(labels["in"], sizes["out"])
        parameters = dict(layer.named_parameters())
        if not any(parameters[t].requires_grad for t in rule.present(layer) if t in parameters):
            call.freeze(labels["in"], labels["out"])
    for name, size in sizes.items():
        if name not in labels:
            labels[name] = call.inside(name, size)
        if len(labels[name]) != size:
            raise _wrong(call, f"has {len(labels[name])} '{name}'", f"has {size}")
    output = labels.get("out", labels["in"])
    if len(output) != value.shape[rule.channel_axis]:
        found = f"gives {value.shape[rule.channel_axis]}"
        raise _wrong(call, f"gives {len(output)} channels", found)
    _note_tensors(call, rule, labels)
    call.found.taught.append(_record(call, call.lay(output, rule.channel_axis)))
    return call.lay(output, rule.channel_axis)


def _note_tensors(call: Call, rule: Rule, labels: dict[str, Tensor]) -> None:
    """Note along which axes the layer's tensors are cut, and what they cost."""
    tensors = {**dict(call.module.named_parameters()), **dict(call.module.named_buffers())}
    for tensor in rule.present(call.module):
        names = rule.names(tensor) + [None] * tensors[tensor].ndim
        axes = names[: tensors[tensor].ndim]
        call.note_axes(tensor, *(None if name is None else labels[name] for name in axes))
    if not call.count:
        return
    for tensor, times in rule.positions(call.module, call.tensors, call.value).items():
        if tensor not in tensors:
            raise _wrong(call, f"multiplies '{tensor}'", "has no such tensor")
        along = tuple(labels[name] for name in rule.names(tensor) if name is not None)
        labelled = math.prod(len(axis) for axis in along)
        call.found.costs.append((times * tensors[tensor].numel() // labelled, along))


def _record(call: Call, output: Tensor) -> TaughtCall:
    """The call with shapes and labels, to be made again after surgery."""

    def given(node: fx.Node) -> Any:
        value = value_of(node)
        return Given(value, call.labels_of(node)) if isinstance(value, Tensor) else value

    arguments = fx.node.map_arg((call.node.args, call.node.kwargs), given)  # type: ignore[arg-type]
    return TaughtCall(call.name, arguments, output)


def _wrong(call: Call, said: str, found: str) -> RuleError:
    kind = type(call.module).__name__
    return RuleError(
        f"The rule of {kind} says that '{call.name}' {said}, but it {found}; correct the rule."
    )
