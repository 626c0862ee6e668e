"""The documentation: links lead somewhere, docstrings name what there is, notebooks run."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "config/README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
ROLE = re.compile(r":(?:func|class|mod|meth|attr|data):`~?(?P<name>lwdna[\w.]*)`")


def text_of(page: Path) -> str:
    """A page without its code, in which brackets are no links."""
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text())["cells"]
        return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```$|`[^`\n]+`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may name of a page, as its host makes it of the headings."""
    code = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", code.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    for target in (match["target"] for match in LINK.finditer(text_of(page))):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists() and ROOT in there.parents, f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}"


def test_every_page_is_found_from_the_list_of_pages() -> None:
    listed = {match["target"] for match in LINK.finditer((ROOT / "docs/README.md").read_text())}
    pages = {page.name for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".ipynb")}
    assert pages - {"README.md"} <= listed


def test_docstrings_name_what_there_is() -> None:
    named: dict[str, str] = {}
    for path in sorted((ROOT / "lwdna").rglob("*.py")):
        for match in ROLE.finditer(path.read_text()):
            named.setdefault(match["name"], str(path.relative_to(ROOT)))
    assert len(named) > 50
    wrong = [f"{path}: {name}" for name, path in named.items() if not exists(name)]
    assert not wrong


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        *owners, last = parts[size:] or [""]
        try:
            owner = reduce(getattr, owners, module)
        except AttributeError:
            return False
        return not last or hasattr(owner, last) or last in getattr(owner, "__annotations__", {})
    return False


def test_decisions_have_numbers_of_their_own() -> None:
    text = (ROOT / "docs/decisions.md").read_text()
    numbers = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert len(numbers) > 90 and len(numbers) == len(set(numbers))


def test_the_site_has_a_page_for_each_wing_and_each_page_of_the_docs() -> None:
    pytest.importorskip("sphinx")
    source = (ROOT / "docs/site/conf.py").read_text()
    space: dict[str, object] = {"__file__": str(ROOT / "docs/site/conf.py"), "__name__": "conf"}
    exec(compile(source, "conf.py", "exec"), space)
    wings = {path.parent.name for path in (ROOT / "lwdna").glob("*/__init__.py")} - {"steps"}
    assert set(space["_wings"]()) == wings  # type: ignore[operator]
    trees = space["_trees"](["lwdna"])  # type: ignore[operator]
    for page in PAGES[1:]:
        assert f"\n{page.relative_to(ROOT)}\n" in trees, page


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_is_committed_without_output(notebook: Path) -> None:
    for cell in json.loads(notebook.read_text())["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))


def test_the_notebook_of_timm_runs(tmp_path: Path) -> None:
    """Cell after cell, as a program: it trains for a minute."""
    pytest.importorskip("timm")
    cells = json.loads((ROOT / "docs/timm.ipynb").read_text())["cells"]
    code = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    (tmp_path / "notebook.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "The network read back computes the same: True" in ran.stdout
    (ours,) = re.findall(r"^LW-DNA +([\d.]+) % error +([\d.]+) MFLOPs", ran.stdout, re.MULTILINE)
    (theirs,) = re.findall(r"^timm +([\d.]+) % error +([\d.]+) MFLOPs", ran.stdout, re.MULTILINE)
    assert 0.9 * float(theirs[1]) < float(ours[1]) <= 0.95 * float(theirs[1]) + 0.01
    # By chance it would be 90 %.
    assert float(ours[0]) < 45
