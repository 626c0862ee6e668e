"""What a wrong input comes to: a sentence, or what should not be."""

import contextlib
import logging
import os
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lwdna.__main__ import lwdna
from lwdna.errors import LwdnaError, first_line, says_memory_is_full

LIMIT = 30
"""Seconds of work after which a command is taken to hang; most need hundredths of one."""

PATIENCE = 300
"""Seconds on the clock after which one hangs that does not work at all."""

LONGEST = 1200
"""Characters of a sentence that somebody reads."""

MEMORY = 6 * 2**30
"""What a command may take above what the process has, in bytes."""

ALL = os.environ.get("LWDNA_TEST_INPUTS") == "1"
"""Whether all wrong inputs are tried, or as many as there is time for in every test."""


class HangError(BaseException):
    """What no ``except Exception`` of a library may swallow."""


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    kind: str
    """"sentence", "silence", "hang", or "foreign" for an exception that is none of ours."""
    said: str
    """The sentence, or the exception."""

    def problem(self, *names: str) -> str | None:
        """What is wrong with it where a sentence with one of some names is due; None if nothing."""
        if self.kind != "sentence":
            return f"{self.kind}: {self.said[:300]}"
        if len(self.said) > LONGEST:
            return f"a sentence of {len(self.said)} characters: {self.said[:200]}"
        if names and not any(name in self.said for name in names):
            return f"a sentence that has none of {names}: {self.said[:300]}"
        return None


def outcome_of(call: Callable[[], Any]) -> Outcome:
    """What a call comes to."""
    with bounded():
        try:
            call()
        except HangError:
            return Outcome("hang", f"no end after {LIMIT} s of work")
        except (LwdnaError, click.UsageError) as error:
            text = error.format_message() if isinstance(error, click.UsageError) else str(error)
            return Outcome("sentence", text)
        except BaseException as error:
            if isinstance(error, Exception) and says_memory_is_full(error):
                return Outcome("sentence", f"The memory is full: {first_line(error)}")
            return Outcome("foreign", f"{type(error).__name__}: {error}")
    return Outcome("silence", "")


def command(*words: str) -> Outcome:
    """What a command of the package comes to, as its user is told."""

    def call() -> None:
        # As the front door does, whose exit status is 0 only if nothing was raised.
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            lwdna.main(list(words), prog_name="lwdna", standalone_mode=False)

    before = logging.root.handlers[:]
    try:
        return outcome_of(call)
    finally:
        logging.root.handlers[:] = before


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """A limit on time and on memory."""

    def stop(_number: int, _frame: Any) -> None:
        raise HangError

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    former = signal.signal(signal.SIGALRM, stop)
    worked = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    signal.alarm(PATIENCE)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, worked)
        signal.signal(signal.SIGALRM, former)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
