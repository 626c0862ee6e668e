"""Tables in LaTeX, to be put into a paper by ``\\input``: floats of booktabs, and nothing else.

A table is as wide as a column, or as the page where it needs that (``table*``). Its caption is the
page's; what the page notes below its tables stands above them as comments.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from lwdna.results.pages import Column, Grid, Heading, Page, Points

_SPECIAL = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "\N{GREEK SMALL LETTER RHO}": r"$\rho$",
    "\N{GREEK SMALL LETTER TAU}": r"$\tau$",
    "\n": " ",
}
"""Characters that LaTeX reads as something else, or that its fonts lack."""

_NAMES = {"rho": r"$\rho$", "tau": r"$\tau$"}
"""Titles that are symbols of the paper."""

_MINUS = re.compile(r"(?<![\w-])-(?=\d)")

_NUMBER = re.compile(r"^Table \d+: ")
"""What LaTeX counts itself."""

_COLUMN_CHARACTERS = 52
"""Of a line in a column of a two-column page."""

_PAGE_CHARACTERS = 125
"""Of a line across both, in the size of footnotes."""


def to_latex(page: Page, label: str) -> str:
    """The tables of a page.

    Args:
        page: its paragraphs are the caption, its headings are added to that of their table.
        label: of the first table, for ``\\ref``; the next ones are numbered.
    """
    paragraphs = [block for block in page.blocks if isinstance(block, str)]
    title = _NUMBER.sub("", page.title)
    about = " ".join([_ended(text) for text in (title, page.scale, *paragraphs) if text])
    notes = [text for block in page.blocks if isinstance(block, Points) for text in block.texts]
    lines = ["% Needs \\usepackage{booktabs}."]
    lines += [f"% {line}" for note in notes for line in note.splitlines()]
    heading, tables = "", 0
    for block in page.blocks:
        if isinstance(block, Heading):
            heading = block.text
        if isinstance(block, Grid):
            tables += 1
            caption = f"{about} {_ended(heading)}" if heading else about
            number = f"-{tables}" if tables > 1 else ""
            lines += ["", *_float(block, caption, f"tab:{label}{number}")]
            heading = ""
    if not tables:
        lines += [f"% {line}" for line in [page.title, *paragraphs]]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text as LaTeX prints it; a hyphen before a number is a minus."""
    return "".join(_SPECIAL.get(char, char) for char in _MINUS.sub("\N{MINUS SIGN}", text))


def _ended(text: str) -> str:
    """A sentence with its full stop."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _float(grid: Grid, caption: str, label: str) -> list[str]:
    heads = [_head(column) for column in grid.columns]
    width = sum(
        max(len(text) for text in (*head, *(row[i] for row in grid.rows))) + 2
        for i, head in enumerate(heads)
    )
    name = "table" if width <= _COLUMN_CHARACTERS else "table*"
    size = r"\footnotesize" if width <= _PAGE_CHARACTERS else r"\scriptsize"
    align = "".join("r" if column.number else "l" for column in grid.columns)
    return [
        rf"\begin{{{name}}}[t]",
        r"  \centering",
        f"  {size}",
        r"  \setlength{\tabcolsep}{4pt}",
        rf"  \begin{{tabular}}{{@{{}}{align}@{{}}}}",
        r"    \toprule",
        *(f"    {line}" for line in _header(grid.columns, heads)),
        r"    \midrule",
        *(f"    {line}" for line in _body(grid)),
        r"    \bottomrule",
        r"  \end{tabular}",
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{{re.sub(r'[^A-Za-z0-9:-]', '-', label)}}}",
        rf"\end{{{name}}}",
    ]


def _head(column: Column) -> tuple[str, str]:
    """The two lines of a column's title; a long one is broken before its unit."""
    if column.part:
        return column.title, column.part
    for mark in (" / ", " ["):
        first, found, rest = column.title.partition(mark)
        if found:
            return first, f"{mark}{rest}".strip()
    return "", column.title


def _header(columns: Sequence[Column], heads: Sequence[tuple[str, str]]) -> list[str]:
    """Titles in two lines; neighbours of one title share it, above a rule."""
    top, rules, start = [], [], 1
    for (title, shared), group in itertools.groupby(columns, lambda c: (c.title, bool(c.part))):
        size = len(list(group))
        if shared and size > 1:
            top.append(rf"\multicolumn{{{size}}}{{c}}{{{escape(title)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + size - 1}}}")
        else:
            top += [escape(head) for head, _ in heads[start - 1 : start - 1 + size]]
        start += size
    lines = [" & ".join(top) + r" \\"] if any(top) else []
    bottom = " & ".join(_NAMES.get(below, escape(below)) for _, below in heads)
    return [*lines, *([" ".join(rules)] if rules else []), rf"{bottom} \\"]


def _body(grid: Grid) -> list[str]:
    """Rows; where names are printed as they change, a rule above each first name."""
    grouped, finer = (any(len(r) > i and r[i] == "" for r in grid.rows) for i in (0, 1))
    lines = []
    for number, row in enumerate(grid.rows):
        if grouped and number and row[0]:
            lines.append(r"\midrule")
        elif finer and number and row[1]:
            lines.append(r"\addlinespace")
        cells = ["--" if cell == "-" else escape(cell) for cell in row]
        lines.append(" & ".join(cells) + r" \\")
    return lines
