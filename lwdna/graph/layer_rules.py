"""What PyTorch's layers do to channels: one rule a kind, ``LAYER_RULES``.

To add a layer of PyTorch, write a rule here and a line in the table: a function of the
:class:`lwdna.graph.calls.Call` that returns the labels of the layer's output ``(B, C, ...)``, as a
rule ``(1, C, 1, ...)``. Layers of users are taught from outside, by :func:`lwdna.register_rule`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lwdna.errors import GraphError
from lwdna.graph.calls import Call
from lwdna.graph.computed import computed_axes
from lwdna.graph.counts import match
from lwdna.graph.function_rules import mix, shuffle, shuffle_groups, spatial, unfold
from lwdna.graph.moving_rules import halve, meet, reshape
from lwdna.graph.operations import (
    ACTIVATIONS,
    BATCH_NORMS,
    CONVOLUTIONS,
    ELEMENTWISE_MODULES,
    FUNCTIONAL_LAYERS,
    INSTANCE_NORMS,
    SHUFFLING_MODULES,
    SPATIAL_MODULES,
    TRANSPOSED,
)
from lwdna.graph.tracing import value_of

LayerRule = Callable[[Call], Any]


def convolution(call: Call) -> Tensor:
    """A convolution ``(B, c, ...)`` -> ``(B, n, ...)``; one in groups loses whole groups.

    Or, where the graph is asked for that, the same positions of every group: they are tied over the
    groups, apart for inputs and outputs. A depthwise one has no positions to lose.
    """
    module = call.module
    if call.tensor.ndim != module.weight.ndim:
        raise GraphError(
            f"The input of {call.name} has the shape {tuple(call.tensor.shape)}, without a batch "
            "axis; give an example input with one."
        )
    inputs = call.along(1)
    outputs = call.make(inputs, module.out_channels)
    groups = module.groups
    inside: Tensor | None = None
    weight: tuple[Tensor | None, ...]
    if groups > 1:
        read, made = inputs.view(groups, -1), outputs.view(groups, -1)
        depthwise = groups == module.in_channels
        divided = (
            call.found.groups == "positions" and not depthwise and computed_axes(module) is None
        )
        if divided or call.name in call.found.by_position:
            for each in (read, made):
                call.tie(each[:1], each, f"equal positions in the groups of {call.name}")
            inside = made[0] if isinstance(module, TRANSPOSED) else read[0]
        else:
            reason = "depthwise convolution" if depthwise else "whole groups of"
            call.tie(read[:, :1], read, f"{reason} {call.name}")
            call.tie(read[:, :1], made, f"{reason} {call.name}")
        weight = (inputs if isinstance(module, TRANSPOSED) else outputs, inside)
    else:
        weight = (inputs, outputs) if isinstance(module, TRANSPOSED) else (outputs, inputs)
    call.note_axes("weight", *weight, *(None,) * (module.weight.ndim - 2))
    if module.bias is not None:
        call.note_axes("bias", outputs)
    if groups == 1 and not module.weight.requires_grad:
        # A fixed layer (a change of colour space, say) is not to be touched: nothing scores
        # what it makes, and it reads colours rather than features.
        call.freeze(inputs, outputs)
    return call.lay(outputs, 1)


def linear(call: Call) -> Tensor:
    """A linear layer ``(..., c)`` -> ``(..., n)`` reads the last axis and makes it anew."""
    module, inputs = call.module, call.along(-1)
    outputs = call.make(inputs, module.out_features)
    call.note_axes("weight", outputs, inputs)
    if module.bias is not None:
        call.note_axes("bias", outputs)
    if not module.weight.requires_grad:
        call.freeze(inputs, outputs)
    return call.lay(outputs, -1)


def vectors(call: Call) -> Tensor:
    """A norm or the like of ``(B, C, ...)``, with numbers ``(C,)``."""
    channels = call.along(1)
    _note_vectors(call, channels)
    return call.lay(channels, 1)


def _note_vectors(call: Call, channels: Tensor) -> None:
    """The parameters and buffers that a layer has for each channel."""
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        if getattr(call.module, tensor, None) is not None:
            call.note_axes(tensor, channels)


def prelu(call: Call) -> Tensor:
    """A slope for each channel of ``(B, C, ...)``, or one for all of them."""
    return vectors(call) if call.module.num_parameters > 1 else call.labels


def layer_norm(call: Call) -> Tensor:
    """Statistics over the last axes, ``(..., C)``, of what is there; the parameters follow them."""
    module, labels = call.module, call.labels
    inside = len(module.normalized_shape)
    if inside == 1 and labels.shape[-1] > 1:
        labels = call.lay(call.along(-1), -1)
    axes = tuple(
        labels.flatten() if labels.shape[d] == labels.numel() > 1 else None
        for d in range(-inside, 0)
    )
    if all(axis is None for axis in axes):
        if any(labels.shape[d] > 1 for d in range(-inside, 0)):
            raise call.unknown(f"module '{call.name}' over more than one axis of channels")
    elif module.weight is None:
        call.hold(labels)
    else:
        for tensor in ("weight", "bias"):
            if getattr(module, tensor) is not None:
                call.note_axes(tensor, *axes)
    return labels


def group_norm(call: Call) -> Tensor:
    """Whole groups of ``(B, C, ...)``: the statistics of those that stay are what they were."""
    module, channels = call.module, call.along(1)
    if module.weight is None:
        call.hold(channels)
    elif module.num_groups > 1:
        groups = channels.view(module.num_groups, -1)
        call.tie(groups[:, :1], groups, f"whole groups of {call.name}")
    _note_vectors(call, channels)
    return call.lay(channels, 1)


def unchanged(call: Call) -> Tensor:
    """An activation, of any shape: everything stays where it is."""
    return call.labels


def unflatten(call: Call) -> Tensor:
    """One axis is divided: ``(..., a b, ...)`` -> ``(..., a, b, ...)``."""
    module = call.module
    axis = int(module.dim) % call.tensor.ndim
    return reshape(call, [None] * axis + list(module.unflattened_size))


LAYER_RULES: dict[type[nn.Module], LayerRule] = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    nn.Linear: linear,
    **dict.fromkeys((*BATCH_NORMS, *INSTANCE_NORMS), vectors),
    nn.PReLU: prelu,
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    **dict.fromkeys(ELEMENTWISE_MODULES, unchanged),
    **dict.fromkeys(SPATIAL_MODULES, spatial),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), lambda call: mix(call, call.module.dim)),
    nn.Softmax2d: lambda call: mix(call, -3),
    nn.Flatten: lambda call: reshape(call, []),
    nn.Unflatten: unflatten,
    nn.Unfold: unfold,
    nn.GLU: lambda call: halve(call, int(call.module.dim)),
    nn.ChannelShuffle: lambda call: shuffle_groups(call, int(call.module.groups)),
    **dict.fromkeys(SHUFFLING_MODULES, lambda call: shuffle(call, call.module)),
}
"""By type of a layer, and of its subclasses, what it does to channels."""

KNOWN_LAYERS = tuple(LAYER_RULES)


def is_known(module: nn.Module) -> bool:
    """Whether a module computes what one of the known layers does; a subclass may not."""
    kind = next((kind for kind in type(module).__mro__ if kind in LAYER_RULES), None)
    return kind is not None and type(module).forward is kind.forward


def follow_layer(call: Call) -> Any:
    """The labels that a layer of PyTorch gives, called as a module or as a function."""
    module = call.module
    rule = next((LAYER_RULES[kind] for kind in type(module).__mro__ if kind in LAYER_RULES), None)
    if rule is None:
        raise call.unknown(f"module of type {type(module).__name__}")
    labels = rule(call)
    for name, axes in (computed_axes(module) or {}).items():
        found = {"in": call.found.inputs[call.name], "out": call.found.outputs[call.name]}
        call.note_axes(name, *(None if axis is None else found[axis] for axis in axes))
    activation = isinstance(module, (nn.PReLU, *ACTIVATIONS))
    called = call.node.op == "call_module" or not activation
    if call.count and called and isinstance(call.value, Tensor):
        call.found.note_use(call.name, call.value, labels, last=activation)
    return labels


def _is_depthwise(call: Call) -> bool:
    """Whether a convolution called as a function has a group for every channel."""
    groups, channels = call.argument(6, "groups", default=1), call.tensor.shape[1]
    return bool(groups == channels > 1)


def filter_each(call: Call) -> Tensor:
    """A depthwise convolution ``(B, C, ...)`` -> ``(B, m C, ...)`` with filters of no layer."""
    channels, value = call.along(1), call.value
    given: Any = call.argument(1, "weight")
    weight, groups = value_of(given), call.argument(6, "groups")
    match(call, groups, channels)
    outputs = channels.repeat_interleave(value.shape[1] // len(channels))
    for source, expected in (
        (given, channels if call.operation.startswith("conv_transpose") else outputs),
        (call.argument(2, "bias"), outputs),
    ):
        if source is not None:
            x = value_of(source)
            meet(
                call,
                [(call.along(0, call.labels_of(source), x), x.shape[:1]), (expected, x.shape[:1])],
            )
    if call.count:
        kernel = weight[0, 0].numel()
        call.found.costs.append((kernel * value.numel() // value.shape[1], (outputs,)))
    return call.lay(outputs, 1)


def functional_layer(call: Call) -> Any:
    """A layer called as a function: by the module that owns its weight, if there is one."""
    name = call.operation
    kinds = FUNCTIONAL_LAYERS[name]
    given = [s for s in call.node.all_input_nodes if s.op == "get_attr"]
    owners = {str(s.target).rpartition(".")[0] for s in given}
    if len(owners) == 1:
        owner = owners.pop()
        module = call.modules[owner]
        groups = call.argument(6, "groups", default=1) if name.startswith("conv") else None
        if (
            isinstance(module, kinds)
            and any(s.target == f"{owner}.weight" for s in given)
            and groups in {None, getattr(module, "groups", None)}
        ):
            return follow_layer(call.of_layer(owner))
    if name in {"instance_norm", "prelu"}:
        channels = call.along(1)
        for vector in given:
            call.tie(channels, call.along(0, call.labels_of(vector), value_of(vector)))
        return call.lay(channels, 1)
    if name in {"layer_norm", "group_norm"} and not owners:
        call.hold(call.labels)
        return call.labels
    if name.startswith("conv") and _is_depthwise(call):
        return filter_each(call)
    expected = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
    raise call.unknown(f"operation '{name}' with a weight that is not that of {expected}")
