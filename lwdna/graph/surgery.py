"""Surgery: cut a network down to the channels kept, and check what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.errors import CheckpointError, GraphError
from lwdna.graph.channels import ChannelGraph, Mask, keeps
from lwdna.graph.complexity import MaskedComplexity, count
from lwdna.graph.computed import computed_axes
from lwdna.graph.meta import duplicate, on_meta
from lwdna.graph.operations import CONVOLUTIONS, TRANSPOSED
from lwdna.graph.recount import Recount
from lwdna.graph.resize import resize
from lwdna.graph.rules import RuleError, rule_of
from lwdna.graph.sizes import RESIZED, RESIZED_LAYERS
from lwdna.graph.trials import check_taught, silence_taught


def cut(graph: ChannelGraph, model: nn.Module, mask: Mask) -> nn.Module:
    """A plain smaller module with the channels that ``mask`` keeps and their weights.

    Args:
        graph: the channel graph of ``model``, or of a network of the same structure.
        model: the network to cut; it is not changed.
        mask: ``(elements,)``.
    """
    state = {}
    for name, parameter in tensors_of(model).items():
        tensor = whole = parameter.detach()
        for axis, elements in enumerate(graph.axes.get(name, ())):
            if elements is not None:
                index = torch.from_numpy(np.flatnonzero(keeps(mask, elements)))
                tensor = tensor.index_select(axis, index.to(tensor.device))
        state[name] = whole.clone() if tensor is whole else tensor
    return fit(model, state, graph.kept(mask), graph.remembered(mask))


def verify(
    graph: ChannelGraph,
    small: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    mask: Mask,
    complexity: MaskedComplexity,
    *,
    batch_norm: bool,
) -> None:
    """Check that a shrunk network is what was predicted.

    Args:
        graph: of the widened network.
        small: the network after surgery.
        example_input: ``(B, C, H, W)``, or a tuple of inputs, as the graph was given.
        mask: ``(elements,)``.
        complexity: of the graph, which predicts.
        batch_norm: count batch norm.

    Raises:
        GraphError: if it is not.
    """
    check_taught(graph, small, mask)
    recount = Recount()
    try:
        counted = count(small, example_input, batch_norm=batch_norm, recount=recount)
    except RuleError:
        raise
    except GraphError as error:
        raise GraphError(
            f"After shrinkage, {error} Its forward fixes a number of channels somewhere; take that "
            "number from the tensor's shape instead."
        ) from error
    predicted = complexity.flops(mask), complexity.params(mask)
    if (counted.flops, counted.params) != predicted:
        raise GraphError(
            f"{type(small).__name__} has {counted.flops:,} FLOPs and {counted.params:,} parameters "
            f"after shrinkage where {predicted[0]:,} and {predicted[1]:,} were predicted: its "
            "forward depends on the number of channels in a way that the channel graph does not "
            "see. Please report it with the network."
        )
    if counted.layers != recount.macs:
        raise GraphError(
            f"The convolutions and linear layers of the shrunk {type(small).__name__} take "
            f"{counted.layers:,} FLOPs by lwdna's count, but {recount.macs:,} by PyTorch's own, so "
            "that its budget would not be what it says. Please report it with the network."
        )
    graph.check_cut(small, example_input, mask)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer under its first name, also buffers that are not persistent.

    They are the network's own, of any shape.
    """
    return dict(chain(model.named_parameters(), model.named_buffers()))


@torch.no_grad()
def silence(graph: ChannelGraph, model: nn.Module, mask: Mask) -> nn.Module:
    """A copy of the wide network in which no layer reads a dropped channel.

    It computes what the network made by ``cut`` computes: the means to check surgery. A layer
    norm takes its statistics over the channels that are left.

    Args:
        graph: the channel graph of ``model``.
        model: the network; it is not changed.
        mask: ``(elements,)``.
    """
    silent = duplicate(model)
    for name, module in model.named_modules():
        whole = isinstance(module, nn.GroupNorm) and module.num_groups == 1
        if isinstance(module, nn.LayerNorm) or whole:
            axes = graph.axes.get(f"{name}.weight", ())
            for axis, elements in enumerate(axes):
                if elements is not None and not keeps(mask, elements).all():
                    silent.set_submodule(name, _Among(module, axis, keeps(mask, elements)))
    taught = {call.name for call in graph.taught}
    for name in taught:
        silence_taught(graph, silent.get_submodule(name), name, mask)
    for name, layer in graph.layers.items():
        if layer.mixes and name not in taught:
            module = silent.get_submodule(name)
            if computed_axes(module) is not None:
                silent.set_submodule(name, _Reading(module, keeps(mask, layer.inputs)))
                continue
            axis = 0 if isinstance(module, TRANSPOSED) else 1
            dropped = torch.from_numpy(~keeps(mask, layer.read if axis else layer.inputs))
            module.weight.index_fill_(axis, torch.nonzero(dropped).flatten(), 0)  # type: ignore
    return silent


