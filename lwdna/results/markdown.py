"""Pages for people: their tables in Markdown, and the same in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TypedDict, Unpack

from markdown import markdown as render

from lwdna.io.atomic import write_text

_HEAD = """<head>
<meta charset="utf-8">
<style>
body { font-family: sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid #ddd; text-align: left; }
th { border-bottom: 2px solid #444; }
</style>
</head>"""


def page(title: str, *blocks: str, scale: str = "") -> str:
    """A page: its title, the label of a run that is not at the paper's scale, and what follows."""
    label = [f"**{escape(scale)}**"] if scale else []
    return "\n\n".join([f"# {title}", *label, *blocks]) + "\n"


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
    """A page of HTML that stands alone, from one of :func:`page`."""
    # Names come from the configuration: they are text, not markup.
    escaped = markdown.replace("&", "&amp;").replace("<", "&lt;")
    body = render(escaped, extensions=["tables"])
    return f'<!DOCTYPE html>\n<html lang="en">\n{_HEAD}\n<body>\n{body}\n</body>\n</html>\n'


class PageFiles(TypedDict):
    """The three files of a page."""

    csv: str | PathLike[str]
    markdown: str | PathLike[str]
    html: str | PathLike[str]


def write_page(text: str, data: str, **files: Unpack[PageFiles]) -> None:
    """Write a page in Markdown and HTML, and its data as CSV, each atomically.

    Raises:
        LwdnaError: if a file cannot be written.
    """
    write_text(files["html"], to_html(text))
    write_text(files["csv"], data)
    write_text(files["markdown"], text)
