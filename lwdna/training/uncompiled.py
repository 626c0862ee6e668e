"""PyTorch's optimisers and Lightning Fabric, without PyTorch's compiler.

Both load the compiler (``torch._dynamo``), which takes almost as long as the rest of PyTorch, only
to tell it what to leave alone. It is loaded where a protocol says ``compile: true``, by
``torch.compile``.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from types import ModuleType

import torch
from torch.optim import Optimizer

logger = logging.getLogger(__name__)

_COMPILER = "torch._dynamo"

_FOR_THE_COMPILER = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
"""Methods of optimisers that PyTorch wraps so that the compiler leaves them alone; what they are
wrapped in loads it."""


def uncompiled(kind: type[Optimizer]) -> Callable[..., Optimizer]:
    """A kind of optimiser that is never part of what is compiled, which a training's is not.

    What it computes is what PyTorch's own computes. Methods that a version of PyTorch does not
    wrap stay as they are.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _FOR_THE_COMPILER}
    # Around a step, PyTorch's wrapping switches gradients off, too.
    methods["step"] = torch.no_grad()(methods["step"])
    return type(kind.__name__, (kind,), methods)


def load_fabric_uncompiled() -> None:
    """Import Lightning Fabric without the compiler.

    All that it wants of that is the class of compiled networks, to know what is an instance of it.
    It gets one that says so, and loads nothing. Should it ask for more, whoever imports it next
    imports it with the compiler.
    """
    if _COMPILER in sys.modules:
        return
    stand_in = sys.modules[_COMPILER] = ModuleType(_COMPILER)
    stand_in.OptimizedModule = _OptimizedModule  # type: ignore[attr-defined]
    try:
        import lightning_fabric  # noqa: F401, PLC0415
    except (ImportError, AttributeError):
        logger.debug("Lightning Fabric is imported with the compiler of PyTorch.")
    finally:
        del sys.modules[_COMPILER]


class _CompiledNetworks(type):
    """The type of a class whose instances are those of the compiler's own."""

    def __instancecheck__(cls, instance: object) -> bool:
        compiler = sys.modules.get(_COMPILER)
        return compiler is not None and isinstance(instance, compiler.OptimizedModule)


class _OptimizedModule(metaclass=_CompiledNetworks):
    """Of networks that are compiled; there are none before the compiler is loaded."""
