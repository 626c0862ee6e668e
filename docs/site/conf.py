"""The site of the documentation, made by Sphinx: docs/ as it is, and a reference of the docstrings.

The source is the whole repository, so that links between pages are those that work on its host.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
API = ROOT / "docs/api"
"""Made anew by each build."""

project = "lwdna"
author = "the authors of lwdna"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["README.md", "docs/*.md", "docs/api/*.md", "config/README.md"]
exclude_patterns = [".*", "**/.*", "build", "data", "results", "**/node_modules"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "lwdna"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
toc_object_entries = False
# Types are named as the code names them: a class of one name may be in two wings, and then a name
# in a signature is no link to the right one of them.
suppress_warnings = ["ref.python"]

_PAGE = re.compile(r"\]\((?P<page>[^)#:]+\.md)(?:#[^)]*)?\)")
_PART = re.compile(r"^\*\*(?P<title>.+?)\*\*", re.MULTILINE)


def _wings() -> dict[str, str]:
    """The wings and what lives there, as the front door says."""
    said = ast.get_docstring(ast.parse((ROOT / "lwdna/__init__.py").read_text())) or ""
    found = re.findall(r"^``(\w+)`` +(.+)$", said, re.MULTILINE)
    # Steps are commands: `lwdna STEP --help` describes them.
    return {wing: about for wing, about in found if wing != "steps"}


def _public() -> list[str]:
    """The names at the front door."""
    for node in ast.parse((ROOT / "lwdna/__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError("lwdna/__init__.py has no __all__")


def _write(name: str, title: str, about: str, blocks: list[str]) -> None:
    body = "\n\n".join(blocks)
    API.mkdir(exist_ok=True)
    page, text = API / f"{name}.md", f"# {title}\n\n{about}\n\n{body}\n"
    # A page that is the same keeps its date, and is not built again.
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def _directive(what: str, *options: str) -> str:
    lines = [f".. {what}", *(f"   :{option}:" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def write_api() -> list[str]:
    """Write a page for the front door and one for each wing; their names."""
    # Each has its place among the wings; here it is shown a second time, without a target.
    names = [name for name in _public() if not (ROOT / "lwdna" / name).is_dir()]
    shown = [
        _directive(f"autoclass:: lwdna.{name}", "members", "no-index")
        if name[0].isupper()
        else _directive(f"autofunction:: lwdna.{name}", "no-index")
        for name in names
    ]
    _write("lwdna", "lwdna", "What `import lwdna` offers.", shown)
    wings = _wings()
    for wing, about in wings.items():
        modules = sorted((ROOT / "lwdna" / wing).glob("*.py"))
        dotted = [f"lwdna.{wing}.{path.stem}" for path in modules if path.stem != "__init__"]
        blocks = [
            f"## {module}\n\n{_directive(f'automodule:: {module}', 'members')}" for module in dotted
        ]
        _write(wing, f"lwdna.{wing}", f"{about[:1].upper()}{about[1:]}.", blocks)
    for stale in API.glob("*.md"):
        if stale.stem not in {"lwdna", *wings}:
            stale.unlink()
    return ["lwdna", *wings]


def _trees(pages: list[str]) -> str:
    """What stands in the sidebar: the pages of docs/README.md in its order, and the reference."""
    contents = (ROOT / "docs/README.md").read_text()
    trees, parts = [], _PART.split(contents)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        found = [m["page"] for m in _PAGE.finditer(text)]
        inside = [posixpath.normpath(f"docs/{page}") for page in found]
        trees.append((title.rstrip("."), [p for p in inside if p != "README.md"]))
    trees.append(("Reference", [f"docs/api/{page}.md" for page in pages]))
    lines = ["```{toctree}\n:hidden:\n:caption: Where to read\n\ndocs/README.md\n```"]
    lines += [
        f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(inside) + "\n```"
        for title, inside in trees
        if inside
    ]
    return "\n\n".join(lines)


def setup(app: Sphinx) -> None:
    """Add the sidebar to the start page, and an index.html that leads there."""
    trees = _trees(write_api())

    def read(_app: Sphinx, name: str, content: list[str]) -> None:
        if name == root_doc:
            content[0] += f"\n\n{trees}\n"

    def finished(app: Sphinx, exception: Exception | None) -> None:
        if exception is None and app.builder.name == "html":
            page = '<!DOCTYPE html><meta http-equiv="refresh" content="0; url=README.html">\n'
            (Path(app.outdir) / "index.html").write_text(page)

    app.connect("source-read", read)
    app.connect("build-finished", finished)
