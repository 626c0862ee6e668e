"""Layers that compute their weight from a raw one of the same shape, as standardisation does.

They are taken for the layer of PyTorch whose subclass they are: what scores and cuts channels
acts on the raw weight. That this is right is tried on a small copy: with fewer outputs it must
compute the same for those that are left, and with fewer inputs it must run. A statistic over the
inputs is taken over those that are left, as in a layer norm.
"""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from lwdna.graph.operations import CONVOLUTIONS, TRANSPOSED
from lwdna.graph.resize import resize
from lwdna.graph.sizes import plain
from lwdna.graph.watching import Watching

_KINDS = (*CONVOLUTIONS, nn.Linear)
_tried: weakref.WeakKeyDictionary[nn.Module, dict[str, tuple[str | None, ...]] | None]
_tried = weakref.WeakKeyDictionary()

Axes = dict[str, tuple[str | None, ...]]
"""By parameter or buffer, for each axis "out", "in", or None if it is never cut."""


def computed_axes(module: nn.Module) -> Axes | None:
    """Along which axes the tensors of a layer that computes its weight are cut.

    None for a module that is not one of these layers.
    """
    kind = next((kind for kind in _KINDS if isinstance(module, kind)), None)
    if kind is None or type(module).forward is kind.forward:
        return None
    if module not in _tried:
        _tried[module] = _try(module)
    return _tried[module]


def _try(module: nn.Module) -> Axes | None:
    axes = _guess(module)
    if axes is None:
        return None
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        torch.manual_seed(0)
        try:
            return axes if _agrees(module, axes) else None
        except Exception:  # whatever code of a user may raise: it is then followed step by step
            return None


def _guess(module: nn.Module) -> Axes | None:
    """What axes of this length must be, if nothing but one layer is in the module."""
    if next(module.children(), None) is not None or "weight" not in module._parameters:
        return None
    weight = module.weight
    assert isinstance(weight, Tensor)
    first, second = ("in", "out") if isinstance(module, TRANSPOSED) else ("out", "in")
    grouped = getattr(module, "groups", 1) > 1
    whole = (first, None if grouped else second, *(None,) * (weight.ndim - 2))
    outputs = plain(getattr(module, "out_channels", getattr(module, "out_features", 0)))
    axes: Axes = {}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        long = [d for d, size in enumerate(tensor.shape) if size > 1]
        if tensor.shape == weight.shape:
            axes[name] = whole
        elif len(long) == 1 and tensor.shape[long[0]] == outputs:
            axes[name] = tuple("out" if d == long[0] else None for d in range(tensor.ndim))
        elif long:
            return None
        else:
            axes[name] = (None,) * tensor.ndim
    return axes


def _agrees(module: nn.Module, axes: Axes) -> bool:
    """Whether a small layer of this kind, with random tensors, may be cut along these axes."""
    groups = getattr(module, "groups", 1)
    weight: Any = module.weight
    tensors = dict((*module.named_parameters(), *module.named_buffers()))
    # Few enough channels to be quick; of groups, whole ones.
    if groups > 1:
        unit = {axis: n // groups for axis, n in _channels(module).items()}
        small = {axis: min(groups, 3) * n for axis, n in unit.items()}
        fewer = {axis: 2 * n for axis, n in unit.items()} if groups > 2 else unit
    else:
        small = {axis: min(n, 6) for axis, n in _channels(module).items()}
        fewer = {axis: max(1, n - 2) for axis, n in small.items()}
    drawn = {
        name: torch.empty(
            [small[a] if a else n for a, n in zip(axes[name], t.shape, strict=True)],
            dtype=torch.float64,
        ).uniform_(0.5, 1.5)
        for name, t in tensors.items()
    }
    x = torch.randn(2, small["in"], *_space(module), dtype=torch.float64)
    whole = _made(module, drawn)
    with _Calls() as calls:
        expected = whole(x)
    if calls.weights != [whole.weight.shape]:
        return False
    axis = -1 if isinstance(module, nn.Linear) else 1
    if groups > 1:
        computed = _made(module, _cut(drawn, axes, fewer))(x.narrow(1, 0, fewer["in"]))
        return bool(torch.allclose(computed, expected.narrow(1, 0, fewer["out"]), rtol=1e-9))
    outputs = _made(module, _cut(drawn, axes, {**small, "out": fewer["out"]}))(x)
    inputs = _made(module, _cut(drawn, axes, {**small, "in": fewer["in"]}))(
        x.narrow(axis, 0, fewer["in"])
    )
    same = torch.allclose(outputs, expected.narrow(axis, 0, fewer["out"]), rtol=1e-9)
    return bool(same) and inputs.shape == expected.shape and weight.ndim > 1


def _channels(module: nn.Module) -> dict[str, int]:
    names = {"in": ("in_channels", "in_features"), "out": ("out_channels", "out_features")}
    return {
        axis: plain(next(getattr(module, n) for n in given if hasattr(module, n)))
        for axis, given in names.items()
    }


def _space(module: nn.Module) -> list[int]:
    """A size of images that the kernel fits into."""
    kernel, dilation = (getattr(module, name, ()) for name in ("kernel_size", "dilation"))
    return [(k - 1) * d + 4 for k, d in zip(kernel, dilation, strict=True)]


def _cut(drawn: dict[str, Tensor], axes: Axes, sizes: dict[str, int]) -> dict[str, Tensor]:
    """The tensors with the first channels of each axis."""
    result = {}
    for name, whole in drawn.items():
        tensor = whole
        for d, axis in enumerate(axes[name]):
            if axis is not None:
                tensor = tensor.narrow(d, 0, sizes[axis])
        result[name] = tensor.clone()
    return result


def _made(module: nn.Module, tensors: dict[str, Tensor]) -> Any:
    """A copy of a layer with other tensors."""
    made = copy.deepcopy(module)
    for name, tensor in tensors.items():
        if name in made._parameters:
            made._parameters[name] = nn.Parameter(tensor, requires_grad=False)
        else:
            made._buffers[name] = tensor
    resize(made, {name: tensor.shape for name, tensor in tensors.items()})
    return made.eval()


class _Calls(Watching):
    """Notes the shapes of the weights with which layers are called as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[torch.Size] = []

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if getattr(func, "__name__", "").startswith(("conv", "linear")):
            self.weights.append((args[1] if len(args) > 1 else kwargs["weight"]).shape)
        return func(*args, **kwargs)
