"""Symbols in code that torch.fx does not know: functions with gradients of their own, einops."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn
from torch.autograd import Function


@contextmanager
def symbols_elsewhere(
    kind: type[fx.Proxy], model: nn.Module, value_of: Callable[[fx.Node], Any]
) -> Iterator[None]:
    """Let symbols of a kind be given to what is not made for them, as long as a trace lasts.

    Args:
        kind: the class of the symbols.
        model: the network; where its own code asks for the class of a symbol, it gets that of the
            value. PyTorch must not be told so: it would take a symbol's memory for a tensor.
        value_of: the value of what a symbol stands for.
    """

    def answer(instance: Any, classes: Any) -> bool:
        value = value_of(instance.node) if type(instance) is kind else instance
        return isinstance(instance, classes) or isinstance(value, classes)

    own = [vars(sys.modules[name]) for name in _own_code(model)]
    apply = vars(Function)["apply"]
    Function.apply = classmethod(_forward)  # type: ignore[assignment]
    try:
        for names in own:
            names["isinstance"] = answer
        with _in_einops(kind):
            yield
    finally:
        Function.apply = apply
        for names in own:
            del names["isinstance"]


def _own_code(model: nn.Module) -> set[str]:
    """The files of a network's own code by name, but for those with another ``isinstance``."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    names = {kind.__module__ for kind in kinds}
    return {
        name
        for name in names
        if name.split(".")[0] not in {"torch", "builtins", "abc", "typing"}
        and "isinstance" not in vars(sys.modules.get(name, sys))
        and name in sys.modules
    }


class _Context:
    """What a function notes for its gradient, which is not asked for."""

    needs_input_grad = (False,) * 100

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def _forward(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function with a gradient of its own computes."""
    if cls.setup_context is not Function.setup_context:
        return cls.forward(*args, **kwargs)
    return cls.forward(_Context(), *args, **kwargs)


@contextmanager
def _in_einops(kind: type[fx.Proxy]) -> Iterator[None]:
    """A symbol is a tensor to einops, which is to reckon anew for every shape.

    It keeps what it reckoned by the sizes alone.
    """
    einops: Any = sys.modules.get("einops.einops")
    backends: Any = sys.modules.get("einops._backends")
    names = "_reconstruct_from_shape", "_reconstruct_from_shape_uncached"
    if einops is None or not all(hasattr(einops, name) for name in names):
        yield
        return
    kept = einops._reconstruct_from_shape
    einops._reconstruct_from_shape = einops._reconstruct_from_shape_uncached
    backends._type2backend[kind] = backends.TorchBackend()
    try:
        yield
    finally:
        einops._reconstruct_from_shape = kept
        del backends._type2backend[kind]
