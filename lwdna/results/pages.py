"""Pages of tables, before it is said in what language they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

NOTHING = frozenset({"", "-"})
"""Cells that say nothing."""


@dataclass(frozen=True)
class Column:
    """A column of a table for people."""

    title: str
    part: str = ""
    """Whose it is, ``ours`` or ``paper``, where neighbours of one title are set side by side."""
    number: bool = True
    """Whether it holds numbers, which stand at the right."""

    def __str__(self) -> str:
        return f"{self.title}, {self.part}" if self.part else self.title


@dataclass(frozen=True)
class Grid:
    """A table for people: text in cells."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, columns: Iterable[Column], rows: Iterable[Iterable[object]]) -> Grid:
        """From cells of any kind."""
        return cls(tuple(columns), tuple(tuple(map(str, row)) for row in rows))

    def without_empty(self) -> Grid:
        """The same without columns that say nothing in any row.

        What is left without its neighbour of the same title need not say whose it is.
        """
        kept = [
            i
            for i in range(len(self.columns))
            if not self.rows or any(row[i] not in NOTHING for row in self.rows)
        ]
        left = [self.columns[i].title for i in kept]
        columns = [
            Column(column.title, column.part if left.count(column.title) > 1 else "", column.number)
            for column in (self.columns[i] for i in kept)
        ]
        return Grid.of(columns, ([row[i] for i in kept] for row in self.rows))


@dataclass(frozen=True)
class Heading:
    """What stands above a part of a page."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    texts: tuple[str, ...]


Block: TypeAlias = str | Heading | Grid | Points
"""A part of a page; text is a paragraph."""


@dataclass(frozen=True)
class Page:
    """A page: its title, the banner of a run that is not at the paper's scale, and what follows."""

    title: str
    blocks: tuple[Block, ...]
    scale: str = ""
