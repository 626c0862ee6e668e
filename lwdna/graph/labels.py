"""Labels: which channel every element of every tensor in a network belongs to.

Every tensor that flows through the network carries a tensor of *labels* of the same number of
dimensions: the label of an element names the channel it belongs to, and 0 means that it belongs
to none. A layer that makes channels draws fresh labels. Operations that only move data
(``cat``, ``permute``, ``reshape``, ...) are executed literally on the labels. Operations that
combine tensors element by element (a residual add, a gate) *tie* the labels that meet.

Operations that take channels apart do it by numbers. A number that comes from the tensor's own
shape shrinks with it: ``chunk(2)`` halves whatever is there, so the channels at equal positions
of the halves are tied. A number that is written in the code would take the wrong channels once
some are gone: the channels that it counts are *held*, they all stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx, nn

from lwdna.errors import GraphError
from lwdna.graph.operations import (
    ACTIVATIONS,
    BATCH_NORMS,
    CONCATENATING,
    CONVOLUTIONS,
    CREATING,
    ELEMENTWISE,
    ELEMENTWISE_MODULES,
    FUNCTIONAL_LAYERS,
    INSTANCE_NORMS,
    MIXING,
    MIXING_MODULES,
    REARRANGING,
    REDUCING,
    RESHAPING,
    SHUFFLING,
    SHUFFLING_MODULES,
    SPATIAL,
    SPATIAL_MODULES,
    TAKING,
    TRANSPOSED,
)
from lwdna.graph.tracing import source_of, value_of

INPLACE = frozenset("iadd isub imul itruediv ifloordiv ipow imod".split())


@dataclass
class Use:
    """Uses of a module that the FLOPs convention may count."""

    positions: int
    """Elements of the output for each of its channels, all uses of the module together."""
    labels: Tensor
    """Label of each channel of the output."""


@dataclass
class Labels:
    """What following a network finds out."""

    given: Mapping[str, Tensor] = field(default_factory=dict)
    """Labels to use instead of fresh ones, by the name of what makes them."""
    fresh: int = 1
    """The next label to draw."""
    pairs: list[tuple[Tensor, Tensor, str]] = field(default_factory=list)
    """Labels found to belong together, and why."""
    held: list[tuple[Tensor, str]] = field(default_factory=list)
    """Labels of channels that stay because the code fixes their number, and where."""
    frozen: list[Tensor] = field(default_factory=list)
    """Labels of other channels that always stay: of fixed layers, of one channel for many."""
    results: list[Tensor] = field(default_factory=list)
    """Labels of the network's outputs; they stay, as do those of its inputs."""
    sources: dict[str, Tensor] = field(default_factory=dict)
    """By input of the network its labels."""
    inputs: dict[str, Tensor] = field(default_factory=dict)
    """By layer the labels it reads."""
    outputs: dict[str, Tensor] = field(default_factory=dict)
    """By layer the labels it makes."""
    axes: dict[str, tuple[Tensor | None, ...]] = field(default_factory=dict)
    """By parameter or buffer the labels along each axis; None for one without channels."""
    uses: dict[str, Use] = field(default_factory=dict)
    """By module what it was used for."""

    def draw(self, name: str, count: int) -> Tensor:
        """Fresh labels for what ``name`` makes."""
        if name in self.given:
            return self.given[name]
        labels = torch.arange(self.fresh, self.fresh + count, device="cpu")
        self.fresh += count
        return labels

    def tie(self, a: Tensor, b: Tensor, reason: str) -> None:
        """Tie two tensors of labels element by element; 0 ties nothing."""
        a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
        both = (a != 0) & (b != 0) & (a != b)
        if both.any():
            self.pairs.append((a[both], b[both], reason))

    def classes(self) -> NDArray[np.int64]:
        """By label its class: tied labels share one. Numbered as they were drawn; 0 has -1."""
        a = [pair[0].numpy() for pair in self.pairs]
        b = [pair[1].numpy() for pair in self.pairs]
        rows, columns = (np.concatenate([np.zeros(0, np.int64), *side]) for side in (a, b))
        shape = (self.fresh, self.fresh)
        graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
        _, roots = connected_components(graph, directed=False)
        _, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
        order = np.empty(len(first), np.int64)
        order[np.argsort(first)] = np.arange(len(first))
        # Label 0 is first of all and tied to nothing: its class 0 becomes -1.
        return order[inverse] - 1


