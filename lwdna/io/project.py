"""The files of the project that the package reads: beside it in a clone, else inside it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from lwdna.errors import DataError, first_line

_CLONE, _SHIPPED = Path(__file__).parents[2], Path(__file__).parents[1] / "project"

ROOT = _SHIPPED if _SHIPPED.is_dir() else _CLONE
"""Where the files lie: in a clone beside the Snakefile, of a package that was installed alone in
it, where ``setup.py`` puts them."""

SCHEMA = ROOT / "config/schema.yaml"
"""What a configuration may say."""

VERSIONS = ROOT / "data/versions.csv"
"""The one table of datasets."""

PAPER = ROOT / "paper"
"""The numbers of the paper."""


def paper_table(number: int | str) -> Path:
    """The file of one of the paper's tables; of what the paper lacks there is none."""
    return PAPER / f"table{number}.csv"


def read_paper(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Read the rows of a file of :func:`paper_table` as text, so that the printed digits are kept.

    Raises:
        DataError: if the file is missing or no CSV.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        if not rows or any(None in row or None in row.values() for row in rows):
            raise ValueError("it is empty, or its rows differ in length")
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"The paper's numbers cannot be read from '{path}': {first_line(error)}. The files "
            "belong to this repository; restore them from there."
        ) from error
    return rows
