"""FLOPs and parameters by the convention with which the paper's Table 1 was made.

FLOPs are multiply-accumulates of convolutions (at their output size, transposed ones too) and
linear layers, without biases; plus 2 operations an element for batch norm and 1 an element for
ReLU-like *modules*, which count once a module, at the size of their last call. H-swish and
h-sigmoid are such modules for the ReLU6 inside them; swish and sigmoid are not. Everything else,
functional activations included, is free. Parameters are all parameters.

They are those for one image: whatever runs on the example input, divided by its batch size. A
network that puts pairs, frames or crops along axis 0 computes all of them for an image, and one
that squeezes the batch axis away computes what it does.

Table 2's 9.10 G for DnCNN does not count batch norm: ``batch_norm=False``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from lwdna.errors import GraphError, first_line
from lwdna.graph.channels import ChannelGraph, Copies, Elements, Mask
from lwdna.graph.computed import computed_axes
from lwdna.graph.inputs import as_inputs, batch_of, for_one, unwrapped
from lwdna.graph.layer_rules import KNOWN_LAYERS, is_known
from lwdna.graph.meta import Dataless, on_meta
from lwdna.graph.operations import BATCH_NORMS, CONVOLUTIONS
from lwdna.graph.rules import RuleError, rule_of
from lwdna.graph.tracing import place, shapes
from lwdna.graph.watching import Watching

if TYPE_CHECKING:
    from lwdna.graph.recount import Recount

logger = logging.getLogger(__name__)

COUNTED_ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.PReLU,
    nn.LeakyReLU,
    nn.ELU,
    # x ReLU6(x + 3) / 6 and ReLU6(x + 3) / 6, of which the ReLU6 counts.
    nn.Hardswish,
    nn.Hardsigmoid,
)


@dataclass(frozen=True)
class Cost:
    """FLOPs of a module as ``coefficient * inputs * outputs``, in channels."""

    coefficient: int
    """FLOPs for each output element and, where ``reads`` is set, each input channel."""
    reads: bool
    """Whether the cost grows with the number of input channels."""


def module_cost(module: nn.Module, *, batch_norm: bool = True) -> Cost | None:
    """What an output element of a module costs (facts of the convention); None if it is free."""
    if isinstance(module, CONVOLUTIONS):
        kernel = int(np.prod(module.kernel_size))
        if module.groups == 1:
            return Cost(kernel, reads=True)
        # A group keeps its width when whole groups are removed.
        return Cost(kernel * (module.in_channels // module.groups), reads=False)
    if isinstance(module, nn.Linear):
        return Cost(1, reads=True)
    if isinstance(module, BATCH_NORMS) and batch_norm:
        return Cost(2 if module.affine else 1, reads=False)
    if isinstance(module, COUNTED_ACTIVATIONS):
        return Cost(1, reads=False)
    return None


def complexity(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    *,
    batch_norm: bool = True,
) -> tuple[int, int]:
    """Count the FLOPs and parameters of any network, without running it on data.

    Args:
        model: the network; it need not be traceable.
        example_input: ``(B, C, H, W)``, or a tuple of inputs, of the size in question.
        batch_norm: count batch norm, as Table 1 does and Table 2 does not.

    Returns:
        FLOPs for one image, and parameters.

    Raises:
        GraphError: if the network does not run on the example input.
    """
    counted = count(model, example_input, batch_norm=batch_norm)
    return counted.flops, counted.params


@dataclass(frozen=True)
class Count:
    """What a network costs, counted by running it without data."""

    flops: int
    """For one image."""
    total: int
    """For all images of the example."""
    params: int
    layers: int
    """Multiply-accumulates of all convolutions and linear layers, for all images."""


def count(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    *,
    batch_norm: bool = True,
    recount: Recount | None = None,
) -> Count:
    """As :func:`complexity`, of inputs ``(B, C, H, W)``, in parts; a second counter may look on."""
    model, inputs = unwrapped(model), as_inputs(example_input)
    batch = batch_of(inputs)
    skeleton = on_meta(model).eval()
    activations: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        activations[module] = output.numel()  # the last call

    counter = _LayerCounter(batch=batch, batch_norm=batch_norm, recount=recount)
    taught = {module for module in skeleton.modules() if rule_of(module) is not None}
    inside = {part for module in taught for part in module.modules()}
    for module in skeleton.modules():
        if computed_axes(module) is not None:
            module.register_forward_pre_hook(counter.begin_weight)
            module.register_forward_hook(counter.end_weight)
        if module in taught:
            module.register_forward_pre_hook(counter.enter)
            module.register_forward_hook(counter.leave, with_kwargs=True)
        elif isinstance(module, COUNTED_ACTIVATIONS) and is_known(module) and module not in inside:
            module.register_forward_hook(note)
    try:
        with Dataless(), recount or nullcontext(), counter as layers, torch.no_grad():
            skeleton(*(x.to("meta") for x in inputs))
    except RuleError:
        raise
    except Exception as error:
        if "meta tensor" in str(error) or isinstance(error, NotImplementedError):
            raise GraphError(
                f"{type(model).__name__} cannot be counted{place(error, besides=__file__)}: it "
                f"asks for the values of a tensor ({first_line(error)}), but only shapes are "
                "followed; rewrite that line."
            ) from error
        raise GraphError(
            f"{type(model).__name__} does not run on an input of shape {shapes(inputs)}: "
            f"{first_line(error)}. Give an example input that it accepts."
        ) from error
    uncounted = [
        name or type(model).__name__
        for name, module in skeleton.named_modules()
        if not isinstance(module, KNOWN_LAYERS)
        and not isinstance(module, parametrize.ParametrizationList)  # the layer's own weight
        and module not in inside
        and any(sum(n > 1 for n in p.shape) > 1 for p in module.parameters(recurse=False))
    ]
    if uncounted:
        logger.warning(
            "The FLOPs leave out what %s computes with parameters of its own: the convention "
            "counts convolutions, linear layers, batch norms and activations.",
            ", ".join(uncounted[:3]) + (", ..." if len(uncounted) > 3 else ""),
        )
    total = layers.flops + sum(activations.values())
    return Count(
        flops=for_one(total, batch),
        total=total,
        params=sum(p.numel() for p in model.parameters()),
        layers=layers.macs,
    )


class _LayerCounter(Watching):
    """Counts convolutions, linear layers and batch norms, called as modules or as functions."""

    def __init__(self, *, batch: int, batch_norm: bool, recount: Recount | None) -> None:
        super().__init__()
        self.batch, self.batch_norm, self.recount = batch, batch_norm, recount
        self.flops = 0
        """For all images, as everything here."""
        self.macs = 0
        """Of convolutions and linear layers alone, those inside of layers of users too."""
        self.weights = 0
        """Layers running at the moment that compute their weight."""
        self.outside: list[int] = []
        """The count when each of the layers of users that run at the moment was called."""

    def begin_weight(self, *_: Any) -> None:
        """Called before a layer that computes its weight: a norm in it is no layer."""
        self.weights += 1

    def end_weight(self, *_: Any) -> None:
        """Called after it."""
        self.weights -= 1

    def enter(self, _layer: nn.Module, _inputs: tuple[Any, ...]) -> None:
        """Called before a layer of a user runs."""
        self.outside.append(self.flops)

    def leave(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        """Count a layer of a user by its rule.

        Raises:
            RuleError: if it calls convolutions and linear layers of another count.
        """
        before = self.outside.pop()
        seen = self.flops - before
        tensors: list[Tensor] = []
        fx.node.map_aggregate(
            (args, kwargs), lambda x: tensors.append(x) if isinstance(x, Tensor) else None
        )
        rule: Any = rule_of(layer)
        sizes = {name: tensor.numel() for name, tensor in layer.named_parameters()}
        flops = sum(
            times * sizes[name] for name, times in rule.positions(layer, tensors, output).items()
        )
        if seen and seen != flops:
            raise RuleError(
                f"The rule of {type(layer).__name__} says that it takes "
                f"{for_one(flops, self.batch):,} FLOPs an image, but its forward calls "
                f"convolutions and linear layers of {for_one(seen, self.batch):,}; say by `flops` "
                "how often each parameter is multiplied."
            )
        self.flops = before + flops

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name == "linear" and self.recount is not None:
            result = self.recount.linear(func, *args, **kwargs)
        else:
            result = func(*args, **kwargs)
        if name == "linear" or name.startswith(("conv1d", "conv2d", "conv3d", "conv_transpose")):
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            if name != "linear" and result.ndim != weight.ndim:
                raise ValueError("a convolution gets an input without a batch axis")
            # Every weight takes part once in each position of the output.
            axis = -1 if name == "linear" else 1
            macs = weight.numel() * result.numel() // result.shape[axis]
            self.flops += macs
            self.macs += macs
        elif name == "batch_norm" and self.batch_norm and not (self.outside or self.weights):
            weight = args[3] if len(args) > 3 else kwargs.get("weight")
            self.flops += (1 if weight is None else 2) * result.numel()
        return result


class MaskedComplexity:
    """FLOPs and parameters of a network for any mask over its channel graph, instantly.

    Both are sums of ``coefficient * n_a * n_b`` where n_a and n_b are numbers of channels kept
    along some axis; the numbers are sums over the mask.
    """

    def __init__(self, graph: ChannelGraph, *, batch_norm: bool = True) -> None:
        self._batch = graph.batch
        self._rows: dict[bytes, int] = {}
        self._axes: list[Elements] = []
        one = self._row(np.array([-1], np.int64))
        flops, params = [], []
        for activity in graph.activities:
            cost = module_cost(activity.module, batch_norm=batch_norm)
            if cost is not None:
                outputs = self._row(activity.channels)
                layer = graph.layers.get(activity.name)
                if layer is not None and layer.by_position:
                    cost = Cost(cost.coefficient // len(layer.read), reads=True)
                inputs = self._row(layer.read) if layer is not None and cost.reads else one
                flops.append((cost.coefficient * activity.positions, inputs, outputs))
        for coefficient, elements in graph.costs:
            first, second = ([self._row(a) for a in elements] + [one, one])[:2]
            flops.append((coefficient, first, second))
        for name, parameter in graph.model.named_parameters():
            axes = [a for a in graph.axes.get(name, ()) if a is not None]
            first, second = ([self._row(a) for a in axes] + [one, one])[:2]
            labelled = int(np.prod([len(a) for a in axes]))
            params.append((parameter.numel() // labelled, first, second))
        if graph.apart:
            # What is not followed stays what it is, and so does what it costs.
            known = _Terms(flops).evaluate(np.array([len(axis) for axis in self._axes]))
            total = count(graph.model, graph.example, batch_norm=batch_norm).total
            flops.append((total - known, one, one))
        self._flops = _Terms(flops)
        self._params = _Terms(params)
        self._fixed = np.array([int((axis < 0).sum()) for axis in self._axes], np.int64)
        members = [axis[axis >= 0] for axis in self._axes]
        lengths = np.array([len(m) for m in members], np.int64)
        counted, rows = np.concatenate(members), np.repeat(np.arange(len(members)), lengths)
        order = np.argsort(counted, kind="stable")
        self._along = _Sums(counted, lengths)
        self._across = _Sums(rows[order], np.bincount(counted, minlength=graph.elements))
        self._own_flops = self._flops.squares(members, graph.elements)

    def flops(self, mask: Mask | Copies) -> int:
        """FLOPs for one image when only the elements in ``mask``, ``(elements,)``, are kept.

        Numbers in its place say how many copies of each element there are.
        """
        return for_one(self._flops.evaluate(self._counts(mask)), self._batch)

    def params(self, mask: Mask | Copies) -> int:
        """Parameters when only the elements in ``mask``, ``(elements,)``, are kept; or copies."""
        return self._params.evaluate(self._counts(mask))

    def extra_flops(self, mask: Mask, elements: Elements) -> NDArray[np.int64]:
        """How many more FLOPs each of some elements, outside the mask, would cost alone.

        Args:
            mask: ``(elements,)``.
            elements: their numbers, ``(n,)``.

        Returns:
            ``(n,)``.
        """
        counts = self._counts(mask)
        slopes = self._across.of(self._flops.slopes(counts))
        now = self._flops.evaluate(counts)
        whole: NDArray[np.int64] = now + (slopes + self._own_flops)[elements]
        return -(-whole // self._batch) - for_one(now, self._batch)

    def same(self, elements: Elements) -> bool:
        """Whether elements, by number ``(n,)``, take part in the same and so cost the same."""
        starts, stops = self._across.starts[elements], self._across.stops[elements]
        if len(set((stops - starts).tolist())) > 1:
            return False
        rows = self._across.members[starts[:, None] + np.arange(stops[0] - starts[0])]
        return bool((rows == rows[0]).all())

    def _row(self, elements: Elements) -> int:
        key = elements.tobytes()
        if key not in self._rows:
            self._rows[key] = len(self._axes)
            self._axes.append(elements)
        return self._rows[key]

    def _counts(self, mask: Mask | Copies) -> NDArray[np.int64]:
        return self._fixed + self._along.of(mask.astype(np.int64))


class _Sums:
    """Sums over lists of members, which lie one after the other."""

    def __init__(self, members: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self.members, self.stops = members, np.cumsum(lengths)
        self.starts = self.stops - lengths

    def of(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sum for each list, of a value for each member: ``(lists,)``."""
        sums = np.zeros(len(self.members) + 1, np.int64)
        np.cumsum(values[self.members], out=sums[1:])
        lists: NDArray[np.int64] = sums[self.stops] - sums[self.starts]
        return lists


