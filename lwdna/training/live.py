"""What is seen of a training while it runs: its history so far, a line an epoch, TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lwdna.errors import ConfigError
from lwdna.io.checksummed_csv import write_rows
from lwdna.training.checkpoints import Row

logger = logging.getLogger(__name__)

HISTORY = "history.csv"
"""Name of the history so far, in the folder that a training is given for its checkpoints."""

_PARTS = ("train", "test")
"""What the columns of a history begin with."""


class Live:
    """What the first process of a training shows of it, from when it begins or goes on.

    An earlier training with other settings leaves nothing that could be taken for this one.

    Args:
        folder: for the history so far and the events of TensorBoard, of this training alone.
        description: what the training is called.
        epochs: how many there will be, at most.
        history: the epochs that are done.
        tensorboard: whether to write events for TensorBoard as well.

    Raises:
        ConfigError: if TensorBoard is not installed.
        LwdnaError: if the history cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        description: str,
        epochs: int,
        history: Sequence[Row],
        *,
        tensorboard: bool = False,
    ) -> None:
        self._path = folder / HISTORY
        self._description, self._epochs = description, epochs
        self._board = _Board(folder, history) if tensorboard else None
        if history:
            write_rows(self._path, history)
        else:
            self._path.unlink(missing_ok=True)
        self._since = time.monotonic()

    def after_epoch(self, history: Sequence[Row]) -> None:
        """Show the epoch just done, the last of ``history``.

        Raises:
            LwdnaError: if the history cannot be written.
        """
        write_rows(self._path, history)
        now = time.monotonic()
        row = history[-1]
        logger.info(
            "%s: epoch %d of %d in %.1f s, lr %.4g: %s.",
            self._description,
            row["epoch"],
            self._epochs,
            now - self._since,
            row["lr"],
            "; ".join(filter(None, (_said(row, part) for part in _PARTS))),
        )
        if self._board is not None:
            self._board.add([row])
        self._since = now


class _Board:
    """Events for TensorBoard, which takes the folder's name for the name of the training."""

    def __init__(self, folder: Path, history: Sequence[Row]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - only if asked for
        except ImportError as error:
            raise ConfigError(
                "Events for TensorBoard were asked for, but it is not installed; run `pip install "
                "tensorboard`, or leave 'tensorboard' out."
            ) from error
        # All epochs are written anew: the last may have been lost with a killed process.
        for former in folder.glob("events.out.tfevents.*"):
            former.unlink(missing_ok=True)
        self._writer = SummaryWriter(str(folder))
        self.add(history)

    def add(self, rows: Iterable[Row]) -> None:
        """Write some epochs, so that they can be seen at once."""
        for row in rows:
            for column, value in row.items():
                if column != "epoch" and value is not None:
                    part, _, name = column.partition("_")
                    # Training and test of a quantity stand side by side.
                    self._writer.add_scalar(f"{name}/{part}" if name else part, value, row["epoch"])
        self._writer.flush()


def _said(row: Row, part: str) -> str:
    """The columns of a part that have a value, as text; empty if there are none."""
    prefix = f"{part}_"
    values = {
        column.removeprefix(prefix): value
        for column, value in row.items()
        if column.startswith(prefix) and value is not None
    }
    said = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return f"{part} {said}" if said else ""
