"""The channel graph: which channels of a network must live or die together.

Every tensor that flows through the network carries a tensor of *labels* of the same number of
dimensions: the label of an element names the channel it belongs to, and 0 means that it belongs
to none. A layer that makes channels draws fresh labels. Operations that only move data
(``cat``, ``reshape``, ``chunk``, pixel shuffle, ...) are executed literally on the labels.
Operations that combine tensors element by element (a residual add, a gate) tie the labels that
meet. What is tied in the end forms one *class*: the channels that can only be removed together.
Classes that are made by the same layer form a *channel set*, the thing a latent vector controls.

No other module knows about residual adds, depthwise convolution, concatenation and the like.
"""

from __future__ import annotations

import copy
import inspect
import operator
import re
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from lwdna.errors import GraphError

Classes = NDArray[np.int64]
"""For each channel along an axis of a tensor its class, or -1 for one that is always there."""
Mask = NDArray[np.bool_]
"""For each class of a graph whether it is kept."""

CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
)
ELEMENTWISE_MODULES = (
    *ACTIVATIONS,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
)
SPATIAL_MODULES = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.Upsample,
    nn.ZeroPad2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
)
MOVING_MODULES = (nn.Flatten, nn.Unflatten)
SHUFFLING_MODULES = (nn.PixelShuffle, nn.PixelUnshuffle)
KNOWN_LAYERS = (
    *CONVOLUTIONS,
    nn.Linear,
    *BATCH_NORMS,
    nn.PReLU,
    *ELEMENTWISE_MODULES,
    *SPATIAL_MODULES,
    *MOVING_MODULES,
    *SHUFFLING_MODULES,
)

# Functions and tensor methods, by name: `torch.relu`, `F.relu`, `x.relu()` and `x.relu_()` alike.
ELEMENTWISE = frozenset(
    "add sub mul div truediv maximum minimum pow neg abs exp sqrt clamp relu relu6 leaky_relu elu "
    "celu selu gelu silu mish sigmoid tanh softplus hardtanh hardsigmoid hardswish dropout "
    "dropout2d stochastic_depth contiguous clone float half double to type_as detach".split()
)
SPATIAL = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "interpolate boolean_dispatch".split()
)
MOVING = frozenset(
    "cat concat concatenate stack chunk split tensor_split unbind getitem view reshape flatten "
    "unflatten permute transpose swapaxes movedim squeeze unsqueeze expand expand_as repeat "
    "repeat_interleave narrow select flip".split()
)
SHUFFLING = frozenset("pixel_shuffle pixel_unshuffle".split())
REDUCING = frozenset("mean sum amax amin var std".split())
CONCATENATING = frozenset("cat concat concatenate".split())
SHAPES = frozenset("size dim numel getattr".split())


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of the network."""

    name: str
    module: nn.Module
    inputs: Classes
    """Class of each input channel; of a linear layer after a flatten, of each input feature."""
    outputs: Classes
    """Class of each output channel."""

    @property
    def mixes(self) -> bool:
        """Whether every output channel reads every input channel (no groups)."""
        return getattr(self.module, "groups", 1) == 1


@dataclass(frozen=True)
class Activity:
    """One use of a module that the FLOPs convention counts."""

    name: str
    module: nn.Module
    positions: int
    """Elements of the output for each of its channels, all uses of the module together."""


@dataclass(frozen=True)
class ChannelSet:
    """Channels that several layers share: what one latent vector controls."""

    name: str
    """The first layer that makes these channels."""
    classes: Classes
    """The elements of the set, in the order of that layer's channels."""
    frozen: NDArray[np.bool_]
    """Which elements must stay: those of the network's inputs and outputs."""
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    followers: tuple[str, ...]
    """Other modules with parameters for these channels, such as batch norms."""
    reasons: tuple[str, ...]
    feeds_classifier: bool
    """Whether a linear layer turns these channels into the network's output."""

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def prunable(self) -> bool:
        """Whether any element may be removed."""
        return not bool(self.frozen.all())


