"""Names of classes on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class ClassNames(click.ParamType):  # type: ignore[type-arg]
    """A text file with the name of a class on every line, in the order of a network's outputs."""

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Read; what is no such file is a usage error."""
        if isinstance(value, list):
            return value
        try:
            lines = Path(value).read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            self.fail(f"'{value}' cannot be read ({error}); give a text file, one name a line.")
        names = lines[:-1] if lines[-1] == "" else lines
        if not all(name.strip() for name in names) or len(set(names)) != len(names) or not names:
            self.fail(f"'{value}' has an empty line, or a name twice; give one name a line.")
        return [name.strip() for name in names]


classes = click.option(
    "--classes", type=ClassNames(), help="File of the names of classes, one a line, in order."
)