class _Terms:
    """A sum of ``coefficient * counts[a] * counts[b]``."""

    def __init__(self, terms: Sequence[tuple[int, int, int]]) -> None:
        table = np.array(terms, np.int64).reshape(-1, 3)
        self._coefficient, self._a, self._b = table.T

    def evaluate(self, counts: NDArray[np.int64]) -> int:
        return int((self._coefficient * counts[self._a] * counts[self._b]).sum())

    def slopes(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The derivative of the sum by each of the counts: ``(rows,)``, as the counts."""
        slopes = np.zeros_like(counts)
        np.add.at(slopes, self._a, self._coefficient * counts[self._b])
        np.add.at(slopes, self._b, self._coefficient * counts[self._a])
        return slopes

    def squares(self, members: Sequence[Elements], elements: int) -> NDArray[np.int64]:
        """The sum for each of the elements, if it alone is counted: ``(elements,)``.

        Args:
            members: by number of a count, the elements that it counts, some of them repeatedly.
            elements: how many there are.
        """
        squares, times = (np.zeros(elements, np.int64) for _ in range(2))
        for coefficient, a, b in zip(self._coefficient, self._a, self._b, strict=True):
            np.add.at(times, members[a], 1)
            np.add.at(squares, members[b], coefficient * times[members[b]])
            times[members[a]] = 0
        return squares