@dataclass
class _Ties:
    """Pairs of labels found to belong together, and why."""

    pairs: list[tuple[Tensor, Tensor, str]] = field(default_factory=list)

    def add(self, a: Tensor, b: Tensor, reason: str) -> None:
        """Tie two tensors of labels element by element; 0 ties nothing."""
        a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
        both = (a != 0) & (b != 0) & (a != b)
        if both.any():
            self.pairs.append((a[both], b[both], reason))


class ChannelGraph:
    """The channels of a network and how its layers share them.

    Args:
        model: any ``nn.Module`` that torch.fx can trace. It is neither run nor changed: the graph
            is read off a copy without data on the meta device.
        example_input: a tensor ``(B, C, H, W)`` (or a tuple of the inputs) of the size in question.

    Attributes:
        sets: the channel sets, in the order of the network.
        layers: convolutions and linear layers by module name.
        axes: by name of a parameter or buffer, the classes along each of its axes; None for an
            axis without channels (kernel sizes, the inside of a group).
        activities: what the FLOPs convention counts.
        classes: how many classes there are; a mask has this length.

    Raises:
        GraphError: for a network that torch.fx cannot trace, or an operation whose effect on
            channels is not known; the message names the module and the operation.
    """

    def __init__(self, model: nn.Module, example_input: Tensor | Sequence[Tensor]) -> None:
        inputs = as_inputs(example_input)
        _check_model(model)
        skeleton = on_meta(model).eval()
        follower = _Follower(_trace(skeleton, len(inputs)), dict(model.named_modules()))
        try:
            with torch.no_grad():
                follower.run(*(x.to("meta") for x in inputs))
        except GraphError:
            raise
        except Exception as error:
            raise GraphError(
                f"The network does not run on an input of shape {_shapes(inputs)}: "
                f"{str(error).splitlines()[0]}. Give an example input that it accepts."
            ) from error
        self.model = model
        classes = _number_classes(follower)
        self.classes: int = int(classes.max(initial=-1)) + 1
        self.layers = {
            name: Layer(
                name,
                follower.modules[name],
                classes[follower.inputs[name].numpy()],
                classes[follower.outputs[name].numpy()],
            )
            for name in follower.outputs
        }
        self.axes: dict[str, tuple[Classes | None, ...]] = {
            name: tuple(None if labels is None else classes[labels.numpy()] for labels in axes)
            for name, axes in follower.axes.items()
        }
        self.activities = list(follower.activities.values())
        self.activity_axes: dict[str, Classes] = {
            name: classes[labels.numpy()] for name, labels in follower.activity_labels.items()
        }
        self.sets = _sets(self, follower, classes)

    def full_mask(self) -> Mask:
        """The mask that keeps every channel."""
        return np.ones(self.classes, dtype=np.bool_)

    def kept(self, mask: Mask) -> dict[str, list[int]]:
        """By layer the indices of the output channels that ``mask`` keeps."""
        return {
            name: np.flatnonzero(keeps(mask, layer.outputs)).tolist()
            for name, layer in self.layers.items()
        }

    def explain(self) -> str:
        """Say in words each channel set, its layers, and why they are coupled."""
        lines = []
        for number, channels in enumerate(self.sets, 1):
            state = "" if channels.prunable else ", frozen (input or output of the network)"
            if channels.prunable and channels.frozen.any():
                state = f", {int(channels.frozen.sum())} of them frozen"
            lines.append(f"{number}. {channels.name}: {_count(len(channels), 'element')}{state}")
            for title, names in (
                ("made by", channels.makers),
                ("read by", channels.readers),
                ("with", channels.followers),
                ("because", channels.reasons),
            ):
                if names:
                    lines.append(f"   {title}: " + "; ".join(names))
            if channels.feeds_classifier:
                lines.append("   feeds the classifier (floor tau)")
        return "\n".join(lines)


def keeps(mask: Mask, classes: Classes) -> Mask:
    """For each channel whether it stays under ``mask``; class -1 always does."""
    return np.where(classes < 0, True, mask[classes])


