"""Shortcuts: what the most frequent functions give on the meta device, told by shapes alone.

PyTorch finds that out by reckoning in Python, where a batch norm takes thirty times as long as a
convolution. What is not as plain as these say, or is the symbol of a tensor, is left to PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def without_data(tensor: Tensor) -> Tensor:
    """A tensor like another, of any shape, on the meta device."""
    if tensor.is_contiguous():  # which needs less of PyTorch
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return torch.empty_like(tensor, device="meta")


def fits(x: Any, shape: Sequence[int], *vectors: Tensor | None) -> bool:
    """Whether a norm takes a tensor ``(B, C, ...)`` without data, of which it makes one alike.

    Args:
        x: the input.
        shape: of the vectors, such as ``(C,)``.
        vectors: the norm's statistics, scales and shifts, as far as it has them.
    """
    if not (isinstance(x, Tensor) and x.is_meta and x.ndim > 1 and x.is_floating_point()):
        return False
    return all(v is None or v.shape == shape for v in vectors)


def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    *,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    **_: Any,
) -> Tensor | None:
    """``(B, C, ...)`` -> ``(B, C, ...)``, in evaluation; it lies as the input does."""
    if training or mean is None or variance is None:
        return None
    return without_data(x) if fits(x, x.shape[1:2], mean, variance, weight, bias) else None


def _layer_norm(
    x: Tensor, shape: Sequence[int], *, weight: Tensor | None, bias: Tensor | None, **_: Any
) -> Tensor | None:
    """``(B, ..., C)`` -> ``(B, ..., C)``; it lies in order."""
    shape = tuple(shape)
    known = x.shape[-len(shape) :] == shape and fits(x, shape, weight, bias)
    return torch.empty(x.shape, dtype=x.dtype, device="meta") if known else None


def _concatenation(tensors: Sequence[Tensor], dim: int = 0, **others: Any) -> Tensor | None:
    """``(B, c, ...)`` and ``(B, d, ...)`` -> ``(B, c + d, ...)``."""
    plain = isinstance(tensors, list | tuple) and tensors and not others and _alike(*tensors)
    if not plain or type(dim) is not int or not -tensors[0].ndim <= dim < tensors[0].ndim:
        return None
    first, *rest = ([*x.shape] for x in tensors)
    total = first[dim] + sum(shape[dim] for shape in rest)
    for shape in (first, *rest):
        shape[dim] = total
    if any(shape != first for shape in rest):
        return None
    return torch.empty(first, dtype=tensors[0].dtype, device="meta")


def _together(x: Any, y: Any) -> Tensor | None:
    """What is computed element by element of two tensors of one shape."""
    return without_data(x) if _alike(x, y) and x.shape == y.shape else None


def _alike(*given: Any) -> bool:
    """Whether all are tensors without data, of one type and number of axes, that lie in order."""
    if not all(isinstance(x, Tensor) and x.is_meta and x.is_contiguous() for x in given):
        return False
    return len({(x.dtype, x.ndim) for x in given}) == 1


SHORTCUTS: dict[Any, Callable[..., Tensor | None]] = {
    functional.batch_norm: _batch_norm,
    functional.layer_norm: _layer_norm,
    torch.cat: _concatenation,
    Tensor.add: _together,
    Tensor.mul: _together,
}
"""By function what gives its result, or None where PyTorch is to say it."""
