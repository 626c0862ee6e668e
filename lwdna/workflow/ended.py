"""Steps that end by a signal: Snakemake says it at the end of their command, we in a sentence."""

from __future__ import annotations

import logging
import re
import signal

from snakemake.logging import logger

_DIED = re.compile(r"died with <Signals\.(SIG\w+): \d+>|returned non-zero exit status (1[2-9]\d)\.")
"""What an error says of a process that a signal has ended; a shell adds 128 to its number."""

_CAUSES = {
    "SIGKILL": "by the system where memory is full, by a scheduler, or by hand; if it was memory, "
    "let fewer jobs share it",
    "SIGTERM": "by a scheduler whose time was up, or by hand",
    "SIGINT": "by Ctrl-C",
    "SIGSEGV": "by a fault in a library",
    "SIGBUS": "by a fault in a library, or a file that vanished while it was read",
    "SIGXCPU": "by a limit of its time",
    "SIGXFSZ": "by a limit of the size of files",
}
"""Who sends a signal, and what to do."""

_NAMES = {number.value: number.name for number in signal.Signals}


def say_signals() -> None:
    """Have Snakemake say in a sentence that a step was ended by a signal, after its own error."""
    if not any(isinstance(handler, _Signals) for handler in logger.handlers):
        logger.addHandler(_Signals(logging.ERROR))


def sentence_of(error: str) -> str | None:
    """What to say of an error of Snakemake's; None if no signal has ended a step."""
    found = _DIED.search(error)
    if found is None:
        return None
    name = found[1] or _NAMES.get(int(found[2]) - 128)
    if name is None:
        return None
    cause = _CAUSES.get(name, "from outside")
    return (
        f"The step was ended by the signal {name}: {cause}. Run the same command again: it goes on "
        "from what there is."
    )


class _Signals(logging.Handler):
    """Adds a sentence to an error that a signal has caused."""

    def emit(self, record: logging.LogRecord) -> None:
        """Look at an error."""
        said = sentence_of(record.getMessage())
        if said is not None:
            logger.error(said)