class _Among(nn.Module):
    """A layer norm over those channels that are left; the others become 0."""

    def __init__(self, norm: nn.Module, axis: int, kept: NDArray[np.bool_]) -> None:
        super().__init__()
        self.axis = _axis_normalised(norm, axis)
        self.register_buffer("index", torch.from_numpy(np.flatnonzero(kept)))
        state = {
            name: p.detach().index_select(axis, self.index)  # type: ignore[arg-type]
            for name, p in norm.named_parameters()
        }
        self.norm = fit(norm, state)

    def forward(self, x: Tensor) -> Tensor:
        left = self.norm(x.index_select(self.axis, self.index))  # type: ignore[arg-type]
        return torch.zeros_like(x).index_copy(self.axis, self.index, left)  # type: ignore[arg-type]


def _axis_normalised(norm: nn.Module, axis: int) -> int:
    """The axis of its input that a layer norm, or a group norm of one group, takes along ``axis``.

    A subclass of a layer norm may move the channels there itself, as those of ``(B, C, H, W)`` do:
    then it runs on such an input.
    """
    if isinstance(norm, nn.GroupNorm):
        return 1
    if type(norm).forward is not nn.LayerNorm.forward:
        asked = on_meta(norm)  # which takes no memory for images of any size
        weight: Any = asked.weight
        try:
            asked(weight.new_zeros(1, len(weight), len(weight) + 1, len(weight) + 1))
        except RuntimeError:
            return -1
        return 1
    return axis - len(norm.normalized_shape)  # type: ignore[arg-type]


class _Reading(nn.Module):
    """A layer that computes its weight, and reads only the channels that are left."""

    def __init__(self, layer: nn.Module, kept: NDArray[np.bool_]) -> None:
        super().__init__()
        self.axis = -1 if isinstance(layer, nn.Linear) else 1
        self.register_buffer("index", torch.from_numpy(np.flatnonzero(kept)))
        state = tensors_of(layer)
        for name, axes in (computed_axes(layer) or {}).items():
            if "in" in axes:
                state[name] = state[name].detach().index_select(axes.index("in"), self.index)  # type: ignore
        self.layer = fit(layer, {name: value.detach() for name, value in state.items()})

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.index_select(self.axis, self.index))  # type: ignore[arg-type]
        return result


def fit(
    model: nn.Module,
    state: Mapping[str, Tensor],
    kept: Mapping[str, Sequence[int]] | None = None,
    numbers: Mapping[str, int] | None = None,
) -> nn.Module:
    """A copy of ``model`` whose layers have the sizes and values of the tensors in ``state``.

    Args:
        model: the network at full width, perhaps on the meta device.
        state: by name every parameter and buffer; a convolution's is ``(n, c, k, k)``, where n and
            c are at most those of ``model``.
        kept: by layer the output channels of ``model`` that are left, which tell how many groups a
            convolution still has; without them a group has the width that it had.
        numbers: by attribute of a module the number of channels that it is to be.

    Raises:
        CheckpointError: if the tensors are not those of a network of this structure.
    """
    wide = tensors_of(model)
    odd = sorted(wide.keys() ^ state.keys())
    if odd:
        raise CheckpointError(
            f"The weights do not belong to {type(model).__name__}: '{odd[0]}' is in only one of "
            "the two. Load them into the network they were saved from."
        )
    uncut = _uncut_axes(model)
    for name, tensor in wide.items():
        _check_shape(name, state[name].shape, tensor.shape, model, uncut.get(name))
    return resized(model, state, groups_left(model, kept or {}), numbers)


