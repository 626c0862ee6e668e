"""Many small trainings side by side: processes on the CPU and, if told so, with the GPU."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd
import torch

from lwdna.io.logs import progress

logger = logging.getLogger("starts")


class Unit(Protocol):
    """One thing to do in a process; hashable."""

    def needs(self) -> Sequence[Unit]:
        """What must be done before."""


U = TypeVar("U", bound=Unit)
Choose = Callable[[Sequence[U], str], U | None]


class Table:
    """A CSV that rows are appended to, whole."""

    def __init__(self, path: Path, header: str) -> None:
        self.path = path
        if not path.exists():
            path.write_text(header + "\n")

    def append(self, rows: Sequence[str]) -> None:
        """Append rows in one write."""
        if rows:
            with self.path.open("a") as file:
                file.write("".join(row + "\n" for row in rows))
                file.flush()
                os.fsync(file.fileno())

    def read(self, keys: Sequence[str]) -> pd.DataFrame:
        """The rows, the last of those with the same keys."""
        return pd.read_csv(self.path).drop_duplicates(keys, keep="last")


class Pools:
    """Processes with one thread each, by device; their messages go into files."""

    def __init__(self, folder: Path, jobs: Mapping[str, int]) -> None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = "1"  # for the processes
        self.jobs = {device: n for device, n in jobs.items() if n > 0}
        self.running: dict[Future[Any], tuple[Any, str]] = {}
        self.pools = {
            device: ProcessPoolExecutor(
                n, mp_context=get_context("spawn"), initializer=_quietly, initargs=(folder,)
            )
            for device, n in self.jobs.items()
        }

    def free(self) -> list[str]:
        """The devices with a process that has nothing to do."""
        busy = [device for _, device in self.running.values()]
        return [device for device, n in self.jobs.items() if busy.count(device) < n]

    def start(self, run: Callable[..., Any], unit: Any, device: str) -> bool:
        """Begin a unit, unless the processes of the device have died."""
        try:
            self.running[self.pools[device].submit(run, unit, device)] = (unit, device)
        except BrokenProcessPool as error:
            logger.error("Nothing more is done on %s: %s", device, error)
            self.jobs[device] = 0
            return False
        return True

    def end(self) -> None:
        """End the processes, whatever they do; a training has checkpoints."""
        for pool in self.pools.values():
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()


def _quietly(folder: Path) -> None:
    torch.set_num_threads(1)
    log = os.open(folder / f"process-{os.getpid()}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 2)


def work(
    units: Sequence[U],
    pools: Pools,
    choose: Choose[U],
    *,
    run: Callable[[U, str], Any],
    keep: Callable[[U, Any], None],
    done: set[U],
    seconds: float,
) -> list[U]:
    """Do units in processes, as soon as what each needs is done, until all are or time is over.

    Args:
        units: in the order of preference.
        pools: to do them in.
        choose: the next of those that are ready, for a device; None for none.
        run: called in a process with a unit and the device.
        keep: called here with a unit and what ``run`` has returned.
        done: what is done already; grows.
        seconds: after these, what is still at work is ended.

    Returns:
        The units that were not done.
    """
    waiting, end = list(units), time.monotonic() + seconds
    with progress(total=len(units), description="starts", unit="unit") as bar:
        while (waiting or pools.running) and time.monotonic() < end:
            ready = [unit for unit in waiting if done.issuperset(unit.needs())]
            for device in pools.free():
                if (unit := choose(ready, device)) is not None and pools.start(run, unit, device):
                    ready.remove(unit)
                    waiting.remove(unit)
            if any(choose(ready, device) is not None for device in pools.free()):
                continue
            if not pools.running:
                break
            left = max(0.0, end - time.monotonic())
            finished, _ = wait(pools.running, min(left, 5), return_when=FIRST_COMPLETED)
            for future in finished:
                unit, _ = pools.running.pop(future)
                bar.update()
                if (error := future.exception()) is not None:
                    logger.error("%s failed: %r", unit, error)
                    continue
                keep(unit, future.result())
                done.add(unit)
    pools.end()
    return [unit for unit in units if unit not in done]
