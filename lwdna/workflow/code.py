"""Source files that rules have as inputs, so that what a changed one prints is printed anew."""

from __future__ import annotations

from pathlib import Path

PRINTED = (
    "results",
    "config/methods.py",
    "config/paper.py",
    "tasks/kinds.py",
    "networks/zoo.py",
    "zoo/autoslim-resnet50.json",
)
"""What every table and figure is made by: a wing, and the files with titles and numbers that it
prints."""


def code(base: Path, parts: tuple[str, ...] = PRINTED) -> list[Path]:
    """The source files of parts of the package.

    Args:
        base: where the Snakefile is.
        parts: wings, and files of others.
    """
    found = (base / "lwdna" / part for part in parts)
    return [file for part in found for file in (sorted(part.glob("*.py")) or [part])]