def groups_left(model: nn.Module, kept: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """By grouped convolution of a network the number of groups that still have an output.

    Args:
        model: the network at full width.
        kept: by layer the output channels that are left.
    """
    groups = {}
    for name, module in model.named_modules():
        if isinstance(module, CONVOLUTIONS) and module.groups > 1 and name in kept:
            each = module.out_channels // module.groups
            groups[name] = len({channel // each for channel in kept[name]})
    return groups


def resized(
    model: nn.Module,
    state: Mapping[str, Tensor],
    groups: Mapping[str, int],
    numbers: Mapping[str, int] | None = None,
) -> nn.Module:
    """A copy of ``model`` whose layers have the sizes and values of ``state``, larger or smaller.

    Args:
        model: the network, perhaps on the meta device.
        state: by name every parameter and buffer, of a shape of as many dimensions as the
            network's.
        groups: by name of a grouped convolution how many groups it is to have; where it is left
            out, its groups keep their width.
        numbers: by attribute of a module the number of channels that it is to be.

    Raises:
        CheckpointError: if there is no such attribute.
    """
    other = on_meta(model, values=True)
    put_tensors(model, other, state, groups, numbers)
    return other


def put_tensors(
    model: nn.Module,
    other: nn.Module,
    state: Mapping[str, Tensor],
    groups: Mapping[str, int],
    numbers: Mapping[str, int] | None = None,
) -> None:
    """Give a copy of a network the tensors in ``state``, and its layers their shapes.

    Args:
        model: the network.
        other: its copy, of any width.
        state: by name every parameter and buffer, of whatever shapes a network of any width has.
        groups, numbers: as of :func:`resized`.

    Raises:
        CheckpointError: if there is no attribute that is named in ``numbers``.
    """
    for prefix, module in other.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        shapes = {}
        for name, tensor in own:
            value = state[f"{prefix}.{name}" if prefix else name]
            shapes[name] = value.shape
            if isinstance(tensor, nn.Parameter):
                module._parameters[name] = nn.Parameter(value, tensor.requires_grad)
            else:
                module._buffers[name] = value
        resize(module, shapes, groups.get(prefix))
    for module in other.modules():
        rule = rule_of(module)
        sizes = rule.sizes(module) if rule is not None and rule.numbers else {}
        for attribute, axis in (rule.numbers if rule is not None else {}).items():
            setattr(module, attribute, sizes[axis])
    _renumber(model, other)
    for name, number in (numbers or {}).items():
        _set_number(other, name, number)


def _renumber(model: nn.Module, other: nn.Module) -> None:
    """Set the numbers that a block keeps of its layers, for a conversion of its own, say.

    That is an attribute with the name and the value of one of theirs, where these layers agree.
    """
    modules = dict(model.named_modules())
    for path, module in modules.items():
        if isinstance(module, RESIZED_LAYERS) or rule_of(module) is not None:
            continue
        for attribute in RESIZED & vars(module).keys():
            value = getattr(module, attribute)
            found = {
                getattr(other.get_submodule(f"{path}.{name}" if path else name), attribute)
                for name, layer in module.named_modules()
                if isinstance(layer, RESIZED_LAYERS) and getattr(layer, attribute, None) == value
            }
            if type(value) is int and value > 1 and len(found) == 1:
                setattr(other.get_submodule(path), attribute, found.pop())


def _set_number(model: nn.Module, name: str, number: int) -> None:
    """Set an integer that a module keeps, such as ``block.width`` or ``block.splits[1]``.

    Raises:
        CheckpointError: if there is no such integer.
    """
    owner, _, place = name.rpartition(".")
    attribute, *indices = place.replace("]", "").split("[")

    def replaced(value: Any, rest: list[str]) -> Any:
        if not rest:
            if type(value) is not int:
                raise ValueError
            return number
        i = int(rest[0])
        return type(value)([*value[:i], replaced(value[i], rest[1:]), *value[i + 1 :]])

    try:
        module = model.get_submodule(owner)
        setattr(module, attribute, replaced(getattr(module, attribute), indices))
    except (AttributeError, IndexError, TypeError, ValueError):
        raise CheckpointError(
            f"The weights do not belong to {type(model).__name__}: it has no number '{name}'."
        ) from None


def _uncut_axes(model: nn.Module) -> dict[str, list[int]]:
    """By tensor of a layer of a user the axes that are never cut."""
    uncut: dict[str, list[int]] = {}
    for prefix, module in model.named_modules():
        rule = rule_of(module)
        if rule is not None:
            for name, tensor in tensors_of(module).items():
                named = [i for i, axis in enumerate(rule.names(name)) if axis is not None]
                key = f"{prefix}.{name}" if prefix else name
                uncut[key] = [axis for axis in range(tensor.ndim) if axis not in named]
    return uncut


def _check_shape(
    name: str, found: torch.Size, wide: torch.Size, model: nn.Module, uncut: list[int] | None
) -> None:
    """Refuse a tensor that cannot come from this network: it may only have fewer channels."""
    if uncut is None:
        uncut = list(range(2, len(wide))) if name.endswith("weight") else []
    fits = len(found) == len(wide) and all(a <= b for a, b in zip(found, wide, strict=True))
    if not fits or any(found[axis] != wide[axis] for axis in uncut):
        raise CheckpointError(
            f"The weights do not belong to {type(model).__name__}: '{name}' has shape "
            f"{tuple(found)} where the network has {tuple(wide)}."
        )
