"""Tracing: the graph of operations of a network, by torch.fx, with the shape of every value.

torch.fx hands symbols through the network's Python code in the place of tensors; each knows its
value for the example input, computed on the meta device. What is no tensor is given to that code
as it is: shapes consist of :mod:`lwdna.graph.sizes`, integers by which it can be told whether a
number is written in the code or taken from a tensor.

A module whose code cannot be traced is taken whole if it runs without data. One that is made in
forward, or kept outside of the tree of modules, is its operations.
"""

from __future__ import annotations

import inspect
import linecache
import operator
import os
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import Attribute

from lwdna.errors import GraphError, first_line
from lwdna.graph.kernels import pixel_by_pixel
from lwdna.graph.meta import Dataless, without_data
from lwdna.graph.operations import BATCH_NORMS
from lwdna.graph.sizes import Escapes, Size
from lwdna.graph.symbols import symbols_elsewhere

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
"""PyTorch's own folder."""
_HERE = f"{Path(__file__).parent}{os.sep}"
"""That of the channel graph."""


def trace(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    is_leaf: Callable[[nn.Module], bool],
    escapes: Escapes | None = None,
) -> fx.Graph:
    """The operations of a network, as it is in training or evaluation mode.

    Args:
        model: a network on the meta device; it is not to be used again, for its forward may set
            what it keeps.
        inputs: its first arguments, such as ``(B, C, H, W)``, on the meta device; the others keep
            their defaults.
        is_leaf: whether a module is taken whole, besides those of PyTorch.
        escapes: where to note sizes that turn into plain numbers.

    Returns:
        A graph whose nodes know their value; ask for it by ``value_of``.

    Raises:
        GraphError: naming the line that cannot be traced, or the shapes that do not fit.
    """
    parameters = list(inspect.signature(model.forward).parameters.values())[len(inputs) :]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    escapes = escapes or Escapes(calling)
    try:
        tracer = _Tracer(inputs, is_leaf, escapes)
        with symbols_elsewhere(_Concrete, model, value_of), _Making(tracer), torch.no_grad():
            return tracer.trace(model, concrete_args=defaults or None)
    except GraphError:
        raise
    except Exception as error:
        advice = (
            "Control flow that depends on tensor values cannot be followed; rewrite that line."
            if _asks_for_values(error)
            else "Put what that line does into a module of its own, which is then taken whole."
        )
        raise GraphError(
            f"torch.fx cannot trace {type(model).__name__}{place(error)}: "
            f"{first_line(error).rstrip('.')}. {advice}"
        ) from error
    finally:
        escapes.watched = False


def _asks_for_values(error: Exception) -> bool:
    """Whether an operation failed because it asks for the values of a tensor."""
    return "meta tensor" in str(error).lower() or isinstance(error, NotImplementedError)


def value_of(node: fx.Node) -> Any:
    """What a node of a traced graph evaluates to; tensors are on the meta device."""
    return node.meta["value"]


def source_of(node: fx.Node) -> tuple[str, int, str] | None:
    """File, number and text of the line of the network's own code that a node comes from."""
    return line_of(node.meta.get("place"))


def line_of(place: tuple[str, int] | None) -> tuple[str, int, str] | None:
    """File, number and text of a line of code."""
    return place and (*place, linecache.getline(*place).strip())


def place(error: Exception, *, besides: str = "") -> str:
    """The last line of the network's own code in the traceback of an error, as " at file:line".

    ``besides`` is a file that is not the network's.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if _is_own(f.filename) and f.filename != besides]
    return f" at {own[-1].filename}:{own[-1].lineno} ({own[-1].line})" if own else ""


def _is_own(filename: str) -> bool:
    """Whether a file is the network's, neither of PyTorch nor of the channel graph."""
    return not filename.startswith((_TORCH, _HERE))


def _asking() -> str:
    """The file of what called the channel graph."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return "" if frame is None else frame.f_code.co_filename


def calling() -> tuple[str, int] | None:
    """File and number of the line of the network's own code that is being executed."""
    # PyTorch could record it as well, but takes seconds to load what turns it into text.
    frame = inspect.currentframe()
    while frame is not None and not _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return frame and (frame.f_code.co_filename, frame.f_lineno)


class _Concrete(fx.Proxy):
    """A symbol of a tensor, or of several, that tells what it is of the example input."""

    tracer: _Tracer

    def __getattr__(self, name: str) -> Any:
        value = value_of(self.node)
        if isinstance(value, Tensor) and name == "shape":
            return self.tracer.shape(self.node)
        found = getattr(value, name)
        if callable(found) and not isinstance(found, Tensor):
            return _ConcreteAttribute(self, name)
        if not holds_tensor(found):
            return found
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        self.node = self.tracer.create_proxy("call_function", assign, (self, index, value), {}).node

    def __len__(self) -> int:
        value = value_of(self.node)
        return self.tracer.shape(self.node)[0] if isinstance(value, Tensor) else len(value)

    def __int__(self) -> int:
        return int(value_of(self.node))

    def __index__(self) -> int:
        return int(value_of(self.node).__index__())

    def __float__(self) -> float:
        return float(value_of(self.node))


class _ConcreteAttribute(Attribute, _Concrete):
    """A method of a symbol."""

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(value_of(self.root.node), self.attr), name)


