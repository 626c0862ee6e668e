"""Homes: code that a table of the package names as text, so that the table needs no PyTorch."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any


def at_home(home: str) -> Any:
    """What a home names, imported on first use.

    Args:
        home: a module below ``lwdna``, with its wing, and a name in it: ``data.digits:pack``; the
            name may follow a point as well.
    """
    module, name = re.fullmatch(r"(.+)[:.](\w+)", home).groups()  # type: ignore[union-attr]
    return getattr(import_module(f"lwdna.{module}"), name)
