"""Which packages a step of the pipeline imports, read off the source, lazy imports included."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml
from channel import conda_name

import lwdna

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = packages_distributions()


def _for_types_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _nodes(node):
    """Every node of a tree, but for what only type checkers look at."""
    yield node
    for child in ast.iter_child_nodes(node):
        if _for_types_only(child):
            for other in child.orelse:
                yield from _nodes(other)
        else:
            yield from _nodes(child)


def _file(module):
    """The source of a module of lwdna; None if there is no such module."""
    path = ROOT / module.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def names_in(source):
    """The full names of what a piece of Python imports, or looks for among the packages."""
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lwdna":
            yield f"lwdna.{node.attr}"  # loaded on first use, by the name of what is in it
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).split(".")[-1]
            if called in {"find_spec", "import_module", "Photograph"} and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


@cache
def _within(file):
    """The modules of lwdna and the other packages that a source file imports itself."""
    names = set(names_in(file.read_text(encoding="utf-8")))
    ours, others = set(), set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "lwdna":
            others.add(parts[0])
            continue
        homes = lwdna._HOME
        if len(parts) == 2 and parts[1] in homes:
            ours.add(homes[parts[1]])
        # A package is imported with all that are above it.
        ours |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return {module for module in ours if _file(module)}, others - set(sys.stdlib_module_names)


def imported(modules):
    """The packages outside lwdna that some of its modules import, themselves or through others."""
    seen, open_ends, packages = set(), set(modules), set()
    while open_ends:
        module = open_ends.pop()
        seen.add(module)
        ours, others = _within(_file(module))
        packages |= others
        open_ends |= ours - seen
    return packages


def conda_packages(modules):
    """The packages of conda-forge in which some top-level modules are."""
    missing = sorted(module for module in modules if module not in DISTRIBUTIONS)
    assert not missing, f"{missing} are imported but not installed here"
    return {conda_name(DISTRIBUTIONS[module][0]) for module in modules}


def rules():
    """By name of each rule that runs something: its file of an environment, and its step."""
    found = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        text = file.read_text(encoding="utf-8")
        for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.MULTILINE):
            if not re.search(r"^    (shell|script|run|notebook|wrapper):", body, re.MULTILINE):
                continue
            conda = re.search(r'^    conda:\n        "(.+)"$', body, re.MULTILINE)
            step = re.findall(r"python -m lwdna --log \{log:q\} ([a-z-]+)", body)
            assert conda, f"rule {name} has no environment"
            assert len(step) == 1, f"of rule {name} it cannot be said which step it runs"
            found[name] = ((file.parent / conda[1]).resolve(), step[0])
    return found


def needs_of(step):
    """The packages of conda-forge that a step imports."""
    modules = {"lwdna.__main__", f"lwdna.steps.{step.replace('-', '_')}"}
    return conda_packages(imported(modules))


def specs_of(environment):
    """By name the specs of an environment."""
    specs = yaml.safe_load(environment.read_text(encoding="utf-8"))["dependencies"]
    return {re.match(r"[a-z0-9_.-]+", spec)[0]: spec for spec in specs}