def assign(x: Tensor, index: Any, value: Any) -> Tensor:
    """Assignment to a part of a tensor of any shape, as a function that returns the tensor."""
    x[index] = value
    return x


def holds_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or holds one at any depth."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(map(holds_tensor, value))
    return isinstance(value, Tensor)


class _Making(Dataless):
    """Notes the tensors that a network makes from sizes as operations of its graph."""

    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def make(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        sized: list[Any] = []
        fx.node.map_aggregate(
            (args, kwargs), lambda x: sized.append(x) if isinstance(x, Size) else None
        )
        # What a layer of PyTorch makes while it is built is not the network's.
        if sized and _is_own(_asking()) and not self.tracer.evaluating:
            return self.tracer.create_proxy("call_function", func, args, kwargs)
        return func(*args, **kwargs)


class _Stack(OrderedDict[str, Any]):
    """The modules that run; torch.fx copies them for every operation, which is slow otherwise."""

    __copy__ = OrderedDict.copy


class _Tracer(fx.Tracer):
    """The standard tracer, computing the value of every node as it goes."""

    proxy_buffer_attributes = True

    def __init__(
        self,
        inputs: tuple[Tensor, ...],
        is_leaf: Callable[[nn.Module], bool],
        escapes: Escapes,
    ) -> None:
        super().__init__()
        self.module_stack = _Stack()
        self.is_leaf = is_leaf
        self.waiting = list(inputs)
        self.shapes = shapes(inputs)
        self.escapes = escapes
        self.evaluating = False
        self.module: tuple[nn.Module, Callable[..., Any]]
        self.whole: set[nn.Module] = set()
        """Modules whose code cannot be traced."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Also take a subclass of a known layer whole if it computes what that layer does."""
        return (
            m in self.whole or self.is_leaf(m) or super().is_leaf_module(m, module_qualified_name)
        )

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Concrete(node, self)

    def shape(self, node: fx.Node) -> torch.Size:
        """The shape of a tensor, made of sizes."""
        shape = value_of(node).shape
        return torch.Size(Size(n, ("along", node, d), self.escapes) for d, n in enumerate(shape))

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        """A symbol of a tensor or of several, but the value itself of anything else."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        value = value_of(proxy.node)
        if kind not in {"call_function", "call_method", "call_module"}:
            return proxy
        if isinstance(value, dict) and holds_tensor(value):
            return {
                key: self.create_proxy("call_function", operator.getitem, (proxy, key), {})
                for key in value
            }
        if holds_tensor(value):
            return proxy
        if target in {"size", "numel", "nelement", torch.numel}:
            shape = self.shape(proxy.node.args[0])  # type: ignore[arg-type]
            if target == "size":
                axis = args[1] if len(args) > 1 else kwargs.get("dim")
                return shape if axis is None else shape[axis]
            return reduce(operator.mul, shape, 1)
        return value

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, fx.Proxy):
            return a.node
        if isinstance(a, nn.Parameter) and id(a) not in self.own:
            a = a.data  # it belongs to no module of the network, so nothing can become of it
        return super().create_arg(a)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(value_of(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        items: Any = obj
        return iter([items[i] for i in range(len(value_of(obj.node)))])

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        self.paths = {id(module) for module in root.modules()}
        self.own = {id(parameter) for parameter in root.parameters()}
        self.escapes.watched = True
        return super().trace(root, concrete_args)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.evaluating or id(m) not in self.paths:
            return forward(*args, **kwargs)
        self.module = m, forward
        before, stack = len(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except GraphError:
            raise
        except Exception:
            if m is self.root or self.is_leaf_module(m, ""):
                raise
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            self.module_stack = stack
            self.module = m, forward
            self.whole.add(m)
            try:
                return super().call_module(m, forward, args, kwargs)
            except Exception:
                self.whole.discard(m)
            raise

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self.evaluating or isinstance(attr_val, fx.Proxy):  # which its forward has put there
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["place"] = calling()
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
        self.evaluating, self.escapes.watched = True, False
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
            if _asks_for_values(error) or (
                node.op == "call_module" and self.module[0] in self.whole
            ):
                raise  # it asks for the values of a tensor, whatever the shape
            raise GraphError(
                f"The network does not run on an input of shape {self.shapes}: "
                f"{first_line(error)}. Give an example input that it accepts."
            ) from error
        finally:
            self.evaluating, self.escapes.watched = False, True


def _result(
    module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a layer gives; batch norms, in whatever mode, change no shape.

    To ask the kernels would take the whole of following a network half as long again.
    """
    if isinstance(module, BATCH_NORMS) and not kwargs:
        (x,) = args
        module._check_input_dim(x)
        if x.ndim > 1 and x.shape[1] == module.num_features and x.is_floating_point():
            if pixel_by_pixel(x):
                return without_data(x)
            return torch.empty(x.shape, dtype=x.dtype, device="meta")
    return forward(*args, **kwargs)


def _attribute(root: nn.Module, path: str) -> Any:
    """A tensor of the network, without data."""
    owner, _, name = path.rpartition(".")
    value = getattr(root.get_submodule(owner), name)
    return value.to("meta") if isinstance(value, Tensor) else value


def shapes(inputs: tuple[Tensor, ...]) -> str:
    """The shapes of tensors in words, such as 1x3x32x32, for messages."""
    return ", ".join("x".join(map(str, x.shape)) for x in inputs)
