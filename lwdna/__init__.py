"""lwdna: find layer-wise differentiated network architectures (LW-DNA, CVPR 2021).

The public interface is loaded on first use, so that the command line starts without PyTorch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwdna.graph.channels import ChannelGraph
    from lwdna.graph.complexity import complexity
    from lwdna.graph.rules import Rule, register_rule
    from lwdna.networks.build import build
    from lwdna.networks.export import export
    from lwdna.networks.weights import load
    from lwdna.shrinkage.shrink import shrink

__version__ = "0.1.0"
__all__ = [
    "ChannelGraph",
    "Rule",
    "build",
    "complexity",
    "export",
    "load",
    "register_rule",
    "shrink",
]

_HOME = {
    "ChannelGraph": "lwdna.graph.channels",
    "Rule": "lwdna.graph.rules",
    "build": "lwdna.networks",
    "complexity": "lwdna.graph.complexity",
    "export": "lwdna.networks.export",
    "load": "lwdna.networks.weights",
    "register_rule": "lwdna.graph.rules",
    "shrink": "lwdna.shrinkage.shrink",
}


class _Package(ModuleType):
    """Keeps ``lwdna.shrink`` the function although a submodule of that name is imported too."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'lwdna' has no attribute '{name}'")
        value = getattr(import_module(_HOME[name]), name)
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = _Package
