"""The public names of a package, loaded on first use: its face imports nothing that takes long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_of(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package calls ``__getattr__``, so that it has these names.

    Args:
        package: its name.
        homes: of each name the module that defines it; or the name is that of a module inside.

    Returns:
        A function of a name that raises AttributeError if there is none such.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module = import_module(homes[name])
        return module if homes[name] == f"{package}.{name}" else getattr(module, name)

    return load
