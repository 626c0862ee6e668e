"""The house: wings import what lies below them, files and steps are small."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from lwdna.tasks.kinds import KINDS

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "lwdna"

FLOORS = {
    "errors": 0,
    "lazy": 0,
    "io": 1,
    "data": 2,
    "graph": 2,
    "tasks": 3,
    "networks": 4,
    "training": 4,
    "shrinkage": 5,
    "config": 5,
    "tracking": 5,
    "prediction": 5,
    "rivals": 6,
    "results": 7,
    "workflow": 7,
    "steps": 8,
    "__main__": 9,
    "__init__": 9,
}
NEVER = {
    ("shrinkage", "training"): "shrinkage happens at initialisation",
    ("networks", "graph"): "no network knows that it will be shrunk",
}
"""What the floors would allow: wing, wing that it may not import, and why."""

MAY = {
    "networks/weights.py",
    "networks/export.py",
    "networks/widening.py",
    "networks/narrowing.py",
}
"""Files of ``networks`` that are no family: they widen, narrow, save and export what was cut."""

LINES, STEP_LINES = 400, 40
LONG_FILES: dict[str, str] = {}
"""Files that are longer, and why."""

LONG_STEPS: dict[str, str] = {}
"""Steps that are longer, and why."""


def wing(path):
    return path.split("/")[0].removesuffix(".py")


def against_the_rules(path, source):
    """Each import of a source file that the rules forbid, as a sentence.

    Imports inside functions count, and so do those for type checkers: a type is knowledge too.
    The table of public names in ``lwdna/__init__.py`` is text, and no import.
    """
    here = wing(path)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{module_of(path, node)}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            parts = name.split(".")
            if parts[0] != "lwdna":
                continue
            there = parts[1] if len(parts) > 1 and parts[1] in FLOORS else "__init__"
            if there == "__init__" and here in {"steps", "workflow", "__main__"}:
                continue  # through the front door, whose names load when they are used
            reason = NEVER.get((here, there))
            if reason is not None and path in MAY:
                reason = None
            if reason is None and (here == there or FLOORS[there] < FLOORS[here]):
                continue
            why = reason or f"floor {FLOORS[here]} may not import floor {FLOORS[there]}"
            yield f"lwdna/{path}:{node.lineno} imports {name}: {here} -> {there}, but {why}"


def module_of(path, node):
    """The whole name of the module that an import takes names from, relative or not."""
    if not node.level:
        return node.module
    folders = ("lwdna", *path.split("/")[:-1])
    above = folders[: len(folders) - node.level + 1]
    return ".".join((*above, *filter(None, [node.module])))


def files():
    return {p.relative_to(HOUSE).as_posix(): p.read_text() for p in sorted(HOUSE.rglob("*.py"))}


def test_wings_import_what_lies_below_them():
    found = [line for path, text in files().items() for line in against_the_rules(path, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("data/crops.py", "from lwdna.tasks import metrics", "crops.py:1 imports lwdna.tasks"),
        ("graph/channels.py", "def f():\n    import lwdna.data.images", "channels.py:2 imports"),
        ("results/tables.py", "from lwdna.workflow.cost import Plan", "floor 7 may not import"),
        ("shrinkage/shrink.py", "from lwdna.training.loop import train", "at initialisation"),
        ("networks/resnet.py", "from lwdna.graph.channels import keeps", "will be shrunk"),
        ("io/logs.py", "if TYPE_CHECKING:\n    from lwdna import build", "imports lwdna.build"),
        ("data/crops.py", "from ..tasks.metrics import psnr", "imports lwdna.tasks.metrics.psnr"),
        ("data/crops.py", "from .. import tasks", "crops.py:1 imports lwdna.tasks: data -> tasks"),
        ("errors.py", "from .io import logs", "errors.py:1 imports lwdna.io.logs: errors -> io"),
    ],
)
def test_a_planted_import_is_found(path, source, said):
    (line,) = against_the_rules(path, source)
    assert said in line


@pytest.mark.parametrize("source", ["from . import images", "from .images import x", "import os"])
def test_an_import_of_the_own_wing_is_none(source):
    assert not list(against_the_rules("data/crops.py", source))


def test_kinds_of_tasks_are_named_in_their_wing_alone():
    """Elsewhere a kind is asked what it is, so that a new one is an entry and a class.

    The front door names wings, one of which is called as a kind is.
    """
    for path, text in files().items():
        if wing(path) == "tasks":
            continue
        for node in ast.walk(ast.parse(text)):
            named = isinstance(node, ast.Constant) and node.value in KINDS
            if named and not (path == "__init__.py" and node.value in FLOORS):
                raise AssertionError(f"lwdna/{path}:{node.lineno} names the task '{node.value}'")


LAZY = {"__future__", "typing", "lwdna.lazy"}
"""What the face of a wing may import when it is loaded."""


def in_the_face(source):
    """Each statement of an ``__init__.py`` that is no docstring and no table of lazy names."""
    tree = ast.parse(source)
    body = tree.body if ast.get_docstring(tree) is None else tree.body[1:]
    for node in body:
        typed = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        light = isinstance(node, ast.ImportFrom) and node.module in LAZY
        if not (light or (typed and not node.orelse) or isinstance(node, ast.Assign)):
            yield ast.unparse(node)


def test_every_wing_is_known_and_its_face_loads_nothing():
    """An ``__init__.py`` with an import in it would load PyTorch for the lightest step."""
    wings = {path.name for path in HOUSE.iterdir() if (path / "__init__.py").is_file()}
    alone = {path.stem for path in HOUSE.glob("*.py")}
    assert wings | alone == set(FLOORS), "a file or folder of lwdna/ that has no floor"
    for name in wings:
        source = (HOUSE / name / "__init__.py").read_text()
        assert ast.get_docstring(ast.parse(source)), f"lwdna/{name}/ does not say what it is"
        assert not [*in_the_face(source)], f"lwdna/{name}/__init__.py holds more than lazy names"


@pytest.mark.parametrize("planted", ["import torch", "from lwdna.tracking.dimp import load"])
def test_a_planted_import_in_a_face_is_found(planted):
    source = (HOUSE / "tracking/__init__.py").read_text()
    assert [*in_the_face(f"{source}\n{planted}\n")] == [planted]


@pytest.mark.parametrize("package", ["lwdna", "lwdna.tracking"])
def test_public_names_are_there(package):
    module = import_module(package)
    assert sorted(module._HOME) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__doc__
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_only_named_files_are_long():
    long = {path for path, text in files().items() if len(text.splitlines()) > LINES}
    assert long == set(LONG_FILES), "longer than 400 lines, or no longer so: mend the list"


def test_only_named_steps_are_long():
    long = set()
    for path, text in files().items():
        if wing(path) != "steps" or "/_" in path:
            continue
        for node in ast.walk(ast.parse(text)):  # a search makes its command inside a function
            if isinstance(node, ast.FunctionDef) and node.name == "main":
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                if node.end_lineno - first + 1 > STEP_LINES:
                    long.add(path)
    assert long == set(LONG_STEPS), "longer than 40 lines, or no longer so: mend the list"


SHAPE = re.compile(
    r"\((?:about )?(?:\.\.\.|\w|elements|count)(?:\^\d|_\w)?(?: [*/]? ?\w)?,[^)]*\)"
    r"|\bscalars?\b|\bshapes?\b"
)
"""What says of tensors how they lie: ``(B, C, H, W)``, "a scalar", "of any shape"."""


def without_shapes(path, source):
    """Each public function that takes or gives tensors and does not say of what shape."""
    tree = ast.parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    scopes = [tree, *(node for node in classes if not node.name.startswith("_"))]
    for node in (node for scope in scopes for node in scope.body):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        notes = [arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg)]
        said = " ".join(ast.unparse(note) for note in (*notes, node.returns) if note is not None)
        if re.search(r"\bTensor\b", said) and not SHAPE.search(ast.get_docstring(node) or ""):
            yield f"lwdna/{path}:{node.lineno} {node.name} takes or gives tensors of what shape?"


def test_tensors_have_shapes():
    found = [line for path, text in files().items() for line in without_shapes(path, text)]
    assert not found, "\n".join(found)


def test_a_planted_tensor_without_a_shape_is_found():
    source = '''class Net:
    def forward(self, x: Tensor) -> Tensor:
        """Compute (as it should, and at once)."""
    def loss(self, *, x: dict[str, Tensor]) -> None:
        """Of ``(B, C, H, W)``."""'''
    (line,) = without_shapes("networks/net.py", source)
    assert "net.py:2 forward" in line


def test_the_walks_name_what_there_is():
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py):([\w.]+)`", text)
    assert len(named) > 30
    for path, name in named:
        body = ast.parse(files()[path]).body
        for part in name.split("."):
            found = [node for node in body if part in names_of(node)]
            assert found, f"docs/architecture.md names {name}, which lwdna/{path} does not define"
            body = getattr(found[0], "body", [])
    for path in re.findall(r"`(\w+/\w+\.py)`", text):
        assert (HOUSE / path).is_file() or (ROOT / path).is_file(), f"there is no {path}"


def names_of(node):
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return {getattr(node, "name", None)}


def test_private_names_stay_in_their_file():
    """What another file needs is public, and says in a docstring what it is."""
    modules = {"lwdna." + path.removesuffix(".py").replace("/", ".") for path in files()}
    for path, text in files().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and module_of(path, node).startswith("lwdna"):
                private = [
                    alias.name
                    for alias in node.names
                    if alias.name.startswith("_")
                    and not alias.name.startswith("__")
                    and f"{module_of(path, node)}.{alias.name}" not in modules
                ]
                assert not private, f"lwdna/{path}:{node.lineno} imports {private}"
