"""Logging and progress of the steps: a bar on a terminal, one line every few seconds elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from lwdna.errors import LwdnaError

logger = logging.getLogger(__name__)

KEEP = "LWDNA_KEEP_LOGS"
"""Name of an environment variable: if it is set, a log that Snakemake removes before a step runs
again keeps a hidden second name, and is written on."""

LINE_INTERVAL_S = 5.0
"""Seconds between two progress lines where the output is not a terminal."""


class _Lines:
    """A text stream that turns the redrawing of a bar into lines of their own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        if line:
            self._stream.write(line + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class _AroundBars(logging.StreamHandler[TextIO]):
    """Writes records on lines of their own, above a bar that is drawn on the same terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and draw the bar again."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def setup(log: str | None = None) -> None:
    """Send log records and warnings to standard error and, if given, to the file ``log``."""
    handlers: list[logging.Handler] = [_AroundBars()]
    again = False
    if log is not None:
        try:
            again = _brought_back(Path(log)) if os.environ.get(KEEP) else False
            handlers.append(logging.FileHandler(log, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise LwdnaError(
                f"Cannot write the log '{log}': {error.strerror}; name a file in a folder that "
                "exists and is writable."
            ) from error
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=handlers,
        force=True,
    )
    # They report which program writes an animation, and each part of a font that a PDF holds.
    for chatty in ("matplotlib.animation", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    if again:
        logger.info("Run again on %s; what is above was said before.", f"{datetime.now():%Y-%m-%d}")


def _brought_back(log: Path) -> bool:
    """Whether a log of an earlier run goes on, under its hidden second name if it is removed."""
    kept = log.with_name(f".{log.name}")
    with suppress(OSError):  # a file system without hard links: each run has a log of its own
        if not log.exists() and kept.exists():
            os.link(kept, log)
        log.touch()
        if not (kept.exists() and kept.samefile(log)):
            kept.unlink(missing_ok=True)
            os.link(log, kept)
    return log.exists() and log.stat().st_size > 0


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    initial: int = 0,
    description: str,
    unit: str = "it",
    scale: bool = False,
) -> tqdm[Any]:
    """A tqdm bar with time left; ``scale`` writes k, M, G; ``set_postfix`` is for loss, metric."""
    terminal = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        unit_scale=scale,
        file=sys.stderr if terminal else _Lines(sys.stderr),
        mininterval=0.2 if terminal else LINE_INTERVAL_S,
        ncols=None if terminal else 120,
        ascii=not terminal,
    )
