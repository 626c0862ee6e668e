"""Functions in a Python file of the user's own, named on the command line as FILE:FUNCTION."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from lwdna.errors import ConfigError, LwdnaError, first_line, nearest


def is_own(text: str) -> bool:
    """Whether a name on the command line means a file of the user's."""
    return ":" in text or text.endswith(".py")


class Own:
    """A function of the user's own; an exception in it becomes one sentence.

    Args:
        text: FILE:FUNCTION. The file is imported once, with its folder on the path, so that it
            can import its neighbours with or without a dot.

    Raises:
        ConfigError: if the file or the function is missing, or the file cannot be imported.
    """

    def __init__(self, text: str) -> None:
        file, _, name = text.rpartition(":")
        self.text, self.path = text, Path(file or text)
        if not file or not name:
            raise ConfigError(
                f"'{text}' does not say which function; give FILE:FUNCTION, for example "
                f"'{file or name}:make_network'."
            )
        if not self.path.is_file():
            raise ConfigError(
                f"There is no file '{self.path}', which '{text}' names; check the path."
            )
        module = self._import()
        function = getattr(module, name, None)
        if not callable(function) or _is_instance_of_module(function):
            functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
            has = "has no function" if function is None else "has, but not as a function,"
            raise ConfigError(
                f"'{self.path}' {has} '{name}'; "
                + (nearest(name, functions) if functions else "write one.")
            )
        self._function = function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function.

        Raises:
            ConfigError: if it raises; its own ``LwdnaError`` passes.
        """
        try:
            return self._function(*arguments, **options)
        except LwdnaError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigError(f"'{self.text}' failed{self._where(error)}.") from error

    def takes(self, argument: str) -> bool:
        """Whether the function has an argument of this name."""
        try:
            parameters = inspect.signature(self._function).parameters
        except ValueError:
            return False
        return argument in parameters

    def _import(self) -> ModuleType:
        folder = self.path.resolve().parent
        package = f"_lwdna_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        name = f"{package}.{self.path.stem.replace('.', '_')}"
        if name in sys.modules:
            return sys.modules[name]
        if package not in sys.modules:  # so that `from .neighbour import x` finds it
            parent = ModuleType(package)
            parent.__path__ = [str(folder)]
            sys.modules[package] = parent
            sys.path.insert(0, str(folder))
        spec = importlib.util.spec_from_file_location(name, self.path.resolve())
        if spec is None or spec.loader is None:
            raise ConfigError(f"'{self.path}' is no Python file; its name must end in '.py'.")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise ConfigError(f"'{self.path}' cannot be imported{self._where(error)}.") from error
        return module

    def _where(self, error: BaseException) -> str:
        """Line and cause of an error, as a fragment of a sentence."""
        cause = f"{type(error).__name__}: {first_line(error)}"
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == self.path.resolve()
        ]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
        if line is None and frames:
            line = frames[-1].lineno
        return f"{'' if line is None else f' at line {line}'} ({cause.rstrip(': .')})"


def _is_instance_of_module(value: Any) -> bool:
    from torch import nn  # noqa: PLC0415 - the file has loaded it if it is true

    return isinstance(value, nn.Module)
