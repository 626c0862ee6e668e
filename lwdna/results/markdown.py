"""Pages for people: in Markdown, the same in HTML, and their tables in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TypedDict, Unpack

from markdown import markdown as render

from lwdna.io.atomic import write_text
from lwdna.results.latex import to_latex
from lwdna.results.pages import Block, Grid, Heading, Page, Points

_HEAD = """<head>
<meta charset="utf-8">
<style>
body { font-family: sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid #ddd; text-align: left; }
th { border-bottom: 2px solid #444; }
</style>
</head>"""


def to_markdown(page: Page) -> str:
    """A page in Markdown."""
    label = [f"**{escape(page.scale)}**"] if page.scale else []
    return "\n\n".join([f"# {page.title}", *label, *map(_block, page.blocks)]) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Points):
        return points(block.texts)
    if isinstance(block, Grid):
        align = "".join("r" if column.number else "l" for column in block.columns)
        return table(block.columns, block.rows, align)
    return block


def table(titles: Sequence[object], rows: Iterable[Iterable[object]], align: str) -> str:
    """A table.

    Args:
        titles: of the columns.
        rows: the cells of each.
        align: a letter for each column, ``l`` for left or ``r`` for right.
    """
    ruler = [{"l": ":--", "r": "--:"}[letter] for letter in align]
    return "\n".join(line(cells) for cells in (titles, ruler, *rows))


def line(cells: Iterable[object]) -> str:
    """A line of a table; what would end a cell is escaped."""
    return "| " + " | ".join(escape(str(cell)) for cell in cells) + " |"


def escape(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def points(texts: Iterable[str]) -> str:
    """A list with a point for each text."""
    return "\n".join(f"- {text}" for text in texts)


def to_html(markdown: str) -> str:
    """A page of HTML that stands alone, from one of :func:`to_markdown`."""
    body = to_body(markdown)
    return f'<!DOCTYPE html>\n<html lang="en">\n{_HEAD}\n<body>\n{body}\n</body>\n</html>\n'


def to_body(markdown: str) -> str:
    """The same for a place in another page."""
    # Names come from the configuration: they are text, not markup.
    escaped = markdown.replace("&", "&amp;").replace("<", "&lt;")
    return render(escaped, extensions=["tables"])


class PageFiles(TypedDict):
    """The files of a page."""

    csv: str | PathLike[str]
    markdown: str | PathLike[str]
    html: str | PathLike[str]
    latex: str | PathLike[str]


def write_page(page: Page, data: str, **files: Unpack[PageFiles]) -> None:
    """Write a page in Markdown, HTML and LaTeX, and its data as CSV, each atomically.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    text = to_markdown(page)
    write_text(files["html"], to_html(text))
    write_text(files["latex"], to_latex(page, Path(files["latex"]).stem))
    write_text(files["csv"], data)
    write_text(files["markdown"], text)
