"""Sub-networks measured one by one by a search that a signal may stop, and what it keeps of it."""

from __future__ import annotations

import csv
import io
import logging
import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

from lwdna.errors import DataError
from lwdna.graph.channels import Mask
from lwdna.io.checksummed_csv import read_csv, write_rows
from lwdna.io.logs import progress
from lwdna.tasks.task import Task
from lwdna.tasks.trees import Tree
from lwdna.training.signals import StopRequest

logger = logging.getLogger(__name__)

Measure: TypeAlias = Callable[[Mask], tuple[float, float]]
"""Error and loss of the sub-network of a mask, ``(elements,)``: the less, the better."""

Measured: TypeAlias = Callable[[Mask, int, str], tuple[float, float]]
"""The same, given also its FLOPs and in words what is tried; what is no number is infinite."""

Row = TypeVar("Row")


@contextmanager
def measuring(
    measure: Measure, description: str, path: Path, done: Callable[[], str]
) -> Iterator[Measured]:
    """What measures sub-networks, shows how far it is, and leaves if a signal has come.

    Args:
        measure: of a sub-network.
        description: name of the progress bar.
        path: where the search keeps what it has measured.
        done: says in words how far it is, such as "3 removals".

    Raises:
        SystemExit: on a call after a signal, with 128 + its number.
    """
    with StopRequest() as stop, progress(description=description, unit="network") as bar:

        def measured(mask: Mask, flops: int, tried: str) -> tuple[float, float]:
            if stop.requested:
                logger.warning(
                    "%s: stopped by a signal after %s; saved to '%s'. Run the command again to go "
                    "on.",
                    description,
                    done(),
                    path,
                )
                raise SystemExit(128 + (stop.signum or signal.SIGTERM))
            error, loss = map(_comparable, measure(mask))
            said = {"MFLOPs": f"{flops / 1e6:.4g}", "error": f"{error:.4g}", "tried": tried}
            bar.set_postfix(said, refresh=False)
            bar.update()
            return error, loss

        yield measured


def measures(task: Task, output: Tree, targets: Tree, images: int) -> tuple[float, float]:
    """Error and loss of what a network made of some images; of what restores, the loss twice.

    Args:
        task: of the images.
        output: (B, ...) or a tree of such.
        targets: (B, ...) or a tree of such.
        images: in the batch, B.
    """
    loss = float(task.loss(output, targets))
    if task.kind.restores:
        return loss, loss
    # The main measure of what is classified is an error.
    return float(task.metrics(output, targets)[task.metric_names[0]]) / images, loss


def keep(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep rows of numbers by column, atomically and with a checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, rows)


def kept(path: Path, read: Callable[[list[float]], Row]) -> list[Row]:
    """The rows kept in a file; none where there is no file, or it is damaged.

    Args:
        path: of the file.
        read: makes something of the numbers of a row; raises ValueError for what is no such row.
    """
    if not path.exists():
        return []
    try:
        _, *rows = csv.reader(io.StringIO(read_csv(path)))
        return [read([float(cell) for cell in row]) for row in rows]
    except (DataError, OSError, ValueError) as error:
        logger.warning("'%s' cannot be read (%s); the search begins anew.", path, error)
        return []


def _comparable(value: float) -> float:
    """A measure; what is no number is the worst."""
    return math.inf if math.isnan(value) else float(value)
