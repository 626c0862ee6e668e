"""A call: one operation of a traced network, as the rules by which channels are followed see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from lwdna.errors import GraphError
from lwdna.graph.labels import Labels, lay, no_channels
from lwdna.graph.sizes import Size
from lwdna.graph.tracing import source_of, value_of


def in_words(line: tuple[str, int, str] | None) -> str:
    """A line of the network's own code, for reasons."""
    return f" ({line[0]}:{line[1]}: {line[2]})" if line else ""


class UnfollowedError(GraphError):
    """An operation whose effect on channels is not known; what it touches is left whole."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The channels cannot be followed through {what}. Write it with known layers and "
            "operations (docs/channels.md lists them)."
        )
        self.what = what


INPLACE = frozenset("iadd isub imul itruediv ifloordiv ipow imod".split())


class Call:
    """What a rule may ask about an operation and say about its channels.

    A rule is a function of a call that returns the labels of the output: a tensor of labels for
    a tensor, a tuple of them for a tuple, None for new tensors that belong to no channel.

    Args:
        node: the operation.
        found: where to note what is found.
        labels_of: labels of another operation.
        modules: the modules of the network by name.
        name: of the layer that the operation is.
        count: whether uses of modules are noted for the FLOPs convention.
    """

    def __init__(
        self,
        node: fx.Node,
        found: Labels,
        labels_of: Callable[[fx.Node], Any],
        modules: Mapping[str, nn.Module],
        *,
        name: str = "",
        count: bool = False,
    ) -> None:
        self.node = node
        self.found = found
        self.labels_of = labels_of
        self.modules = modules
        self.name = name
        self.count = count

    def of_layer(self, name: str) -> Call:
        """The same call as one of the layer ``name``, whose parameters it uses."""
        return Call(
            self.node, self.found, self.labels_of, self.modules, name=name, count=self.count
        )

    @property
    def module(self) -> Any:
        """The layer that is called."""
        return self.modules[self.name]

    @property
    def operation(self) -> str:
        """The name of the function or method, in-place or not."""
        target: Any = self.node.target
        name = (target if isinstance(target, str) else getattr(target, "__name__", "")).strip("_")
        return name[1:] if name in INPLACE else name

    @property
    def value(self) -> Any:
        """What the operation gives; tensors are on the meta device."""
        return value_of(self.node)

    @property
    def tensor(self) -> Tensor:
        """The first tensor that goes into the operation, of any shape, on the meta device.

        Raises:
            GraphError: if none does.
        """
        return value_of(self._first)  # type: ignore[no-any-return]

    @property
    def labels(self) -> Tensor:
        """The labels of ``tensor``, of as many dimensions: ``(1, C, 1, ...)`` as a rule."""
        return self.labels_of(self._first)  # type: ignore[no-any-return]

    @property
    def _first(self) -> fx.Node:
        for source in self.node.all_input_nodes:
            if isinstance(value_of(source), Tensor):
                return source
        raise self.unknown("a call without a tensor")

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that go into the operation, of any shapes, on the meta device."""
        return [value_of(source) for source in self._sources]

    @property
    def _sources(self) -> list[fx.Node]:
        """What computes them; the same value may be given twice."""
        sources: list[fx.Node] = []

        def note(node: fx.Node) -> fx.Node:
            if isinstance(value_of(node), Tensor):
                sources.append(node)
            return node

        fx.node.map_arg((self.node.args, self.node.kwargs), note)
        return sources

    def channels(self, position: int = 0, axis: int = 1) -> Tensor:
        """One label for each channel of the tensor at a position among all that go in: ``(C,)``."""
        if position >= len(self._sources):
            raise self.unknown(f"a call without tensor number {position}")
        source = self._sources[position]
        return self.along(axis, self.labels_of(source), value_of(source))

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """An argument by its position or one of its names; an ``fx.Node`` if it is computed."""
        if len(self.node.args) > position:
            return self.node.args[position]
        for name in names:
            if name in self.node.kwargs:
                return self.node.kwargs[name]
        return default

    def several(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The tensors of a list that goes into the operation, of any shapes, and their labels."""
        tensors = self.argument(0, "tensors")
        if isinstance(tensors, fx.Node):
            values, labels = value_of(tensors), self.labels_of(tensors)
            return values, labels or [no_channels(x.ndim) for x in values]
        return [value_of(tensor) for tensor in tensors], [self.labels_of(t) for t in tensors]

    @property
    def sizes(self) -> list[Size]:
        """All sizes that go into the operation."""
        sizes: list[Size] = []
        fx.node.map_aggregate(
            (self.node.args, self.node.kwargs),
            lambda x: sizes.append(x) if isinstance(x, Size) else None,
        )
        return sizes

    def again(self, first: Tensor) -> Any:
        """Repeat the operation with another tensor, of any shape, for its first argument."""
        rest, kwargs = fx.node.map_arg((self.node.args[1:], self.node.kwargs), value_of)
        if self.node.op == "call_method":
            return getattr(first, str(self.node.target))(*rest, **kwargs)
        return self.node.target(first, *rest, **kwargs)  # type: ignore[operator]

    def along(self, axis: int, labels: Tensor | None = None, x: Tensor | None = None) -> Tensor:
        """One label for each index along an axis; labels that share an index are tied.

        Args:
            axis: of the tensor.
            labels: of the tensor; of ``tensor`` if left out.
            x: the tensor ``(..., C, ...)``; ``tensor`` if left out.

        Returns:
            ``(C,)``.
        """
        labels = self.labels if labels is None else labels
        x = self.tensor if x is None else x
        rows = labels.movedim(axis, 0).reshape(labels.shape[axis], -1)
        if rows.shape[1] > 1:
            self.tie(rows[:, :1], rows, f"pixel shuffle or reshape at {self.place}")
            rows = rows.max(1, keepdim=True).values
        return rows[:, 0].expand(x.shape[axis]).contiguous()

    def lay(self, channels: Tensor, axis: int) -> Tensor:
        """Labels of the output whose labels along an axis are ``channels``, ``(C,)``."""
        ndim = self.value.ndim
        return lay(channels, ndim, axis % ndim)

    def make(self, inputs: Tensor, count: int) -> Tensor:
        """The output labels of a layer that makes channels: fresh, or those of its first call.

        Args:
            inputs: the labels that the layer reads, ``(C,)``.
            count: how many channels it makes.

        Returns:
            ``(count,)``.
        """
        found, name = self.found, self.name
        if name in found.outputs:
            self.tie(found.inputs[name], inputs, f"{name} is called more than once")
            return found.outputs[name]
        found.inputs[name] = inputs
        found.outputs[name] = found.draw(name, count)
        return found.outputs[name]

    def inside(self, axis: str, count: int) -> Tensor:
        """Labels of channels inside of the layer, by the name of their axis: ``(count,)``."""
        name = f"{self.name}.{axis}"
        if name not in self.found.inside:
            self.found.inside[name] = self.found.draw(name, count)
        return self.found.inside[name]

    def note_axes(self, tensor: str, *axes: Tensor | None) -> None:
        """Note the labels ``(C,)`` along the axes of a parameter or buffer of the layer."""
        self.found.note_axes(f"{self.name}.{tensor}", axes, self.name)

    def tie(self, a: Tensor, b: Tensor, reason: str | None = None) -> None:
        """Tie two tensors of labels of shapes that broadcast; the reason is the operation."""
        self.found.tie(a, b, self.where if reason is None else reason)

    def hold(self, labels: Tensor, where: str | None = None) -> None:
        """Keep channels whose number the network's code fixes, given their labels in any shape.

        ``where`` is the operation that does, if it is not this one.
        """
        channels = torch.unique(labels)
        if bool(channels.any()):
            where = f"{self.where}{self.source}" if where is None else where
            self.found.held.append((channels, where))

    def freeze(self, *labels: Tensor) -> None:
        """Keep channels for another reason, given their labels ``(C,)``."""
        self.found.frozen += labels

    @property
    def place(self) -> str:
        """The module that the operation is, or in whose forward it stands."""
        if self.node.op == "call_module":
            return str(self.node.target)
        stack = self.node.meta.get("nn_module_stack") or {}
        path = str(list(stack.values())[-1][0]) if stack else ""
        return path or "the network itself"

    @property
    def where(self) -> str:
        """The operation and its place, for reasons."""
        if self.node.op == "call_module":
            return str(self.node.target)
        return f"{self.operation} at {self.place}"

    @property
    def source(self) -> str:
        """The line of the network's own code in which the operation stands."""
        return in_words(source_of(self.node))

    def unknown(self, what: str) -> UnfollowedError:
        """The error that says which operation cannot be followed, and where."""
        return UnfollowedError(f"{what} at module '{self.place}'{self.source}")

    def unknown_operation(self) -> UnfollowedError:
        """The error for an operation without a rule."""
        return self.unknown(f"operation '{self.operation}'")
