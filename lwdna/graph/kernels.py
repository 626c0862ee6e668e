"""The kernels of PyTorch that run: watched, and what some of them make of tensors without data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lwdna.graph.watching import Watched

_aten = torch.ops.aten

_IMAGES: dict[Any, tuple[int, ...]] = {
    _aten.convolution.default: (0,),
    _aten.native_batch_norm.default: (0,),
    _aten.native_layer_norm.default: (0,),
    _aten.max_pool2d_with_indices.default: (0,),
    _aten.avg_pool2d.default: (0,),
    _aten.pixel_shuffle.default: (0,),
    _aten.mean.dim: (0,),
    _aten.relu.default: (0,),
    _aten.relu_.default: (0,),
    _aten.hardtanh.default: (0,),
    _aten.hardtanh_.default: (0,),
    _aten.hardswish.default: (0,),
    _aten.hardswish_.default: (0,),
    _aten.hardsigmoid.default: (0,),
    _aten.silu.default: (0,),
    _aten.silu_.default: (0,),
    _aten.sigmoid.default: (0,),
    _aten._prelu_kernel.default: (0,),
    _aten.add.Tensor: (0, 1),
    _aten.add_.Tensor: (0, 1),
    _aten.mul.Tensor: (0, 1),
    _aten.cat.default: (0,),
    _aten.addmm.default: (1,),
}
"""Kernels that treat images one by one, and which of their arguments have these along axis 0."""

_IN_ORDER = frozenset({_aten.native_layer_norm.default, _aten.native_batch_norm.default})
"""Those whose result lies in order, however what they are given does."""


class WatchingKernels(Watched, TorchDispatchMode):
    """While it is entered, every kernel of PyTorch that is called goes through :meth:`called`."""

    supports_higher_order_operators = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would load its compiler, only to tell it to leave this class alone."""
        return False

    __torch_dispatch__ = Watched.watched


class WithoutData(WatchingKernels):
    """Lets kernels run on the meta device without PyTorch's compiler, which its own ones load.

    The kernels of that device are in Python, and what they are wrapped in takes almost as long to
    load as the rest of PyTorch. So those of the table are asked on the CPU instead, for no image
    at all: there is nothing to compute, and what they give and refuse is the same. In all other
    cases PyTorch's own are called.
    """

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the kernel makes, on the meta device."""
        images = _images_of(func, args)
        if images:
            try:
                # Else modes such as Dataless would take the tensors on the CPU for their own. This
                # has no public name; without it no network could be followed, and tests fail.
                with torch._C.DisableTorchFunction():
                    return _of_no_image(func, args, kwargs, images)
            except RuntimeError:
                pass  # PyTorch's own says what is wrong, or knows better
        return func(*args, **kwargs)


def _images_of(func: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """The arguments with images along axis 0, if the kernel treats them one by one."""
    found = list(_tensors(args[i] for i in _IMAGES.get(func, ())))
    given = [x for x in _tensors(args) if x.ndim]
    if not all(x.is_meta for x in given):
        return []
    laid = (*found, *(x for x in given if x.ndim > 2))
    if func not in _IN_ORDER and not all(x.is_contiguous() for x in laid):
        return []
    ndim = max((x.ndim for x in found), default=0)
    images = [x for x in found if x.ndim == ndim > 0]
    counts = {len(x) for x in images}
    one_for_all = len(counts - {1}) < 2 and func is not _aten.cat.default
    if len(counts) > 1 and (not one_for_all or func._schema.is_mutable):
        return []  # which may not fit
    if func is _aten.cat.default and (ndim < 2 or (args[1:] or (0,))[0] in {0, -ndim}):
        return []
    if func is _aten.pixel_shuffle.default and ndim < 4:
        return []  # axis 0 has the channels of a single image
    if func is _aten.mean.dim and {0, -ndim} & set(args[1] or [0]):
        return []
    if func is _aten.native_batch_norm.default and (args[5] or pixel_by_pixel(args[0])):
        return []  # which takes statistics over the images, or whose result lies as they do
    return images


def pixel_by_pixel(x: Tensor) -> bool:
    """Whether the channels of a pixel lie side by side, as in channels-last ``(B, C, H, W)``."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in formats and x.is_contiguous(memory_format=formats[x.ndim])


def _of_no_image(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], images: list[Tensor]
) -> Any:
    """What a kernel makes, asked on the CPU."""
    (count,) = {len(x) for x in images} - {1} or {1}
    stored: dict[int, Tensor] = {}

    def without(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return [without(item) for item in x]
        if not isinstance(x, Tensor) or not x.is_meta:
            return x
        if id(x) not in stored:
            none = any(x is image for image in images)
            # Memory that nobody writes to costs nothing; what is expanded would be written out.
            stored[id(x)] = torch.empty((0, *x.shape[1:]) if none else x.shape, dtype=x.dtype)
        return stored[id(x)]

    def again(made: Any) -> Any:
        if isinstance(made, tuple):
            return tuple(again(item) for item in made)
        if made is stored.get(id(args[0])):
            return args[0]  # in its place
        shape = made.shape if made.ndim == 0 or len(made) else (count, *made.shape[1:])
        return torch.empty(shape, dtype=made.dtype, device="meta")

    return again(func(*without(args), **kwargs))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among some arguments, and in lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
