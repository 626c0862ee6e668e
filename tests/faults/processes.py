"""Faults of processes: killed, paused, orphaned for good, and started twice."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
from pipeline import MARK
from stages import CHECKPOINTS, InAStage, Struck, remove, some_stage

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Kill:
    """Send a signal to a process of the pipeline at a random moment."""

    def __init__(self, rng, victim, light=False):
        self.victim, self.signal = victim, rng.choice(SIGNALS)
        self.stage = rng.choice(list(CHECKPOINTS)) if victim == "worker" else some_stage(rng, light)
        self.share, self.orphans = rng.random(), rng.random() < 0.5
        if victim == "worker" and self.signal == signal.SIGINT:
            self.signal = signal.SIGKILL
        self.what = f"{self.victim} by {self.signal.name} in '{self.stage}'"

    def strike(self, tree, hurry):
        """Wait for a victim and then a share of the time that it has; ``hurry`` shortens this."""
        remove(tree, self.stage)
        process = tree.start()
        hit = self._wait_and_hit(process, process.pid, hurry)
        status, output = tree.finish(process)
        if not self.orphans:
            tree.wait_for_orphans()
        return Struck(status, output, f"{self.what}: {hit}", missed=hit is None)

    def _wait_and_hit(self, process, main, hurry):
        """Send the signal, and say to which step; None if all were too fast."""
        # Seconds that the work takes here after there is such a process, at least.
        span = {"snakemake": 9, "everything": 9, "worker": 0.5, "job": 4}[self.victim]
        moment = hit = None
        while process.poll() is None and psutil.pid_exists(main) and hit is None:
            found = self._candidates(main)
            if found and moment is None:
                moment = time.monotonic() + span * self.share * hurry
            if found and time.monotonic() >= moment:
                hit = self._send(main, found[int(self.share * 1000) % len(found)])
            time.sleep(0.02)
        return hit

    def _candidates(self, main):
        try:
            below = psutil.Process(main).children(recursive=True)
            if self.victim in {"snakemake", "everything"}:
                first = psutil.Process(main)
                return [first] if first.status() != psutil.STATUS_ZOMBIE else []
            # A job's shell replaces itself by the job's Python: they are one process. Its workers
            # are copies of it under a name of their own.
            ours = [p for p in below if "lwdna" in _command(p) and _name(p) != "bash"]
            jobs = [p for p in ours if p.ppid() == main]
            pids = {p.pid for p in jobs}
            return [p for p in below if p.ppid() in pids] if self.victim == "worker" else jobs
        except psutil.Error:
            return []

    def _send(self, main, victim):
        command = _command(victim)
        step = re.search(r"\.log '?(\w[\w-]*)", command)
        try:
            self._signal(main, victim)
        except (psutil.Error, ProcessLookupError):
            return None
        return step.group(1) if step else "struck"

    def _signal(self, main, victim):
        if self.victim == "everything":
            os.killpg(main, self.signal)
        else:
            victim.send_signal(self.signal)


class Pause(Kill):
    """Stop a process of the pipeline for twenty seconds, then let it go on."""

    def __init__(self, rng, light=False):
        victims = ["snakemake", "job", "everything", *([] if light else ["worker"])]
        super().__init__(rng, rng.choice(victims), light)
        self.orphans = False
        self.what = f"{self.victim} stopped in '{self.stage}'"

    def _signal(self, main, victim):
        stopped = [psutil.Process(main), *psutil.Process(main).children(recursive=True)]
        for process in stopped if self.victim == "everything" else [victim]:
            process.suspend()
        time.sleep(20)
        for process in stopped if self.victim == "everything" else [victim]:
            process.resume()


FIRST = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans below become its children
status, mark, *command = sys.argv[1:]
name, _, value = mark.partition("=")
child = subprocess.Popen(command, env=os.environ | {name: value}, start_new_session=True)
with open(status + ".pid", "w") as file:
    file.write(str(child.pid))
os.rename(status + ".pid", status + ".started")
code = child.wait()
with open(status + ".code", "w") as file:
    file.write(str(code))
os.rename(status + ".code", status)
time.sleep(3600)
"""
"""A first process as some containers have it: it waits for the one that it started, and for no
other, so that those which lost their parents stay as zombies."""


class NeverReaped(Kill):
    """Kill the main process, or all, where nobody waits for what has lost its parent."""

    def __init__(self, rng, light=False):
        super().__init__(rng, rng.choice(["snakemake", "everything"]), light)
        self.what = f"{self.what}, never reaped"

    def strike(self, tree, hurry):
        """As above; the first process stays until the tree has been compared."""
        remove(tree, self.stage)
        note = tree.folder.parent / f"{tree.folder.name}.first"
        started = Path(f"{note}.started")
        for path in (note, started):
            path.unlink(missing_ok=True)
        prefix = (sys.executable, "-c", FIRST, str(note), f"{MARK}={tree.folder}")
        process = tree.start(prefix=prefix, mark=False)
        tree.holders.append(process)
        while not started.exists() and process.poll() is None:
            time.sleep(0.02)
        hit = self._wait_and_hit(process, int(started.read_text()), hurry)
        while not note.exists() and process.poll() is None:
            time.sleep(0.05)
        status = int(note.read_text())
        for path in (note, started):
            path.unlink()
        with process.log as log:
            log.seek(0)
            output = log.read()
        if not self.orphans:
            tree.wait_for_orphans()
        return Struck(status, output, f"{self.what}: {hit}", missed=hit is None)


class Twice(InAStage):
    """Start the pipeline twice within a second."""

    name = "started twice"

    def strike(self, tree, hurry):
        """The one that comes too late must say so, and the other do its work."""
        remove(tree, self.stage)
        processes = [tree.start()]
        time.sleep(self.share)
        processes.append(tree.start())
        ends = [tree.finish(process) for process in processes]
        output = "\n".join(output for _, output in ends)
        # The worst: 0 only if both did well.
        status = next((status for status, _ in ends if status != 0), 0)
        return Struck(status, output, f"{self.what} after {self.share:.2f} s", says=True)


def _command(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _name(process):
    try:
        return process.name()
    except psutil.Error:
        return ""
