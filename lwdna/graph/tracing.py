"""Tracing: the graph of operations of a network, by torch.fx, with the shape of every value.

torch.fx hands symbols through the network's Python code. Where that code insists on a number (a
condition on a shape, a length, a range), the symbol answers with its value for the example input,
computed on the meta device; everywhere else the graph keeps the symbol, so that it can be told
whether a size is written in the code or taken from a tensor.
"""

from __future__ import annotations

import inspect
import linecache
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import Attribute

from lwdna.errors import GraphError, first_line
from lwdna.graph.operations import BATCH_NORMS

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
"""PyTorch's own folder."""


def trace(
    model: nn.Module, inputs: tuple[Tensor, ...], is_leaf: Callable[[nn.Module], bool]
) -> fx.Graph:
    """The operations of a network, as it is in training or evaluation mode.

    Args:
        model: a network on the meta device.
        inputs: its first arguments, such as ``(B, C, H, W)``, on the meta device; the others keep
            their defaults.
        is_leaf: whether a module is taken whole, besides those of PyTorch.

    Returns:
        A graph whose nodes know their value; ask for it by ``value_of``.

    Raises:
        GraphError: naming the line that cannot be traced, or the shapes that do not fit.
    """
    parameters = list(inspect.signature(model.forward).parameters.values())[len(inputs) :]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    try:
        with torch.device("meta"), torch.no_grad():
            return _Tracer(inputs, is_leaf).trace(model, concrete_args=defaults or None)
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(
            f"torch.fx cannot trace {type(model).__name__}{place(error)}: {first_line(error)}. "
            "Control flow that depends on tensor values cannot be followed; rewrite that line."
        ) from error


def value_of(node: fx.Node) -> Any:
    """What a node of a traced graph evaluates to; tensors are on the meta device."""
    return node.meta["value"]


def source_of(node: fx.Node) -> tuple[str, int, str] | None:
    """File, number and text of the line of the network's own code that a node comes from."""
    place = node.meta.get("place")
    return place and (*place, linecache.getline(*place).strip())


def place(error: Exception, *, besides: str = "") -> str:
    """The last line of the network's own code in the traceback of an error, as " at file:line".

    ``besides`` is a file that is not the network's.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if _is_own(f.filename) and f.filename != besides]
    return f" at {own[-1].filename}:{own[-1].lineno} ({own[-1].line})" if own else ""


def _is_own(filename: str) -> bool:
    """Whether a file is the network's, neither of PyTorch nor this one."""
    return not filename.startswith(_TORCH) and filename != __file__


def _calling() -> tuple[str, int] | None:
    """File and number of the line of the network's own code that is being executed."""
    # PyTorch could record it as well, but takes seconds to load what turns it into text.
    frame = inspect.currentframe()
    while frame is not None and not _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return frame and (frame.f_code.co_filename, frame.f_lineno)


class _Concrete(fx.Proxy):
    """A symbol that turns into its value where Python takes nothing else."""

    def __getattr__(self, name: str) -> Any:
        return _ConcreteAttribute(self, name)

    def __len__(self) -> int:
        return len(value_of(self.node))

    def __int__(self) -> int:
        return int(value_of(self.node))

    def __index__(self) -> int:
        return int(value_of(self.node).__index__())

    def __float__(self) -> float:
        return float(value_of(self.node))


class _ConcreteAttribute(Attribute, _Concrete):
    """An attribute of a symbol, such as its shape."""


class _Tracer(fx.Tracer):
    """The standard tracer, computing the value of every node as it goes."""

    proxy_buffer_attributes = True

    def __init__(self, inputs: tuple[Tensor, ...], is_leaf: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.is_leaf = is_leaf
        self.waiting = list(inputs)
        self.shapes = shapes(inputs)
        self.evaluating = False
        self.module: tuple[nn.Module, Callable[..., Any]]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Also take a subclass of a known layer whole if it computes what that layer does."""
        return self.is_leaf(m) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Concrete(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(value_of(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        items: Any = obj
        return iter([items[i] for i in range(len(value_of(obj.node)))])

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.evaluating:
            return forward(*args, **kwargs)
        self.module = m, forward
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self.evaluating:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["place"] = _calling()
        if node.op != "output":
            node.meta["value"] = self._evaluate(node)
        return node

    def _argument(self, node: fx.Node) -> Any:
        """The next of the inputs, or the default; all that are left for ``*args``."""
        if str(node.target).startswith("**"):
            return {}
        if str(node.target).startswith("*"):
            rest, self.waiting = tuple(self.waiting), []
            return rest
        return self.waiting.pop(0) if self.waiting else next(iter(node.args), None)

    def _evaluate(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._argument(node)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), value_of)
        self.evaluating = True
        try:
            if node.op == "get_attr":
                return _attribute(self.root, str(node.target))
            if node.op == "call_module":
                module, forward = self.module
                return _result(module, forward, args, kwargs)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            return node.target(*args, **kwargs)  # type: ignore[operator]
        except Exception as error:
            if "meta tensor" in str(error) or isinstance(error, NotImplementedError):
                raise  # it asks for the values of a tensor, whatever the shape
            raise GraphError(
                f"The network does not run on an input of shape {self.shapes}: "
                f"{first_line(error)}. Give an example input that it accepts."
            ) from error
        finally:
            self.evaluating = False


def _result(
    module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a layer gives; batch norms, slow on the meta device, change no shape."""
    if isinstance(module, BATCH_NORMS) and not kwargs:
        (x,) = args
        if x.ndim > 1 and x.shape[1] == module.num_features:
            return x
    return forward(*args, **kwargs)


def _attribute(root: nn.Module, path: str) -> Any:
    """A tensor of the network, without data."""
    owner, _, name = path.rpartition(".")
    value = getattr(root.get_submodule(owner), name)
    return value.to("meta") if isinstance(value, Tensor) else value


def shapes(inputs: tuple[Tensor, ...]) -> str:
    """The shapes of tensors in words, such as 1x3x32x32, for messages."""
    return ", ".join("x".join(map(str, x.shape)) for x in inputs)
