"""Functions in a Python file of the user's own, named as FILE:FUNCTION; without PyTorch.

:class:`Own` imports the file. What is to be known while a configuration is checked, or a Snakefile
is read, is taken from the source alone: :func:`declared`, :func:`sources_of`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType
from typing import Any

from lwdna.errors import ConfigError, LwdnaError, first_line, nearest


def is_own(text: str) -> bool:
    """Whether the name of a network or function means a file of the user's."""
    return ":" in text or text.endswith(".py")


def _split(text: str, folder: str | os.PathLike[str] = ".") -> tuple[Path, str]:
    """The file and the function that FILE:FUNCTION names.

    Raises:
        ConfigError: if there is no such file in the folder, or one of the two is not named.
    """
    file, _, name = text.rpartition(":")
    if not file or not name:
        raise ConfigError(
            f"'{text}' does not say which function; give FILE:FUNCTION, for example "
            f"'{file or name}:make_network'."
        )
    if not (Path(folder) / file).is_file():
        raise ConfigError(f"There is no file '{Path(file)}', which '{text}' names; check the path.")
    return Path(file), name


def _no_function(path: Path, has: str, name: str, functions: list[str]) -> ConfigError:
    advice = nearest(name, functions) if functions else "write one."
    return ConfigError(f"'{path}' {has} '{name}'; {advice}")


def declared(text: str, folder: str | os.PathLike[str] = ".") -> Signature | None:
    """The arguments of a function of the user's own, as its source has them; nothing is imported.

    Args:
        text: FILE:FUNCTION.
        folder: what the file is relative to.

    Returns:
        The signature; None where only an import could tell, as of a name that is assigned or
        imported, or of a function with a decorator.

    Raises:
        ConfigError: if the file or the function is missing, or the file is no Python.
    """
    path, name = _split(text, folder)
    try:
        tree = ast.parse((Path(folder) / path).read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        where = "" if line is None else f" at line {line}"
        raise ConfigError(
            f"'{path}' cannot be read as Python{where} ({first_line(error)}); correct it."
        ) from error
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return None if node.decorator_list else _signature(node.args)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if name not in _bound(tree):
        raise _no_function(path, "has no function", name, functions)
    return None


class _Source(str):
    """A default in source, which a signature prints as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(arguments: ast.arguments) -> Signature:
    """The signature of a function in source; a default is the text of it."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    defaults = [Parameter.empty] * required + [_Source(ast.unparse(x)) for x in arguments.defaults]
    found = []
    for i, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
        only = i < len(arguments.posonlyargs)
        kind = Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD
        found.append(Parameter(argument.arg, kind, default=default))
    if arguments.vararg is not None:
        found.append(Parameter(arguments.vararg.arg, Parameter.VAR_POSITIONAL))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        default = Parameter.empty if value is None else _Source(ast.unparse(value))
        found.append(Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=default))
    if arguments.kwarg is not None:
        found.append(Parameter(arguments.kwarg.arg, Parameter.VAR_KEYWORD))
    return Signature(found)


class _AnyName(set[str]):
    """What a file may bind that imports all names of another."""

    def __contains__(self, _name: object) -> bool:
        return True


def _bound(tree: ast.Module) -> set[str]:
    """The names that a file may bind in any other way than by a function at its top."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return _AnyName() if "*" in names else names


def sources_of(text: str) -> list[str]:
    """The file that a function of the user's own is in, and the neighbours that it imports.

    A neighbour is a file in the folder of the first, or below, that it or another one imports by
    name. They are found in the source, without an import; of a name of lwdna's own there are none.
    """
    if not is_own(text):
        return []
    start = os.path.normpath(text.rpartition(":")[0] or text)
    found, todo = {start: None}, [start]
    while todo:
        for neighbour in _neighbours(Path(todo.pop()), Path(start).parent):
            if neighbour not in found:
                found[neighbour] = None
                todo.append(neighbour)
    return list(found)


def _neighbours(file: Path, top: Path) -> Iterator[str]:
    """The files that a file imports: of its own folder by dots, of the top folder without."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # the file is refused elsewhere, or when it is imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [(top, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = file.parent.joinpath(*[os.pardir] * (node.level - 1))
            base, module = folder if node.level else top, node.module or ""
            # What is imported from a package may be a file of it.
            modules = [(base, f"{module}.{alias.name}".strip(".")) for alias in node.names]
        else:
            continue
        for base, module in modules:
            parts = module.split(".")
            for i in range(1, len(parts) + 1):
                stem = os.path.normpath(base.joinpath(*parts[:i]))
                yield from (x for x in (f"{stem}.py", f"{stem}/__init__.py") if Path(x).is_file())


def fingerprint(text: str) -> str:
    """What the sources of a function are, as one number; empty for a name of lwdna's own."""
    content = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sources_of(text)]
    return hashlib.sha256("".join(sorted(content)).encode()).hexdigest()[:16] if content else ""


class Own:
    """A function of the user's own; an exception in it becomes one sentence.

    Args:
        text: FILE:FUNCTION. The file is imported once, with its folder on the path, so that it
            can import its neighbours with or without a dot.

    Raises:
        ConfigError: if the file or the function is missing, or the file cannot be imported.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.path, name = _split(text)
        module = self._import()
        function = getattr(module, name, None)
        if not callable(function) or _is_instance_of_module(function):
            functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
            has = "has no function" if function is None else "has, but not as a function,"
            raise _no_function(self.path, has, name, functions)
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
    torch = sys.modules.get("torch")  # which the file has loaded if it is one
    return torch is not None and isinstance(value, torch.nn.Module)
