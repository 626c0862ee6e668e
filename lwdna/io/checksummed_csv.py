"""CSV files that notice when they have changed: every row carries a checksum of the whole file.

They stay ordinary CSV for every other program, in one file that is written at once. The checksum
is against damage, not against forgery.
"""

from __future__ import annotations

import csv
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from lwdna.errors import DataError
from lwdna.io.atomic import write_text

COLUMN = "crc32"
"""Name of the last column: CRC-32 of header and rows without it, as eight hexadecimal digits."""


def write_csv(path: str | os.PathLike[str], text: str) -> None:
    """Write CSV with the checksum's column added; the same text gives the same bytes.

    Args:
        path: the file, written atomically.
        text: a header and at least one row.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    header, *rows = _parsed(text)
    checksum = _checksum([header, *rows])
    write_text(path, _text([[*header, COLUMN], *([*row, checksum] for row in rows)]))


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table with its checksum, without waiting for a library of tables.

    Args:
        path: the file, written atomically.
        rows: at least one, each of values by column, of which some may be missing in some rows.
            Numbers are written so that they read back exactly; None and NaN are empty cells.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name) for name in columns] for row in rows]
    known = [["" if value != value else value for value in row] for row in cells]  # noqa: PLR0124
    write_csv(path, _text([columns, *known]))


def read_csv(path: str | os.PathLike[str]) -> str:
    """Read what :func:`write_csv` was given.

    Raises:
        DataError: if the file is missing, has changed since it was written, or was written by
            something else.
    """
    try:
        header, *rows = _parsed(Path(path).read_text(encoding="utf-8")) or [[]]
        if header[-1:] != [COLUMN]:
            raise _ForeignError(f"its last column is not '{COLUMN}'")
        if not rows:
            raise ValueError("it has no row")
        bare = [row[:-1] for row in (header, *rows)]
        if {row[-1] if row else "" for row in rows} != {_checksum(bare)}:
            raise ValueError("it has changed since it was written")
    except (_ForeignError, OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            f"'{path}' is no CSV file of this program ({_reason(error)}); give another file, or, "
            "if it was one, it is damaged: delete it and run again."
        ) from error
    except ValueError as error:
        raise DataError(
            f"'{path}' is not a whole CSV file of this program ({error}); delete it and run again."
        ) from error
    return _text(bare)


class _ForeignError(Exception):
    """A file that another program wrote, which is nobody's to delete."""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not text" if isinstance(error, UnicodeError) else str(error)


def _parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def _text(rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _checksum(rows: Sequence[Sequence[str]]) -> str:
    return f"{zlib.crc32(_text(rows).encode()):08x}"
