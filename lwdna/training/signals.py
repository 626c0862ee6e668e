"""Signals that ask a training to stop: noted, and acted upon when the step at work is complete."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
    """Notes SIGTERM, SIGUSR1 and SIGINT instead of dying of them; a second Ctrl-C acts at once.

    A context manager that puts the former handlers back. Outside the main thread, where Python
    cannot handle signals, it does nothing.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self.signum: int | None = None
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signum is not None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self.requested:
            signal.default_int_handler(signum, frame)
        self.signum = signum


def ignore_stop_signals(worker: int) -> None:
    """Leave signals that reach the whole process group to the process that trains.

    A worker that died of one would break the step that is to be completed.
    """
    for number in StopRequest.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
