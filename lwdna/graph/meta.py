"""Networks without data, on the meta device: what is made or copied there has shapes only."""

from __future__ import annotations

import copy
import gc
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from lwdna.graph.kernels import WithoutData
from lwdna.graph.watching import Watching

MAKERS: frozenset[Any] = frozenset(
    getattr(torch, name)
    for name in (
        "arange as_tensor blackman_window empty empty_strided eye from_file full hamming_window "
        "hann_window kaiser_window linspace logspace ones rand randint randn randperm range "
        "scalar_tensor tensor tril_indices triu_indices zeros"
    ).split()
)
"""Functions that make tensors of sizes or numbers."""


class Dataless(Watching):
    """Whatever makes a tensor makes one without data, wherever it is said to be."""

    def __init__(self) -> None:
        super().__init__()
        self._kernels = WithoutData()

    def __enter__(self) -> Self:
        self._kernels.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._kernels.__exit__(*error)

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call ``func`` without data."""
        if func in MAKERS:
            return self.make(func, args, kwargs | {"device": "meta"})
        if func in {Tensor.cuda, Tensor.cpu}:
            return args[0].to("meta")
        if func is Tensor.to:
            args = tuple("meta" if isinstance(a, str | torch.device) else a for a in args)
            kwargs = {k: "meta" if k == "device" else v for k, v in kwargs.items()}
        result = func(*args, **kwargs)
        return result.to("meta") if func is torch.from_numpy else result

    def make(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one of the functions that make tensors."""
        return func(*args, **kwargs)


class _Copying(Watching):
    """Decides what becomes of a tensor that is neither parameter nor buffer when it is copied."""

    def __init__(self, copied: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.copied = copied

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **kwargs)
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = self.copied(tensor)
        return memo[id(tensor)]


@contextmanager
def uncollected() -> Iterator[None]:
    """Put off the collection of garbage where much is made of which little is let go.

    To look through all of it again and again takes a quarter of the time. No memory is held
    meanwhile that counts, for tensors without data have none.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Let a network run without keeping what its forward sets beside parameters and buffers."""
    before = [(module, _state(module)) for module in model.modules()]
    try:
        yield
    finally:
        for module, state in before:
            for name in _state(module).keys() - state.keys():
                del vars(module)[name]
            vars(module).update(state)


def _state(module: nn.Module) -> dict[str, Any]:
    """What a module keeps as plain attributes; lists and the like as copies."""
    return {
        name: copy.copy(value) if isinstance(value, list | dict | set) else value
        for name, value in vars(module).items()
        if name not in _OF_MODULES
    }


_OF_MODULES = frozenset(vars(nn.Module()))


def _copy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """What ``copy.deepcopy`` gives, in a third of the time.

    The rest goes into what every module has: a dozen empty dictionaries for hooks.
    """
    modules = list(model.modules())
    if not all(map(_is_plain, {type(module) for module in modules})):
        return copy.deepcopy(model, memo)
    for module in modules:
        memo[id(module)] = object.__new__(type(module))
    for module in reversed(modules):  # those inside of others first
        state: dict[str, Any] = {}
        for name, value in vars(module).items():
            if type(value) in _COLLECTIONS and not value:
                state[name] = memo.setdefault(id(value), type(value)())
            else:
                state[name] = copy.deepcopy(value, memo)
        memo[id(module)].__setstate__(state)
    result: nn.Module = memo[id(model)]
    return result


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether a copy of such a module is one of its attributes, and nothing else."""
    return all(getattr(kind, name, None) is getattr(nn.Module, name, None) for name in _COPYING)


_COLLECTIONS = frozenset({dict, OrderedDict, set, list})
_COPYING = "__new__ __deepcopy__ __reduce__ __reduce_ex__ __getstate__ __slots__".split()
"""What a class may say about how it is copied, besides ``__setstate__``."""


def duplicate(model: nn.Module) -> nn.Module:
    """A copy of a network; activations that it keeps, such as features, are copied as values."""
    with _Copying(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad)):
        return _copy(model, {})


def without_data(tensor: Tensor) -> Tensor:
    """A tensor like another, of any shape, on the meta device."""
    if tensor.is_contiguous():  # which needs less of PyTorch
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return torch.empty_like(tensor, device="meta")


def on_meta(model: nn.Module, *, values: bool = False) -> nn.Module:
    """A copy of a module without data, for reading shapes: no memory is spent on weights.

    Args:
        model: the module.
        values: whether tensors that are neither parameters nor buffers keep their values.
    """
    memo: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        empty = without_data(tensor)
        if isinstance(tensor, nn.Parameter):
            empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = empty

    def copied(tensor: Tensor) -> Tensor:
        return tensor.detach().clone() if values else without_data(tensor)

    with _Copying(copied):
        return _copy(model, memo)
