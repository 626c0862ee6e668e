"""Propagation: from the inputs of a network to its outputs, the labels of every value."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from lwdna.errors import GraphError
from lwdna.graph.calls import Call, UnfollowedError, in_words
from lwdna.graph.counts import keep
from lwdna.graph.function_rules import FUNCTION_RULES
from lwdna.graph.labels import Labels, lay, no_channels, tensors_in
from lwdna.graph.layer_rules import KNOWN_LAYERS, follow_layer, functional_layer
from lwdna.graph.operations import FUNCTIONAL_LAYERS, MULTIPLYING
from lwdna.graph.rules import rule_of
from lwdna.graph.sizes import Escapes
from lwdna.graph.taught import follow_rule
from lwdna.graph.tracing import holds_tensor, line_of, value_of


def propagate(
    graph: fx.Graph,
    modules: Mapping[str, nn.Module],
    found: Labels,
    escapes: Escapes,
    *,
    count: bool,
) -> None:
    """Walk along a traced graph and work out the labels of every value.

    An operation that has no rule stops what goes into it: these channels all stay, and what it
    gives belongs to none.

    Args:
        graph: what ``lwdna.graph.tracing.trace`` returned.
        modules: the modules of the network by name.
        found: where to note what is found; what an earlier walk noted there is kept.
        escapes: sizes that turned into numbers while the graph was traced.
        count: whether uses of modules are noted for the FLOPs convention.

    Raises:
        GraphError: if a layer is used in a way that is known to be none.
    """
    walk = _Walk(modules, found, count)
    for node in graph.nodes:
        walk.visit(node)
    last = walk.call(node)
    for size, line in escapes.found:
        keep(last, size, f"a number computed from how many there are{in_words(line_of(line))}")


class _Walk:
    """The labels of the values so far."""

    def __init__(self, modules: Mapping[str, nn.Module], found: Labels, count: bool) -> None:
        self.modules = modules
        self.found = found
        self.count = count
        self.labels: dict[fx.Node, Any] = {}
        root = modules[""]
        self.cuttable = {
            name
            for name, _ in chain(
                root.named_parameters(remove_duplicate=False),
                root.named_buffers(remove_duplicate=False),
            )
        }
        """Tensors that surgery can cut; what else a module keeps has the size that it has."""

    def visit(self, n: fx.Node) -> None:
        if n.op == "placeholder":
            self.labels[n] = self._input(n.name, value_of(n))
        elif n.op == "output":
            self._output(n)
        elif n.op != "get_attr":  # what it means depends on who uses it
            self.labels[n] = self._operation(n)

    def _input(self, called: str, value: Any) -> Any:
        if isinstance(value, tuple):  # *args
            return tuple(self._input(f"{called}_{i}", x) for i, x in enumerate(value))
        if not isinstance(value, Tensor):
            return None
        if value.ndim < 2:  # one number for each image, such as a time step
            return no_channels(value.ndim)
        name = f"input {called}"
        if name not in self.found.sources:
            self.found.sources[name] = self.found.draw(name, value.shape[1])
        return lay(self.found.sources[name], value.ndim, 1)

    def _output(self, n: fx.Node) -> None:
        """What leaves the network keeps all its channels."""

        def freeze(node: fx.Node) -> fx.Node:
            for labels in tensors_in(self.labels_of(node)):
                self.found.results.append(torch.unique(labels))
            return node

        fx.node.map_arg(n.args, freeze)

    def labels_of(self, n: fx.Node) -> Any:
        """The labels of a value; a new tensor belongs to no channel."""
        if n.op == "get_attr" and n not in self.labels:
            self.labels[n] = self._attribute(n)
        value = value_of(n)
        if self.labels.get(n) is None and isinstance(value, Tensor):
            return no_channels(value.ndim)
        return self.labels[n]

    def _attribute(self, n: fx.Node) -> Any:
        """A tensor of the network used directly, such as a scale: labels along one axis.

        That is its only long axis, or the channels of a filter ``(C, 1, k, k)`` or of a map
        ``(1, C, H, W)``.
        """
        value, name = value_of(n), str(n.target)
        if not isinstance(value, Tensor):
            return None
        long = [axis for axis, size in enumerate(value.shape) if size > 1]
        if len(long) > 1 and value.ndim > 3 and 1 in value.shape[:2]:
            long = [axis for axis in long if axis < 2]
        if not long or name not in self.cuttable:
            return None
        if len(long) > 1:
            self.found.whole.add(name)
            return None
        if name not in self.found.axes:
            labels = self.found.draw(name, value.shape[long[0]])
            self.found.axes[name] = tuple(
                labels if axis == long[0] else None for axis in range(value.ndim)
            )
        noted = self.found.axes[name][long[0]]
        return None if noted is None else lay(noted, value.ndim, long[0])

    def _operation(self, n: fx.Node) -> Any:
        call = self.call(n)
        try:
            return self._followed(call)
        except UnfollowedError as error:
            return self._stop(call, error.what)

    def _followed(self, call: Call) -> Any:
        n, value = call.node, call.value
        if n.op == "call_module":
            rule = rule_of(call.module)
            return follow_layer(call) if rule is None else follow_rule(call, rule)
        given = any(holds_tensor(value_of(source)) for source in n.all_input_nodes)
        if not holds_tensor(value) or not (given or call.sizes):
            return None
        if isinstance(n.target, type) and issubclass(n.target, tuple):  # a named tuple
            return tuple(map(self.labels_of, n.all_input_nodes))
        name = call.operation
        if name in FUNCTIONAL_LAYERS:
            return functional_layer(call)
        if name not in FUNCTION_RULES:
            raise call.unknown_operation()
        return FUNCTION_RULES[name](call)

    def _stop(self, call: Call, what: str) -> None:
        """What an operation without a rule touches stays whole."""
        touched = []
        for source in call.node.all_input_nodes:
            if source.op == "get_attr" and source not in self.labels:
                self.found.whole.add(str(source.target))
                self.labels[source] = None
            else:
                touched += [labels.flatten() for labels in tensors_in(self.labels_of(source))]
        for size in call.sizes:
            keep(call, size)
        if call.node.op == "call_module":
            weights = [*call.module.named_parameters(), *call.module.named_buffers()]
            self.found.whole.update(f"{call.node.target}.{name}" for name, _ in weights)
        self.found.apart = True
        if self.count and _multiplies(call):
            self.found.uncounted.setdefault(what)
        channels = torch.unique(torch.cat([no_channels(1), *touched]))
        if bool(channels.any()):
            self.found.stopped.append((channels, what))

    def call(self, n: fx.Node) -> Call:
        """A node as rules see it."""
        name = str(n.target) if n.op == "call_module" else ""
        return Call(n, self.found, self.labels_of, self.modules, name=name, count=self.count)


def _multiplies(call: Call) -> bool:
    """Whether an operation without a rule multiplies matrices that the FLOPs do not count."""
    if call.node.op != "call_module":
        return call.operation in MULTIPLYING
    return any(
        sum(n > 1 for n in parameter.shape) > 1
        for module in call.module.modules()
        if not isinstance(module, KNOWN_LAYERS)
        for parameter in module.parameters(recurse=False)
    )


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be cut: a lone layer, computed weights, weights of two layers.

    Raises:
        GraphError: naming the module.
    """
    if isinstance(model, KNOWN_LAYERS):
        raise GraphError(
            f"The network is a single layer of type {type(model).__name__}; put it into an "
            "nn.Sequential if that is meant."
        )
    for name, module in model.named_modules():
        computed = any(hasattr(module, name) for name in ("weight_orig", "weight_g"))
        if parametrize.is_parametrized(module) or computed:
            raise GraphError(
                f"The weight of module '{name}' is computed from others (weight norm or another "
                "parametrization); remove the parametrization first."
            )
        if module._forward_hooks or module._forward_pre_hooks:
            raise GraphError(
                f"Module '{name}' has a forward hook, and what a hook does cannot be followed; "
                "remove it, or put it into the forward."
            )
    owners: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        for parameter in chain(module.parameters(recurse=False), module.buffers(recurse=False)):
            other, owner = owners.setdefault(id(parameter), (name, module))
            if owner is not module:
                raise GraphError(
                    f"Modules '{other}' and '{name}' share a weight; use one module in both "
                    "places, or give each its own."
                )
