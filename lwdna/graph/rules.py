"""Rules of users: what the channel graph must know of a layer that PyTorch does not have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lwdna.errors import ConfigError, GraphError, require

if TYPE_CHECKING:
    from lwdna.graph.calls import Call


class RuleError(GraphError):
    """A user's rule does not fit the layer."""


UNCUT = "_"
"""Stands for an axis that is never cut."""

_AXES = "a mapping such as {'weight': 'out in'}"
_NAMES = f"one or two names and '{UNCUT}', separated by spaces, such as 'out in'"


@dataclass(frozen=True)
class Rule:
    """How a layer of one's own treats channels: what it reads and makes, and what is cut in it.

    The axes of the layer's tensors have names. ``in`` are the channels that the layer reads,
    ``out`` those that it makes; if there is no ``out``, channels stay where they are. Any other
    name stands for channels inside of the layer, with a latent vector of their own.

    Raises:
        ConfigError: if the parts do not fit each other.
    """

    axes: Mapping[str, str] = field(default_factory=dict)
    """By parameter or buffer of the layer the names of its axes, separated by spaces: "out in" for
    the weight ``(out, in, k, k)`` of a convolution. At most two have a name; ``_`` stands for an
    axis that is never cut, and may be left out at the end. What is not listed is never cut."""
    generated: tuple[str, ...] = ()
    """Parameters that a hypernetwork makes while the network is shrunk: of two axes with names or
    ``_``, the first for outputs, the second the inputs that each sums over, then the kernel. The
    others keep their values."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """By attribute of the layer the name of an axis, to whose length it is set after surgery."""
    channel_axis: int = 1
    """The axis of the input and of the output along which channels lie."""
    flops: Callable[[nn.Module, tuple[Tensor, ...], Tensor], Mapping[str, int]] | None = None
    """Called with the layer, its inputs and its output (without data), returns for each parameter
    how often an image multiplies it. If left out, every parameter of two named axes is multiplied
    once at each position of the output, as by a convolution. Nothing else in the layer counts."""
    follow: Callable[[Call], Mapping[str, Tensor]] | None = None
    """For a layer that moves channels or has several inputs: returns labels ``(C,)`` by the name
    of an axis, at least ``in``. What it may ask and say is in :class:`lwdna.graph.calls.Call`."""
    exact: bool = True
    """Whether the layer computes the same for the channels that stay when others are gone, which
    is checked after surgery; False for one that takes statistics over channels."""

    def __post_init__(self) -> None:
        require(isinstance(self.axes, Mapping), "What a rule says of axes", self.axes, _AXES)
        for tensor, names in self.axes.items():
            of = f"What a rule says of the axes of '{tensor}'"
            require(isinstance(names, str), of, names, _NAMES)
            named = [name for name in names.split() if name != UNCUT]
            if not named or len(named) > 2 or not all(name.isidentifier() for name in named):
                raise ConfigError(f"The axes of '{tensor}' are '{names}'; give {_NAMES}.")
        known = {name for names in self.axes.values() for name in names.split()} - {UNCUT}
        for attribute, name in self.numbers.items():
            if name not in known:
                raise ConfigError(
                    f"'{attribute}' is to be the number of '{name}', which no tensor has; "
                    f"the axes are: {', '.join(sorted(known)) or 'none'}."
                )
        for tensor in self.generated:
            if len(self.axes.get(tensor, "").split()) != 2:
                raise ConfigError(
                    f"'{tensor}' is to be generated, but its axes are "
                    f"'{self.axes.get(tensor, '')}'; name its first two, such as 'out in'."
                )

    def names(self, tensor: str) -> list[str | None]:
        """The names of the axes of a tensor, as far as they are said; None for one never cut."""
        return [None if name == UNCUT else name for name in self.axes.get(tensor, "").split()]

    def sizes(self, layer: nn.Module) -> dict[str, int]:
        """By the name of an axis, its length in a layer.

        Raises:
            RuleError: if a tensor is missing or has fewer axes, or two tensors disagree.
        """
        tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
        sizes: dict[str, int] = {}
        for tensor in self.axes:
            if tensor not in tensors and _is_none(layer, tensor):
                continue
            shape = tuple(tensors[tensor].shape) if tensor in tensors else None
            if shape is None or len(shape) < len(self.names(tensor)):
                raise RuleError(
                    f"The rule of {type(layer).__name__} says that '{tensor}' has the axes "
                    f"'{self.axes[tensor]}', but "
                    + ("there is no such tensor." if shape is None else f"its shape is {shape}.")
                )
            for name, size in zip(self.names(tensor), shape, strict=False):
                if name is not None and sizes.setdefault(name, size) != size:
                    raise RuleError(
                        f"The rule of {type(layer).__name__} says that '{tensor}' has "
                        f"{sizes[name]} '{name}', but its shape is {shape}."
                    )
        return sizes

    def present(self, layer: nn.Module) -> list[str]:
        """Which of the tensors of the rule a layer has; a bias may be None."""
        return [tensor for tensor in self.axes if not _is_none(layer, tensor)]

    def positions(
        self, layer: nn.Module, inputs: Sequence[Tensor], output: Tensor
    ) -> dict[str, int]:
        """By parameter how often it is multiplied by all of axis 0, which FLOPs are counted by.

        Args:
            layer: the layer.
            inputs: the tensors that go in, ``(B, ...)`` each.
            output: what comes out, ``(B, ...)``.
        """
        if self.flops is not None:
            images = 1 if self.channel_axis % output.ndim == 0 else output.shape[0]
            said = self.flops(layer, tuple(inputs), output)
            return {name: int(times) * images for name, times in said.items()}
        times = output.numel() // output.shape[self.channel_axis]
        parameters = dict(layer.named_parameters())
        return {
            tensor: times
            for tensor in self.present(layer)
            if tensor in parameters and len([n for n in self.names(tensor) if n is not None]) > 1
        }


def _is_none(layer: nn.Module, tensor: str) -> bool:
    """Whether a layer has no tensor of this name but says so, as with ``bias=False``."""
    owner, _, name = tensor.rpartition(".")
    try:
        return getattr(layer.get_submodule(owner), name) is None
    except AttributeError:
        return False


_RULES: dict[type[nn.Module], Rule] = {}


def register_rule(layer: type[nn.Module], rule: Rule | Mapping[str, str]) -> None:
    """Teach the channel graph a layer of one's own; from then on it is taken whole.

    Args:
        layer: the class. Subclasses that do not change ``forward`` follow the same rule.
        rule: what the layer does to channels; a mapping stands for ``Rule(axes)``.

    Raises:
        ConfigError: if the class is no layer of one's own, or the rule is none.
    """
    if not (inspect.isclass(layer) and issubclass(layer, nn.Module)):
        raise ConfigError(f"A rule was given for {layer!r}; give a class of nn.Module.")
    if layer is nn.Module or layer.__module__.startswith("torch.nn."):
        raise ConfigError(
            f"A rule was given for {layer.__name__}, which is PyTorch's; make a subclass with a "
            "forward of its own and give a rule for that."
        )
    given = isinstance(rule, Rule | Mapping)
    require(given, f"The rule of {layer.__name__}", rule, f"an lwdna.Rule, or {_AXES}")
    _RULES[layer] = rule if isinstance(rule, Rule) else Rule(rule)


def rule_of(module: nn.Module) -> Rule | None:
    """The rule of a layer, if a user gave one; a subclass with another forward has none."""
    for kind in type(module).__mro__:
        if kind in _RULES:
            return _RULES[kind] if type(module).forward is kind.forward else None
    return None