class Follower:
    """Walks along a traced graph and works out the labels of every value.

    Args:
        graph: what ``lwdna.graph.tracing.trace`` returned.
        modules: the modules of the network by name.
        found: where to note what is found; what an earlier walk noted there is kept.
        count: whether uses of modules are noted for the FLOPs convention.
    """

    def __init__(
        self, graph: fx.Graph, modules: Mapping[str, nn.Module], found: Labels, *, count: bool
    ) -> None:
        self.graph = graph
        self.modules = modules
        self.found = found
        self.count = count
        self.labels: dict[fx.Node, Any] = {}

    def walk(self) -> None:
        """Follow every operation in turn."""
        for n in self.graph.nodes:
            if n.op == "placeholder":
                self.labels[n] = self._input(n)
            elif n.op == "call_module":
                name = str(n.target)
                self.labels[n] = self._module(n, name, self.modules[name])
            elif n.op == "output":
                self._output(n)
            elif n.op != "get_attr":  # what it means depends on who uses it
                self.labels[n] = self._operation(n)

    # -- ends of the network ----------------------------------------------------------------

    def _input(self, n: fx.Node) -> Any:
        value = value_of(n)
        if not isinstance(value, Tensor):
            return None
        if value.ndim < 2:  # one number for each image, such as a time step
            return torch.zeros([1] * value.ndim, dtype=torch.int64)
        name = f"input {n.name}"
        if name not in self.found.sources:
            self.found.sources[name] = self.found.draw(name, value.shape[1])
        return _place(self.found.sources[name], value.ndim, 1)

    def _output(self, n: fx.Node) -> None:
        """What leaves the network keeps all its channels."""

        def freeze(node: fx.Node) -> fx.Node:
            for labels in _tensors(self._of(node)):
                self.found.results.append(torch.unique(labels))
            return node

        fx.node.map_arg(n.args, freeze)

    def _of(self, n: fx.Node) -> Any:
        """The labels of a value; a new tensor belongs to no channel."""
        if n.op == "get_attr" and n not in self.labels:
            self.labels[n] = self._attribute(n)
        value = value_of(n)
        if self.labels[n] is None and isinstance(value, Tensor):
            return torch.zeros([1] * value.ndim, dtype=torch.int64)
        return self.labels[n]

    def _attribute(self, n: fx.Node) -> Any:
        """A tensor of the network used directly, such as a scale: labels along its long axis."""
        value, name = value_of(n), str(n.target)
        if not isinstance(value, Tensor):
            return None
        long = [axis for axis, size in enumerate(value.shape) if size > 1]
        if not long or "_tensor_constant" in name:
            return torch.zeros([1] * value.ndim, dtype=torch.int64)
        if len(long) > 1:
            raise self._unknown(n, f"tensor '{n.target}' of shape {tuple(value.shape)}")
        if name not in self.found.axes:
            labels = self.found.draw(name, value.shape[long[0]])
            self.found.axes[name] = tuple(
                labels if axis == long[0] else None for axis in range(value.ndim)
            )
        return _place(self.found.axes[name][long[0]], value.ndim, long[0])  # type: ignore[arg-type]

    # -- layers -----------------------------------------------------------------------------

    def _module(self, n: fx.Node, name: str, module: nn.Module) -> Any:
        value = value_of(n)
        x, labels = self._first(n)
        if isinstance(module, CONVOLUTIONS):
            if x.ndim != module.weight.ndim:
                raise GraphError(
                    f"The input of {name} has the shape {tuple(x.shape)}, without a batch axis; "
                    "give an example input with one."
                )
            channels = self._convolution(name, module, self._along(n, labels, x, 1))
            out: Any = _place(channels, value.ndim, 1)
        elif isinstance(module, nn.Linear):
            channels = self._linear(name, module, self._along(n, labels, x, -1))
            out = _place(channels, value.ndim, value.ndim - 1)
        elif isinstance(module, (*BATCH_NORMS, *INSTANCE_NORMS)) or (
            isinstance(module, nn.PReLU) and module.num_parameters > 1
        ):
            channels = self._along(n, labels, x, 1)
            self._vectors(name, module, channels)
            out = _place(channels, value.ndim, 1)
        elif isinstance(module, nn.LayerNorm):
            out = self._layer_norm(n, name, module, labels)
        elif isinstance(module, nn.GroupNorm):
            out = self._group_norm(n, name, module, self._along(n, labels, x, 1))
        elif isinstance(module, (nn.PReLU, *ELEMENTWISE_MODULES)):
            out = labels
        elif isinstance(module, SPATIAL_MODULES):
            out = self._spatial(n, x, labels)
        elif isinstance(module, MIXING_MODULES):
            axis = -3 if isinstance(module, nn.Softmax2d) else module.dim  # type: ignore[union-attr]
            out = self._mix(n, axis, labels)
        elif isinstance(module, nn.Flatten):
            out = self._reshape(n, labels, [])
        elif isinstance(module, nn.Unflatten):
            sizes = module.unflattened_size
            axis = int(module.dim) % x.ndim  # type: ignore[call-overload]
            out = self._reshape(n, labels, [None] * axis + list(sizes))
        elif isinstance(module, nn.GLU):
            out = self._halve(n, int(module.dim), labels)
        elif isinstance(module, nn.ChannelShuffle):
            out = self._shuffle_groups(n, labels, int(module.groups))
        elif isinstance(module, SHUFFLING_MODULES):
            out = self._shuffle(n, module, x, labels)
        else:
            raise self._unknown(n, f"module of type {type(module).__name__}")
        activation = isinstance(module, (nn.PReLU, *ACTIVATIONS))
        if self.count and isinstance(value, Tensor) and (n.op == "call_module" or not activation):
            self._note_use(name, value, out, last=activation)
        return out

    def _convolution(self, name: str, module: Any, inputs: Tensor) -> Tensor:
        outputs = self._layer(name, inputs, module.out_channels)
        groups = module.groups
        if groups > 1:
            depthwise = groups == module.in_channels
            reason = f"depthwise convolution {name}" if depthwise else f"whole groups of {name}"
            first = inputs.view(groups, -1)[:, :1]
            self.found.tie(first, inputs.view(groups, -1), reason)
            self.found.tie(first, outputs.view(groups, -1), reason)
            weight: tuple[Tensor | None, ...]
            weight = (inputs if isinstance(module, TRANSPOSED) else outputs, None)
        else:
            weight = (inputs, outputs) if isinstance(module, TRANSPOSED) else (outputs, inputs)
        kernel = (None,) * (module.weight.ndim - 2)
        self._axes(f"{name}.weight", (*weight, *kernel), name)
        if module.bias is not None:
            self._axes(f"{name}.bias", (outputs,), name)
        if groups == 1 and not module.weight.requires_grad:
            # A fixed layer (a change of colour space, say) is not to be touched: nothing scores
            # what it makes, and it reads colours rather than features.
            self.found.frozen += [inputs, outputs]
        return outputs

    def _linear(self, name: str, module: nn.Linear, inputs: Tensor) -> Tensor:
        outputs = self._layer(name, inputs, module.out_features)
        self._axes(f"{name}.weight", (outputs, inputs), name)
        if module.bias is not None:
            self._axes(f"{name}.bias", (outputs,), name)
        if not module.weight.requires_grad:
            self.found.frozen += [inputs, outputs]
        return outputs

    def _layer(self, name: str, inputs: Tensor, channels: int) -> Tensor:
        """The output labels of a layer: fresh, or those of its first call."""
        if name in self.found.outputs:
            reason = f"{name} is called more than once"
            self.found.tie(self.found.inputs[name], inputs, reason)
            return self.found.outputs[name]
        self.found.inputs[name] = inputs
        self.found.outputs[name] = self.found.draw(name, channels)
        return self.found.outputs[name]

    def _vectors(self, name: str, module: nn.Module, channels: Tensor) -> None:
        """The parameters and buffers that a layer has for each channel."""
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            if getattr(module, tensor, None) is not None:
                self._axes(f"{name}.{tensor}", (channels,), name)

    def _axes(self, name: str, axes: tuple[Tensor | None, ...], module: str) -> None:
        """Note the labels along the axes of a parameter; a second use ties them to the first."""
        for old, new in zip(self.found.axes.setdefault(name, axes), axes, strict=True):
            if old is not None and new is not None:
                self.found.tie(old, new, f"{module} is called more than once")

    def _layer_norm(self, n: fx.Node, name: str, module: nn.LayerNorm, labels: Tensor) -> Tensor:
        """Statistics over the channels that are there; the parameters follow them."""
        inside = len(module.normalized_shape)
        axes = tuple(
            labels.flatten() if labels.shape[d] == labels.numel() > 1 else None
            for d in range(-inside, 0)
        )
        if all(axis is None for axis in axes):
            if any(labels.shape[d] > 1 for d in range(-inside, 0)):
                raise self._unknown(n, f"module '{name}' over more than one axis of channels")
        elif module.weight is None:
            self._hold(n, labels)
        else:
            for tensor in ("weight", "bias"):
                if getattr(module, tensor) is not None:
                    self._axes(f"{name}.{tensor}", axes, name)
        return labels

    def _group_norm(self, n: fx.Node, name: str, module: nn.GroupNorm, channels: Tensor) -> Tensor:
        """Whole groups: then the statistics of those that stay are what they were."""
        if module.weight is None:
            self._hold(n, channels)
        elif module.num_groups > 1:
            groups = channels.view(module.num_groups, -1)
            self.found.tie(groups[:, :1], groups, f"whole groups of {name}")
        self._vectors(name, module, channels)
        return _place(channels, value_of(n).ndim, 1)

    def _note_use(self, name: str, value: Tensor, labels: Tensor, *, last: bool) -> None:
        """Note the output size of a module; the last call of an activation replaces earlier ones.

        Only then is ResNet50, whose blocks use one ReLU three times, what Table 1 says.
        """
        channels = labels.flatten()
        positions = value[:1].numel() // len(channels)
        earlier = self.found.uses.get(name)
        if earlier is not None and not last:
            positions += earlier.positions
        self.found.uses[name] = Use(positions, channels)

    # -- functions and methods --------------------------------------------------------------

    def _operation(self, n: fx.Node) -> Any:
        name, value = _name(n), value_of(n)
        sources = [s for s in n.all_input_nodes if _has_tensor(value_of(s))]
        if not sources or not _has_tensor(value):
            return None
        if name in FUNCTIONAL_LAYERS:
            return self._functional_layer(n, name)
        if name in ELEMENTWISE or (name in {"max", "min"} and len(sources) > 1):
            return self._elementwise(n, sources)
        if name in CONCATENATING:
            return self._concatenate(n)
        if name == "stack":
            return self._stack(n)
        if name in CREATING:
            return None
        if name in TAKING:
            return self._take(n, name)
        if isinstance(n.target, type) and issubclass(n.target, tuple):  # a named tuple
            return tuple(map(self._of, n.all_input_nodes))
        x, labels = self._first(n)
        if name in RESHAPING:
            return self._reshape(n, labels, _sizes(n, name, value))
        if name in REARRANGING or (name == "getattr" and n.args[1] in {"T", "mT", "H", "mH"}):
            return self._rearrange(n, labels)
        if name in SHUFFLING:
            factor = _argument(n, 1, "upscale_factor", "downscale_factor")
            function = getattr(nn.functional, name)
            return self._shuffle(n, lambda t: function(t, factor), x, labels)
        if name == "channel_shuffle":
            return self._shuffle_groups(n, labels, int(_argument(n, 1, "groups")))
        if name == "glu":
            return self._halve(n, int(_argument(n, 1, "dim", default=-1)), labels)
        if name in REDUCING:
            return self._reduce(n, x, labels)
        if name in MIXING:
            default = 1 if name == "normalize" else None
            position = 2 if name == "normalize" else 1
            return self._mix(n, _argument(n, position, "dim", default=default), labels)
        pads_space = name == "pad" and x.ndim == value.ndim and x.shape[:2] == value.shape[:2]
        if name in SPATIAL or pads_space:
            return self._spatial(n, x, labels)
        raise self._unknown(n, f"operation '{name}'")

    def _functional_layer(self, n: fx.Node, name: str) -> Any:
        """A layer called as a function: by the module that owns its weight, if there is one."""
        kinds = FUNCTIONAL_LAYERS[name]
        given = [s for s in n.all_input_nodes if s.op == "get_attr"]
        owners = {str(s.target).rpartition(".")[0] for s in given}
        if len(owners) == 1:
            owner = owners.pop()
            module = self.modules[owner]
            groups = _argument(n, 6, "groups", default=1) if name.startswith("conv") else None
            if (
                isinstance(module, kinds)
                and any(s.target == f"{owner}.weight" for s in given)
                and groups in {None, getattr(module, "groups", None)}
            ):
                return self._module(n, owner, module)
        x, labels = self._first(n)
        if name in {"instance_norm", "prelu"}:
            channels = self._along(n, labels, x, 1)
            for vector in given:
                along = self._along(n, self._of(vector), value_of(vector), 0)
                self.found.tie(channels, along, _where(n))
            return _place(channels, value_of(n).ndim, 1)
        if name in {"layer_norm", "group_norm"} and not owners:
            self._hold(n, labels)
            return labels
        expected = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
        raise self._unknown(n, f"operation '{name}' with a weight that is not that of {expected}")

    def _elementwise(self, n: fx.Node, sources: list[fx.Node]) -> Tensor:
        ndim = value_of(n).ndim
        result = torch.zeros([1] * ndim, dtype=torch.int64)
        many = any(self._of(source).numel() > 1 for source in sources)
        for source in sources:
            labels = self._of(source)
            if many and labels.numel() == 1:
                # One channel for all of the others, such as a map that weighs positions.
                self.found.frozen.append(labels.flatten())
                continue
            labels = labels.view([1] * (ndim - labels.ndim) + list(labels.shape))
            self.found.tie(result, labels, _where(n))
            result, labels = torch.broadcast_tensors(result, labels)  # type: ignore
            result = torch.where(result != 0, result, labels)
        return _compress(result)

    def _concatenate(self, n: fx.Node) -> Tensor:
        """Concatenation, on labels expanded only where an input needs it (it is frequent)."""
        ndim = value_of(n).ndim
        axis = int(_argument(n, 1, "dim", "axis", default=0)) % ndim
        parts = list(zip(*self._several(n), strict=True))
        full = {d for d in range(ndim) if d == axis or any(lbl.shape[d] > 1 for _, lbl in parts)}
        return _compress(
            torch.cat(
                [
                    lbl.expand([x.shape[d] if d in full else 1 for d in range(x.ndim)])
                    for x, lbl in parts
                ],
                axis,
            )
        )

    def _stack(self, n: fx.Node) -> Tensor:
        """Equal shapes are stacked, so what is at one place in all of them is tied."""
        axis = int(_argument(n, 1, "dim", "axis", default=0)) % value_of(n).ndim
        _, labels = self._several(n)
        parts = torch.broadcast_tensors(*labels)  # type: ignore[no-untyped-call]
        for part in parts[1:]:
            self.found.tie(parts[0], part, _where(n))
        return _compress(torch.stack(list(parts), axis))

    def _rearrange(self, n: fx.Node, labels: Tensor) -> Tensor:
        """Do to the labels what is done to the data."""
        full = labels.expand(value_of(n.args[0]).shape)  # type: ignore[arg-type]
        return _compress(_again(n, full))

    def _take(self, n: fx.Node, name: str) -> Any:
        """Parts of a tensor: harmless unless they divide the channels by numbers."""
        source: Any = n.args[0]
        labels = self._of(source)
        if isinstance(labels, tuple | list):
            return labels[n.args[1]]  # type: ignore[index]
        x = value_of(source)
        if name == "getitem" and any(map(_has_tensor, _index_values(n))):
            raise self._unknown(n, "an index that is a tensor")
        moved = _again(n, labels.expand(x.shape))
        for axis in _axes_taken(n, name, x.ndim):
            if labels.shape[axis] == 1 or self._alike(labels, axis):
                continue
            parts = [part.shape[axis] for part in moved] if isinstance(moved, tuple) else []
            number = _argument(n, 1, "chunks", "split_size_or_sections", "split_size", "sections")
            follows = isinstance(number, fx.Node) or (
                name in {"chunk", "tensor_split"} and number == len(parts)
            )
            if follows and len(parts) > 1 and len(set(parts)) == 1:
                first, *others = labels.chunk(len(parts), axis)
                for other in others:
                    self.found.tie(first, other, _where(n))
            else:
                self._hold(n, labels)
        if isinstance(moved, Tensor):
            return _compress(moved)
        return tuple(_compress(part) for part in moved)

    def _alike(self, labels: Tensor, axis: int) -> bool:
        """Whether the same channels are found all along an axis, so that it never shrinks."""
        classes = torch.from_numpy(self.found.classes())[labels]
        return bool((classes == classes.narrow(axis, 0, 1)).all())

    def _halve(self, n: fx.Node, axis: int, labels: Tensor) -> Tensor:
        """A gated linear unit: one half of the channels gates the other."""
        if labels.shape[axis] == 1:
            return labels
        first, second = labels.chunk(2, axis)
        self.found.tie(first, second, _where(n))
        return first

    def _reshape(self, n: fx.Node, labels: Tensor, sizes: Sequence[Any]) -> Tensor:
        """A new shape for the same elements, one group of axes after the other.

        Args:
            n: the operation.
            labels: of its input.
            sizes: of the output as they stand in the code; an ``fx.Node``, None or -1 follows the
                input, as do sizes that are left out.
        """
        x, value = value_of(n.args[0]), value_of(n)  # type: ignore[arg-type]
        moved = _compress(labels.expand(x.shape).reshape(value.shape))
        follows = [
            d >= len(sizes) or not isinstance(sizes[d], int) or sizes[d] == -1
            for d in range(value.ndim)
        ]
        for before, after in _groups(x.shape, value.shape):
            if all(labels.shape[d] == 1 for d in before):
                continue
            if len(after) == 1:  # axes are put together, or nothing changes
                if not follows[after[0]]:
                    self._hold(n, labels)
            elif len(before) == 1 and sum(follows[d] for d in after) == 1:
                for axis in after:  # an axis is divided: the written parts keep their number
                    if not follows[axis]:
                        self.found.tie(moved.narrow(axis, 0, 1), moved, _where(n))
            else:
                self._hold(n, labels)
        return moved

    def _reduce(self, n: fx.Node, x: Tensor, labels: Tensor) -> Any:
        """A mean or sum: the elements that are put together belong together."""
        value = value_of(n)
        position = 2 if _name(n) == "norm" else 1
        given: Any = _argument(n, position, "dim", "axis", default=None)
        axes = range(x.ndim) if given is None else (given,) if isinstance(given, int) else given
        reduced = [axis % x.ndim for axis in axes]
        for axis in reduced:
            first = labels.narrow(axis, 0, 1)
            self.found.tie(first, labels, _where(n))
            labels = first
        result = next(iter(value)) if isinstance(value, tuple) else value
        if result.ndim < x.ndim:
            labels = labels.view([s for d, s in enumerate(labels.shape) if d not in reduced])
        return (labels,) * len(value) if isinstance(value, tuple) else labels

    def _mix(self, n: fx.Node, axis: int | None, labels: Tensor) -> Tensor:
        """A softmax: what is normalised together belongs together."""
        if axis is None:
            raise self._unknown(n, f"operation '{_name(n)}' without a dimension")
        self.found.tie(labels.narrow(axis, 0, 1), labels, _where(n))
        return labels

    def _spatial(self, n: fx.Node, x: Tensor, labels: Tensor) -> Any:
        """Pooling, interpolation, padding: channels stay where they are."""
        value = value_of(n)
        channels = self._along(n, labels, x, 1)
        if isinstance(value, tuple):  # with the indices of a max-pooling
            return tuple(_place(channels, part.ndim, 1) for part in value)
        return _place(channels, value.ndim, 1)

    def _shuffle(
        self, n: fx.Node, move: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor
    ) -> Tensor:
        """Pixel shuffles, on the labels of one block: elsewhere it is the same again."""
        value = value_of(n)
        channels = _place(self._along(n, labels, x, 1), x.ndim, 1)
        block = [max(1, i // o) for i, o in zip(x.shape[2:], value.shape[2:], strict=True)]
        moved = move(channels.expand(1, -1, *block))
        return _place(self._along(n, moved, value, 1), value.ndim, 1)

    def _shuffle_groups(self, n: fx.Node, labels: Tensor, groups: int) -> Tensor:
        """Channel shuffle: every group keeps as many channels, at the same positions."""
        x = value_of(n.args[0])  # type: ignore[arg-type]
        channels = self._along(n, labels, x, 1).view(groups, -1)
        self.found.tie(channels[:1], channels, _where(n))
        return _place(channels.t().flatten(), x.ndim, 1)

    # -- helpers ----------------------------------------------------------------------------

    def _first(self, n: fx.Node) -> tuple[Tensor, Tensor]:
        """The first tensor that goes into an operation, and its labels."""
        for source in n.all_input_nodes:
            if isinstance(value_of(source), Tensor):
                return value_of(source), self._of(source)
        raise self._unknown(n, "a call without a tensor")

    def _several(self, n: fx.Node) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The tensors of a list that goes into an operation, and their labels."""
        tensors = _argument(n, 0, "tensors")
        if isinstance(tensors, fx.Node):
            return value_of(tensors), self._of(tensors)
        return [value_of(tensor) for tensor in tensors], [self._of(tensor) for tensor in tensors]

    def _along(self, n: fx.Node, labels: Tensor, x: Tensor, axis: int) -> Tensor:
        """One label for each index along an axis; labels that share an index are tied."""
        rows = labels.movedim(axis, 0).reshape(labels.shape[axis], -1)
        if rows.shape[1] > 1:
            self.found.tie(rows[:, :1], rows, f"pixel shuffle or reshape at {_place_of(n)}")
            rows = rows.max(1, keepdim=True).values
        return rows[:, 0].expand(x.shape[axis]).contiguous()

    def _hold(self, n: fx.Node, labels: Tensor) -> None:
        """Keep channels whose number the network's code fixes."""
        self.found.held.append((torch.unique(labels), f"{_where(n)}{_source(n)}"))

    def _unknown(self, n: fx.Node, what: str) -> GraphError:
        return GraphError(
            f"The channels cannot be followed through {what} at module '{_place_of(n)}'"
            f"{_source(n)}. Write it with known layers and operations (docs/channels.md lists "
            "them)."
        )


def _name(n: fx.Node) -> str:
    """The name of a function or method, in-place or not."""
    target: Any = n.target
    name = (target if isinstance(target, str) else getattr(target, "__name__", "")).strip("_")
    return name[1:] if name in INPLACE else name


def _place_of(n: fx.Node) -> str:
    """The module that an operation is, or in whose forward it stands."""
    if n.op == "call_module":
        return str(n.target)
    stack = n.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return path or "the network itself"


def _where(n: fx.Node) -> str:
    """An operation and its place, for reasons."""
    if n.op == "call_module":
        return str(n.target)
    return f"{_name(n)} at {_place_of(n)}"


def _source(n: fx.Node) -> str:
    """The line of the network's own code in which an operation stands."""
    place = source_of(n)
    return f" ({place[0]}:{place[1]}: {place[2]})" if place else ""


def _argument(n: fx.Node, position: int, *names: str, default: Any = None) -> Any:
    """An argument of an operation by its position or one of its names."""
    if len(n.args) > position:
        return n.args[position]
    for name in names:
        if name in n.kwargs:
            return n.kwargs[name]
    return default


def _sizes(n: fx.Node, name: str, value: Tensor) -> Sequence[Any]:
    """The sizes that a reshape writes down, by axis of the output."""
    if name in {"view_as", "reshape_as", "flatten", "ravel"}:
        return []
    if name == "unflatten":
        axis = int(_argument(n, 1, "dim")) % value_of(n.args[0]).ndim  # type: ignore[arg-type]
        sizes: Any = _argument(n, 2, "sizes", "unflattened_size")
        return [None] * axis + list(sizes)
    sizes = n.args[1:] or (n.kwargs.get("shape", n.kwargs.get("size")),)
    if len(sizes) == 1:
        sizes = sizes[0]
    if isinstance(sizes, fx.Node):
        return []
    return [sizes] if isinstance(sizes, int) else list(sizes)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of axes, on either side, with equal numbers of elements.

    Axes of length 1 belong to none: they change nothing.
    """
    left = [d for d, size in enumerate(before) if size > 1]
    right = [d for d, size in enumerate(after) if size > 1]
    groups = []
    while left and right:
        a, b = [left.pop(0)], [right.pop(0)]
        m, n = before[a[0]], after[b[0]]
        while m != n:
            if m < n:
                a.append(left.pop(0))
                m *= before[a[-1]]
            else:
                b.append(right.pop(0))
                n *= after[b[-1]]
        groups.append((a, b))
    return groups


def _axes_taken(n: fx.Node, name: str, ndim: int) -> list[int]:
    """Along which axes an operation takes parts."""
    if name != "getitem":
        position = {"narrow": 1, "select": 1, "unbind": 1}.get(name, 2)
        return [int(_argument(n, position, "dim", default=0)) % ndim]
    index: Any = n.args[1] if isinstance(n.args[1], tuple | list) else (n.args[1],)
    consumed = sum(1 for i in index if i is not None and i is not Ellipsis)
    axes, axis = [], 0
    for i in index:
        if i is None:
            continue
        if i is Ellipsis:
            axis += ndim - consumed
            continue
        if i != slice(None):
            axes.append(axis)
        axis += 1
    return axes


def _index_values(n: fx.Node) -> list[Any]:
    """What a tensor is indexed with."""
    index: Any = n.args[1] if isinstance(n.args[1], tuple | list) else (n.args[1],)
    return [value_of(i) if isinstance(i, fx.Node) else i for i in index]


def _again(n: fx.Node, first: Tensor) -> Any:
    """Repeat an operation with another tensor in the place of its first argument."""
    rest, kwargs = fx.node.map_arg((n.args[1:], n.kwargs), value_of)
    if n.op == "call_method":
        return getattr(first, str(n.target))(*rest, **kwargs)
    return n.target(first, *rest, **kwargs)  # type: ignore[operator]


def _place(labels: Tensor, ndim: int, axis: int) -> Tensor:
    """Lay labels along one axis of a tensor of ``ndim`` dimensions."""
    return labels.view([-1 if d == axis else 1 for d in range(ndim)])


def _compress(labels: Tensor) -> Tensor:
    """Shrink every axis along which nothing changes to length 1."""
    for axis, size in enumerate(labels.shape):
        if size > 1:
            first = labels.narrow(axis, 0, 1)
            if bool((labels == first).all()):
                labels = first
    return labels


def _tensors(labels: Any) -> list[Tensor]:
    if isinstance(labels, Tensor):
        return [labels]
    return list(labels) if isinstance(labels, tuple | list) else []


def _has_tensor(value: Any) -> bool:
    items: Iterable[Any] = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(item, Tensor) for item in items)
