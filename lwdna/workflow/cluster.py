"""How a run of the workflow begins and ends: an empty queue, and signals that reach a training."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from lwdna.errors import LwdnaError

logger = logging.getLogger(__name__)

JOB_NAME = re.compile(r"lwdna_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Names of the workflow's jobs: the ``slurm-jobname-prefix`` of the profile, and the run's UUID."""

_PATIENCE_S = 300
"""How long cancelled jobs may take to end. SLURM gives them ``KillWait``, 30 s by default."""


def before_planning(
    workflow: Any,
    begin: Callable[[], None],
    *,
    planned: Callable[[], None],
    foreseen: Callable[[], None],
) -> None:
    """Have something done in every run of a workflow, before it looks at what there is to do.

    Snakemake's ``onstart`` comes too late, when the jobs are planned; and that of a module is not
    called. It is done neither where nothing is run (``--dry-run``, ``--lint``, ``--report``,
    ``--unlock``, ...), nor in the processes of jobs. A dry run has something done at its end.

    Args:
        workflow: Snakemake's ``workflow``, in a Snakefile, which may be that of a module.
        begin: what is to be done; an exception ends the run.
        planned: what is to be done when the jobs are planned and none has begun; the same.
        foreseen: what is to be done when a dry run has planned them.
    """
    execute = workflow.execute

    @functools.wraps(execute)
    def executed(*arguments: Any, executor_plugin: Any, **settings: Any) -> Any:
        if workflow.is_main_process and not executor_plugin.common_settings.dryrun_exec:
            begin()
            onstart = workflow._onstart

            def started(log: Any) -> None:
                planned()
                onstart(log)

            workflow._onstart = started
        done = execute(*arguments, executor_plugin=executor_plugin, **settings)
        if workflow.is_main_process and executor_plugin.common_settings.dryrun_exec:
            foreseen()
        return done

    workflow.execute = executed


def relay_signals() -> None:
    """Pass SIGTERM on to every process under this one, for good; take SIGUSR1 for a SIGTERM.

    A scheduler signals the process that it started itself, which is Snakemake: where SLURM keeps
    processes in cgroups, the training beneath is not told that its time is up, and is killed some
    seconds later. Snakemake itself waits for its jobs on SIGTERM, and dies of SIGUSR1.

    Only for a process whose jobs are to end with it; to be called in its main thread.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # Snakemake sets a handler of its own for SIGTERM later: this way both are served.
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    threading.Thread(target=_pass_on, args=(receiver,), name="relay", daemon=True).start()


def _pass_on(receiver: socket.socket) -> None:
    while numbers := receiver.recv(64):
        if signal.SIGTERM in numbers:
            for process in _below():
                with suppress(psutil.NoSuchProcess):  # it has just ended
                    process.terminate()


def _below() -> list[psutil.Process]:
    """The processes under this one; none if it waits for SLURM, which tells the job's by itself."""
    processes: list[psutil.Process] = psutil.Process().children(recursive=True)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            # On SIGTERM, srun kills what it has started without a warning.
            if process.name() == "srun":
                return []
    return processes


def end_former_jobs(folder: str | os.PathLike[str], *, alone: bool) -> None:
    """Cancel the jobs that an earlier run in a folder left in SLURM's queue; wait for their end.

    The earlier run must have ended: killed, or lost with its machine. Its jobs would otherwise do
    the same work a second time, or hold a GPU while they wait for one another. Trainings save
    their state when they are cancelled. Where there is no queue to be read, nothing is done: the
    locks of :func:`lwdna.io.locks.lock` keep the jobs apart.

    Args:
        folder: where the workflow works.
        alone: whether it is certain that no other run is at work there.

    Raises:
        LwdnaError: if a job does not end, or might be that of another run.
    """
    here = Path(folder).resolve()
    jobs = _jobs_in(here)
    if not jobs:
        return
    if not alone:
        raise LwdnaError(
            f"The jobs {', '.join(jobs)} in the queue work in '{here}', and its file system has no "
            "locks to tell whether another run has sent them; end that run, or, if there is none, "
            f"cancel them (scancel {' '.join(jobs)}), and start again."
        )
    logger.warning(
        "An earlier run left %d job(s) in the queue (%s); they are cancelled and started again.",
        len(jobs),
        ", ".join(jobs),
    )
    # An error of scancel may only say that a job has just ended; the queue tells.
    subprocess.run(["scancel", *jobs], check=False, capture_output=True)
    deadline = time.monotonic() + _PATIENCE_S
    while _jobs_in(here) != []:
        if time.monotonic() > deadline:
            raise LwdnaError(
                f"The jobs {', '.join(jobs)} of an earlier run in '{here}' do not end; wait until "
                "'squeue' no longer lists them, or ask the administrators of the cluster, and "
                "start again."
            )
        time.sleep(1)


def _jobs_in(folder: Path) -> list[str] | None:
    """The numbers of this user's unfinished jobs of the workflow that work in a folder.

    None if they are not known: there is no SLURM here, or it does not answer.
    """
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--me", "--noheader", "--format=%A|%j|%Z"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        logger.info("SLURM does not list the jobs in its queue: %s", done.stderr.strip())
        return None
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    return [
        number
        for number, name, where in (row for row in rows if len(row) == 3)
        if JOB_NAME.fullmatch(name) and Path(where).resolve() == folder
    ]