def on_meta(model: nn.Module) -> nn.Module:
    """A copy of a module without data, for reading shapes: no memory is spent on weights."""
    memo: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = empty
    return copy.deepcopy(model, memo)


def as_inputs(example_input: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs of a network: one tensor, or several in a tuple or list."""
    return (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)


def _check_model(model: nn.Module) -> None:
    """Refuse what cannot be cut: a lone layer, computed weights, weights of two layers."""
    if isinstance(model, KNOWN_LAYERS):
        raise GraphError(
            f"The network is a single layer of type {type(model).__name__}; put it into an "
            "nn.Sequential if that is meant."
        )
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module) or hasattr(module, "weight_orig"):
            raise GraphError(
                f"The weight of module '{name}' is computed from others (weight norm or another "
                "parametrization); remove the parametrization first."
            )
    owners: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            other, owner = owners.setdefault(id(parameter), (name, module))
            if owner is not module:
                raise GraphError(
                    f"Modules '{other}' and '{name}' share a weight; use one module in both "
                    "places, or give each its own."
                )


class _Tracer(fx.Tracer):
    """The standard tracer, recording source lines for error messages."""

    record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Also take a subclass of a known layer whole if it computes what that layer does."""
        known = next((kind for kind in KNOWN_LAYERS if isinstance(m, kind)), None)
        if known is not None and type(m).forward is known.forward:
            return True
        return super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module, inputs: int) -> fx.GraphModule:
    """The network as a graph of operations, with defaults for all but the first inputs."""
    parameters = list(inspect.signature(model.forward).parameters.values())[inputs:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    try:
        graph = _Tracer().trace(model, concrete_args=defaults or None)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/torch/" not in f.filename and f.filename != __file__]
        where = f" at {own[-1].filename}:{own[-1].lineno} ({own[-1].line})" if own else ""
        raise GraphError(
            f"torch.fx cannot trace {type(model).__name__}{where}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
            "Control flow that depends on tensor values cannot be followed; rewrite that line."
        ) from error
    return fx.GraphModule(model, graph)


class _Follower(fx.Interpreter):
    """Runs the graph on the meta device and follows the labels of every tensor beside it."""

    def __init__(self, graph: fx.GraphModule, modules: Mapping[str, nn.Module]) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self.modules = modules
        self.labels: dict[fx.Node, Any] = {}
        self.fresh = 1
        self.ties = _Ties()
        self.frozen: list[Tensor] = []
        self.result_labels: list[Tensor] = []
        self.sources: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.axes: dict[str, tuple[Tensor | None, ...]] = {}
        self.activities: dict[str, Activity] = {}
        self.activity_labels: dict[str, Tensor] = {}

    # -- the walk ---------------------------------------------------------------------------

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "placeholder":
            labels = self._input(n, value)
        elif n.op == "get_attr":
            labels = self._attribute(n, value)
        elif n.op == "call_module":
            labels = self._module(n, value)
        elif n.op == "output":
            self._output(n)
            labels = None
        else:
            labels = self._function(n, value)
        self.labels[n] = labels
        return value

    def _input(self, n: fx.Node, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        labels = self._draw(value.shape[1])
        self.frozen.append(labels)
        self.sources[f"input {n.name}"] = labels
        return _place(labels, value.ndim, 1)

    def _attribute(self, n: fx.Node, value: Any) -> Any:
        """A parameter used directly, such as a scale per channel: labels along its long axis."""
        if not isinstance(value, Tensor):
            return None
        long = [axis for axis, size in enumerate(value.shape) if size > 1]
        if not long:
            return torch.zeros([1] * value.ndim, dtype=torch.int64)
        if len(long) > 1:
            raise self._unknown(n, f"tensor '{n.target}' of shape {tuple(value.shape)}")
        name = str(n.target)
        if name not in self.axes:
            labels = self._draw(value.shape[long[0]])
            self.axes[name] = tuple(
                labels if axis == long[0] else None for axis in range(value.ndim)
            )
        labels = self.axes[name][long[0]]  # type: ignore[assignment]
        return _place(labels, value.ndim, long[0])

    def _output(self, n: fx.Node) -> None:
        """What leaves the network keeps all its channels."""

        def freeze(node: fx.Node) -> fx.Node:
            for labels in _tensors(self.labels[node]):
                self.frozen.append(torch.unique(labels))
                self.result_labels.append(torch.unique(labels))
            return node

        fx.node.map_arg(n.args, freeze)

    # -- modules ----------------------------------------------------------------------------

    def _module(self, n: fx.Node, value: Any) -> Any:
        name = str(n.target)
        module = self.modules[name]
        x, labels = self._first_tensor(n)
        if isinstance(module, CONVOLUTIONS):
            channels = self._convolution(n, name, module, self._along(labels, x, 1, name))
            out = _place(channels, value.ndim, 1)
        elif isinstance(module, nn.Linear):
            channels = self._linear(name, module, self._along(labels, x, -1, name))
            out = _place(channels, value.ndim, value.ndim - 1)
        elif isinstance(module, BATCH_NORMS):
            channels = self._along(labels, x, 1, name)
            for tensor in ("weight", "bias", "running_mean", "running_var"):
                if getattr(module, tensor) is not None:
                    self._axes(f"{name}.{tensor}", (channels,), name)
            out = _place(channels, value.ndim, 1)
        elif isinstance(module, nn.PReLU) and module.num_parameters > 1:
            channels = self._along(labels, x, 1, name)
            self._axes(f"{name}.weight", (channels,), name)
            out = _place(channels, value.ndim, 1)
        elif isinstance(module, (nn.PReLU, *ELEMENTWISE_MODULES)):
            out = labels
        elif isinstance(module, SPATIAL_MODULES):
            out = _place(self._along(labels, x, 1, name), value.ndim, 1)
        elif isinstance(module, MOVING_MODULES):
            moved = module(labels.expand(x.shape).contiguous())
            if isinstance(module, nn.Unflatten) and module.unflattened_size[0] == -1:
                # As many channels as are left, each of a fixed number of features.
                out = _place(self._along(moved, value, 1, name), value.ndim, 1)
            else:
                out = self._undivided(n, [labels], [moved])[0]
        elif isinstance(module, SHUFFLING_MODULES):
            out = self._shuffle(name, module, x, labels, value)
        else:
            raise self._unknown(n, f"module of type {type(module).__name__}")
        self._count(name, module, value, out)
        return out

    def _convolution(self, n: fx.Node, name: str, module: Any, inputs: Tensor) -> Tensor:
        outputs = self._layer(name, inputs, module.out_channels)
        groups = module.groups
        if groups > 1:
            depthwise = groups == module.in_channels
            reason = f"depthwise convolution {name}" if depthwise else f"whole groups of {name}"
            first = inputs.view(groups, -1)[:, :1]
            self.ties.add(first, inputs.view(groups, -1), reason)
            self.ties.add(first, outputs.view(groups, -1), reason)
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
            self.frozen += [inputs, outputs]
        return outputs

    def _linear(self, name: str, module: nn.Linear, inputs: Tensor) -> Tensor:
        outputs = self._layer(name, inputs, module.out_features)
        self._axes(f"{name}.weight", (outputs, inputs), name)
        if module.bias is not None:
            self._axes(f"{name}.bias", (outputs,), name)
        return outputs

    def _layer(self, name: str, inputs: Tensor, channels: int) -> Tensor:
        """The output labels of a layer: fresh, or those of its first call."""
        if name in self.outputs:
            self.ties.add(self.inputs[name], inputs, f"{name} is called more than once")
            return self.outputs[name]
        self.inputs[name] = inputs
        self.outputs[name] = self._draw(channels)
        return self.outputs[name]

    def _axes(self, name: str, axes: tuple[Tensor | None, ...], module: str) -> None:
        """Note the labels along the axes of a parameter; a second use ties them to the first."""
        for old, new in zip(self.axes.setdefault(name, axes), axes, strict=True):
            if old is not None and new is not None:
                self.ties.add(old, new, f"{module} is called more than once")

    def _count(self, name: str, module: nn.Module, value: Any, labels: Tensor) -> None:
        """Note the output size of a module; the last call of an activation replaces earlier ones.

        Only then is ResNet50, whose blocks use one ReLU three times, what Table 1 says.
        """
        if not isinstance(value, Tensor):
            return
        long = [axis for axis in range(1, value.ndim) if labels.shape[axis] > 1]
        axis = long[0] if len(long) == 1 else 1
        channels = self._along(labels, value, axis, name)
        positions = value[:1].numel() // max(len(channels), 1)
        earlier = self.activities.get(name)
        if earlier is not None and not isinstance(module, (nn.PReLU, *ACTIVATIONS)):
            positions += earlier.positions
        self.activities[name] = Activity(name, module, positions)
        self.activity_labels[name] = channels

    # -- functions and methods --------------------------------------------------------------

    def _function(self, n: fx.Node, value: Any) -> Any:
        sources = [s for s in n.all_input_nodes if _tensors(self.labels[s])]
        name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
        name = name.strip("_")
        name = name[1:] if name in {"iadd", "isub", "imul", "itruediv"} else name
        if not sources or name in SHAPES or not _has_tensor(value):
            return None
        if name in ELEMENTWISE:
            return self._elementwise(n, sources, value)
        if name in CONCATENATING:
            return self._concatenate(n, value)
        if name in MOVING:
            return self._move(n)
        x, labels = self._first_tensor(n)
        if name in SHUFFLING:
            factor = n.args[1] if len(n.args) > 1 else next(iter(n.kwargs.values()))
            function = getattr(nn.functional, name)
            return self._shuffle(n.name, lambda t: function(t, factor), x, labels, value)
        if name in REDUCING:
            return self._reduce(n, x, labels, value)
        if name in SPATIAL or self._pads_space_only(n, name, x, value):
            return _place(self._along(labels, x, 1, n.name), value.ndim, 1)
        raise self._unknown(n, f"operation '{name}'")

    def _elementwise(self, n: fx.Node, sources: list[fx.Node], value: Tensor) -> Tensor:
        result = torch.zeros([1] * value.ndim, dtype=torch.int64)
        for source in sources:
            labels = self.labels[source]
            labels = labels.view([1] * (value.ndim - labels.ndim) + list(labels.shape))
            self.ties.add(result, labels, f"{_operation(n)} at {self._place_of(n)}")
            result, labels = torch.broadcast_tensors(result, labels)  # type: ignore
            result = torch.where(result != 0, result, labels)
        return _compress(result)

    def _concatenate(self, n: fx.Node, value: Tensor) -> Tensor:
        """Concatenation, on labels expanded only where an input needs it (it is frequent)."""
        arguments = n.args[0] if n.args else n.kwargs["tensors"]
        axis: Any = n.args[1] if len(n.args) > 1 else n.kwargs.get("dim", n.kwargs.get("axis", 0))
        axis = int(axis) % value.ndim
        parts = [(self.env[part], self.labels[part]) for part in arguments]  # type: ignore
        full = {
            d
            for d in range(value.ndim)
            if d == axis or any(labels.shape[d] > 1 for _, labels in parts)
        }
        return _compress(
            torch.cat(
                [
                    labels.expand([x.shape[d] if d in full else 1 for d in range(x.ndim)])
                    for x, labels in parts
                ],
                axis,
            )
        )

    def _move(self, n: fx.Node) -> Any:
        """Do to the labels what is done to the data."""

        def expanded(node: fx.Node) -> Any:
            if isinstance(self.labels[node], Tensor):
                return self.labels[node].expand(self.env[node].shape).contiguous()
            return self.env[node] if self.labels[node] is None else self.labels[node]

        if n.target is operator.getitem and isinstance(n.args[0], fx.Node):
            items = self.labels[n.args[0]]
            if isinstance(items, tuple | list):
                return items[n.args[1]]  # type: ignore[index]
        args = fx.node.map_arg(n.args, expanded)
        kwargs = fx.node.map_arg(n.kwargs, expanded)
        if n.op == "call_method":
            result = getattr(args[0], str(n.target))(*args[1:], **kwargs)
        else:
            result = n.target(*args, **kwargs)  # type: ignore[operator]
        sources = [labels for s in n.all_input_nodes for labels in _tensors(self.labels[s])]
        moved = self._undivided(n, sources, _tensors(result))
        return moved[0] if isinstance(result, Tensor) else tuple(moved)

    def _undivided(self, n: fx.Node, sources: list[Tensor], moved: list[Tensor]) -> list[Tensor]:
        """Moved labels, compressed; refused if the move takes channels apart.

        What it takes is written as numbers in the network's code, so it would take the wrong
        channels once some are gone.
        """
        before = torch.unique(torch.cat([torch.unique(labels) for labels in sources]))
        compressed = [_compress(labels) for labels in moved]
        for labels in compressed:
            whole = torch.equal(torch.unique(labels), before)
            if not whole or sum(size > 1 for size in labels.shape) > 1:
                raise self._unknown(n, f"operation '{_operation(n)}' that divides the channels")
        return compressed

    def _reduce(self, n: fx.Node, x: Tensor, labels: Tensor, value: Tensor) -> Tensor:
        """A mean or sum: the elements that are put together belong together."""
        given: Any = n.args[1] if len(n.args) > 1 else n.kwargs.get("dim", n.kwargs.get("axis"))
        axes = range(x.ndim) if given is None else (given,) if isinstance(given, int) else given
        reduced = [axis % x.ndim for axis in axes]
        for axis in reduced:
            first = labels.narrow(axis, 0, 1)
            self.ties.add(first, labels, f"{_operation(n)} at {self._place_of(n)}")
            labels = first
        if value.ndim < x.ndim:
            labels = labels.view([s for d, s in enumerate(labels.shape) if d not in reduced])
        return labels

    def _shuffle(
        self, name: str, move: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, value: Tensor
    ) -> Tensor:
        """Pixel shuffles, on the labels of one block: elsewhere it is the same again."""
        channels = _place(self._along(labels, x, 1, name), x.ndim, 1)
        block = [max(1, i // o) for i, o in zip(x.shape[2:], value.shape[2:], strict=True)]
        moved = move(channels.expand(1, -1, *block))
        return _place(self._along(moved, value, 1, name), value.ndim, 1)

    @staticmethod
    def _pads_space_only(n: fx.Node, name: str, x: Tensor, value: Any) -> bool:
        return name == "pad" and x.ndim == value.ndim and x.shape[:2] == value.shape[:2]

    # -- helpers ----------------------------------------------------------------------------

    def _draw(self, count: int) -> Tensor:
        labels = torch.arange(self.fresh, self.fresh + count, device="cpu")
        self.fresh += count
        return labels

    def _first_tensor(self, n: fx.Node) -> tuple[Tensor, Tensor]:
        for source in n.all_input_nodes:
            if isinstance(self.labels[source], Tensor):
                return self.env[source], self.labels[source]
        raise self._unknown(n, "a call without a tensor")

    def _along(self, labels: Tensor, x: Tensor, axis: int, name: str) -> Tensor:
        """One label for each index along an axis; labels that share an index are tied."""
        rows = labels.movedim(axis, 0).reshape(labels.shape[axis], -1)
        if rows.shape[1] > 1:
            self.ties.add(rows[:, :1], rows, f"pixel shuffle or reshape at {name}")
            rows = rows.max(1, keepdim=True).values
        return rows[:, 0].expand(x.shape[axis]).contiguous()

    def _place_of(self, n: fx.Node) -> str:
        """The module in whose forward an operation stands."""
        stack = n.meta.get("nn_module_stack") or {}
        path = str(list(stack.values())[-1][0]) if stack else ""
        return path or "the network itself"

    def _unknown(self, n: fx.Node, what: str) -> GraphError:
        frames = re.findall(r'File "(.+)", line (\d+).*\n\s+(.+)', n.stack_trace or "")
        own = [frame for frame in frames if "/torch/" not in frame[0]]
        source = f" ({own[-1][0]}:{own[-1][1]}: {own[-1][2]})" if own else ""
        return GraphError(
            f"The channels cannot be followed through {what} at module "
            f"'{n.target if n.op == 'call_module' else self._place_of(n)}'{source}. "
            "Write it with known layers and operations (docs/channels.md lists them)."
        )


def _number_classes(follower: _Follower) -> Classes:
    """By label its class, numbered in the order of the network; label 0 has class -1."""
    count = follower.fresh
    a = [pair[0].numpy() for pair in follower.ties.pairs]
    b = [pair[1].numpy() for pair in follower.ties.pairs]
    rows, columns = (np.concatenate([np.zeros(0, np.int64), *side]) for side in (a, b))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    _, roots = connected_components(graph, directed=False)
    _, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    # Label 0 is first of all and tied to nothing: its class 0 becomes -1.
    return order[inverse] - 1


def _sets(graph: ChannelGraph, follower: _Follower, classes: Classes) -> list[ChannelSet]:
    """The classes put together by the layers that make them."""
    makers = {
        name: classes[labels.numpy()]
        for name, labels in (follower.sources | follower.outputs).items()
    }
    pairs = [np.stack([np.full(len(made), made[0]), made]) for made in makers.values()]
    rows, columns = np.concatenate(pairs, 1)
    links = coo_array(
        (np.ones(len(rows), np.int8), (rows, columns)), shape=(graph.classes, graph.classes)
    )
    _, component = connected_components(links, directed=False)
    frozen = np.zeros(graph.classes, np.bool_)
    for labels in follower.frozen:
        held = classes[labels.numpy()]
        frozen[held[held >= 0]] = True

    def components(of: Classes) -> list[int]:
        return [int(c) for c in np.unique(component[of[of >= 0]])]

    made_by, read_by, followed_by, reasons = (defaultdict[int, list[str]](list) for _ in range(4))
    for name, made in makers.items():
        made_by[components(made)[0]].append(name)
    for name, layer in graph.layers.items():
        for c in components(layer.inputs):
            read_by[c].append(name)
    for parameter, axes in graph.axes.items():
        owner = parameter.rpartition(".")[0] or parameter
        if owner not in graph.layers:
            for axis in axes:
                for c in [] if axis is None else components(axis):
                    if owner not in followed_by[c]:
                        followed_by[c].append(owner)
    for a, _, reason in follower.ties.pairs:
        for c in components(classes[a.numpy()]):
            if reason not in reasons[c]:
                reasons[c].append(reason)

    results = [classes[labels.numpy()] for labels in follower.result_labels]
    answers = set(np.concatenate([np.zeros(0, np.int64), *results]).tolist()) - {-1}
    fed: set[int] = set()
    for layer in graph.layers.values():
        if isinstance(layer.module, nn.Linear) and answers & set(layer.outputs.tolist()):
            fed.update(components(layer.inputs))

    sets = []
    for c in sorted(made_by, key=lambda c: int(np.flatnonzero(component == c)[0])):
        members = np.flatnonzero(component == c)
        sets.append(
            ChannelSet(
                name=made_by[c][0],
                classes=members,
                frozen=frozen[members],
                makers=tuple(made_by[c]),
                readers=tuple(read_by[c]),
                followers=tuple(followed_by[c]),
                reasons=tuple(reasons[c]),
                feeds_classifier=c in fed,
            )
        )
    return sets


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


def _operation(n: fx.Node) -> str:
    target: str | Callable[..., Any] = n.target
    return (target if isinstance(target, str) else target.__name__).strip("_")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _shapes(inputs: tuple[Tensor, ...]) -> str:
    return ", ".join("x".join(map(str, x.shape)) for x in inputs)
