"""The GPUs of a machine without a scheduler, dealt out to the jobs of the workflow side by side.

A job takes a place on each card that it was given, and keeps it until its process ends, however it
ends: a place is a POSIX lock of some bytes of a file of that card. A card has one place, or as many
as it takes where the workflow was given more places than there are cards.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lwdna.errors import ConfigError, LwdnaError
from lwdna.io.atomic import cannot_write, try_lock

logger = logging.getLogger(__name__)

PLACES = "LWDNA_GPU_PLACES"
"""The variable by which the workflow has cards dealt out: how many places its jobs may have in all,
0 if it does not say. It is not set on a cluster, whose scheduler deals out cards itself."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The cards of which CUDA knows, by number or UUID: before, the pool; after, what a job has."""

_LOOK_EVERY_S = 1.0
"""Between two looks of a job that waits."""

_LENGTH = 2**20
"""Bytes of a card, which its places share; the file itself is empty."""


@dataclass(frozen=True)
class Card:
    """A GPU, or a part of one that counts as one (MIG)."""

    word: str
    """What CUDA calls it: its number, or its UUID."""
    name: str
    """Its UUID where it is known, by which all runs on the machine know it."""


@contextmanager
def dealt(accelerator: str, devices: int) -> Iterator[None]:
    """Have a place on as many cards as a job asks for, and see no others; wait for them if need be.

    Nothing is done for jobs on the CPU, outside of the workflow, on a cluster, in the further
    processes of a training on several devices, or where no card is known. CUDA must not have been
    used before.

    Args:
        accelerator: as of :func:`lwdna.training.devices.pick_accelerator`.
        devices: how many cards.

    Raises:
        ConfigError: if there are fewer.
        LwdnaError: if places cannot be locked.
    """
    places = os.environ.get(PLACES)
    cards = _pool() if places and accelerator in {"gpu", "cuda"} else []
    if not cards or "LOCAL_RANK" in os.environ:
        yield
        return
    names = ", ".join(card.word for card in cards)
    if devices > len(cards):
        raise ConfigError(
            f"A job was given {devices} GPUs, but this machine has {len(cards)} for it ({names}); "
            "give it fewer, or name more in CUDA_VISIBLE_DEVICES."
        )
    share = max(1, math.ceil(int(places or 0) / len(cards)))
    with ExitStack() as held:
        folder = _folder(held)
        mine = _take(cards, devices, share, folder, held)
        if mine is None:
            logger.warning(
                "Other jobs have the GPUs of this machine (%s); waiting until %d of them can be "
                "had.",
                names,
                devices,
            )
            while mine is None:
                time.sleep(_LOOK_EVERY_S)
                mine = _take(cards, devices, share, folder, held)
        words = ",".join(card.word for card in mine)
        logger.info("This job has GPU %s of %s.", words, names)
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = words
        try:
            yield
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def _pool() -> list[Card]:
    """The cards that may be dealt out: those of CUDA_VISIBLE_DEVICES, else all of the machine."""
    gpus = _listed()
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return [Card(name, name) for parts in gpus.values() for name in parts]
    cards: list[Card] = []
    for word in (word.strip() for word in visible.split(",")):
        if word in {"", "-1"}:
            break  # as CUDA reads it: what follows is not seen
        names = [name for parts in gpus.values() for name in parts if name.startswith(word)]
        # Of a GPU with parts, its number means the first.
        name = next(iter(gpus.get(word, names)), word)
        if name not in {card.name for card in cards}:
            cards.append(Card(word, name))
    return cards


def _listed() -> dict[str, list[str]]:
    """By number, the UUID of each GPU of NVIDIA, or those of its parts; empty if unknown."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "-L"], check=True, capture_output=True, text=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    gpus: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    for line in said.splitlines():
        number = re.match(r"GPU (\d+):", line)
        uuid = re.search(r"UUID: ([\w-]+)", line)
        if uuid is None:
            continue
        if number is not None:
            here = number[1]
            whole[here], gpus[here] = [uuid[1]], []
        elif gpus:
            gpus[here].append(uuid[1])
    return {number: gpus[number] or whole[number] for number in gpus}


def _folder(held: ExitStack) -> Path:
    """This user's folder of locks on this machine, safe from who else may write there."""
    folder = Path(tempfile.gettempdir()) / f"lwdna-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise LwdnaError(
                f"'{folder}' is another user's, or no folder; remove it, or set TMPDIR to a folder "
                "of your own."
            )
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from error
    held.callback(os.close, descriptor)
    # systemd-tmpfiles, which clears /tmp of what is old, leaves alone what is locked like this.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return folder


def _take(
    cards: Sequence[Card], wanted: int, share: int, folder: Path, held: ExitStack
) -> list[Card] | None:
    """Take a place on each of some cards, those with the most left; None if too few have any.

    All or none are taken, so that two jobs never wait for one another.

    Args:
        cards: the pool.
        wanted: how many of them.
        share: how many places a card has.
        folder: of the locks.
        held: what keeps the places.
    """
    places = [
        (number * _LENGTH // share, (number + 1) * _LENGTH // share) for number in range(share)
    ]
    try:
        with (folder / "dealing").open("a") as dealing, ExitStack() as others:
            fcntl.lockf(dealing, fcntl.LOCK_EX)  # whoever else deals is done at once
            files: dict[Card, TextIO] = {}
            free: dict[Card, list[tuple[int, int]]] = {}
            for card in cards:
                name = re.sub(r"[^\w-]", "_", card.name)
                files[card] = others.enter_context((folder / f"{name}.lock").open("a"))
                free[card] = [place for place in places if try_lock(files[card], *place)]
            best = sorted((card for card in cards if free[card]), key=lambda c: -len(free[c]))
            chosen = best[:wanted]
            if len(chosen) < wanted:
                return None
            others.pop_all()
            for card, file in files.items():
                if card not in chosen:
                    file.close()
                    continue
                held.callback(file.close)
                for start, end in free[card][1:]:
                    fcntl.lockf(file, fcntl.LOCK_UN, end - start, start)
            return [card for card in cards if card in chosen]
    except OSError as error:
        raise cannot_write(folder, error) from error
