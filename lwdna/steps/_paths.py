"""Paths on the command line: what is to be read is there, what is to be written can be."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from lwdna.errors import DataError
from lwdna.io.atomic import cannot_write


class ToRead(click.Path):
    """A file or folder to read, which is refused at once if it is not there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Ask for it before anything else is read, which may take a while.

        Raises:
            DataError: if there is none.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            found = path.exists()
        except OSError as error:
            raise DataError(
                f"'{path}' cannot be asked for ({error.strerror}); check the path."
            ) from error
        if not found:
            raise DataError(f"There is no '{path}'; check the path, or run the step that makes it.")
        return path


class ToWrite(click.Path):
    """A file or folder to write, which is refused at once if it could not be."""

    def __init__(self, *, folder: bool = False) -> None:
        super().__init__(path_type=Path, file_okay=not folder, dir_okay=folder)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Ask the folder that is there, of those that it is to lie in; nothing is left in it.

        Raises:
            LwdnaError: if nothing can be written there.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        asked = path.absolute()
        try:
            # A folder that is there is written into, whatever the one that it lies in.
            nearest = (asked, *asked.parents) if asked.is_dir() else asked.parents
            there = next(folder for folder in nearest if folder.exists())
            tempfile.TemporaryFile(dir=there).close()
        except OSError as error:
            raise cannot_write(path, error) from error
        return path
