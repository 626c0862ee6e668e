"""What stands in the cells of tables: numbers of ours, printed numbers as text, or nothing."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from lwdna.errors import DataError


def require_columns(frame: pd.DataFrame, columns: set[str], what: str) -> None:
    """Refuse a frame without some columns.

    Raises:
        DataError: which says what the frame is, and what is missing.
    """
    missing = sorted(columns - set(frame.columns))
    if missing:
        raise DataError(
            f"The {what} lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns)) or 'none'}. Make it again with this version."
        )


def as_text(value: Any) -> str:
    """A cell as text; empty if there is none."""
    return "" if is_missing(value) else str(value)


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def as_number(value: Any) -> float | None:
    """A cell as a number; None if there is none."""
    return None if is_missing(value) else float(value)


def same(ours: Any, theirs: str) -> bool:
    """Whether a number of ours is the one printed."""
    return ours is not None and math.isclose(float(ours), float(theirs))


def ratio(value: float | None, base: float | None) -> float | None:
    """A number in percent of another; None unless there are both."""
    return None if value is None or not base else round(100 * value / base, 4)


def decimals_of(printed: str) -> int:
    """How many decimals a number is printed with."""
    return len(printed.partition(".")[2])


def versus(ours: float | None, theirs: str) -> str:
    """``=`` if ours rounds to the printed digits, else the difference of the rounded numbers."""
    if ours is None or not theirs:
        return ""
    decimals = decimals_of(theirs)
    rounded = f"{ours:.{decimals}f}"
    return "=" if rounded == theirs else f"{float(rounded) - float(theirs):+.{decimals}f}"
