"""Faults of disks: full, full for a while, and read-only."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil
from stages import STAGES, InAStage, Struck, remove


class FullDisk(InAStage):
    """Run on a small file system, or else with a limit on the size of files; then give room."""

    name = "disk full"

    def strike(self, tree, hurry):
        """Leave a random part of the room that the stage needs."""
        left = int(self.share * hurry * _room(tree, self.stage))
        remove(tree, self.stage)
        if _on_tmpfs(tree.folder):
            with _filled(tree.folder, left):
                status, output = tree.run()
            how = f"{left} bytes left"
        else:
            limit = max(1000, left // 4)
            status, output = tree.run(
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            )
            how = f"no file above {limit} bytes"
        return Struck(status, output, f"{self.what}, {how}", says=True)


class FullForAWhile(InAStage):
    """Fill the disk while the pipeline is at work, and give room again ten seconds later."""

    name = "disk full for ten seconds"

    def strike(self, tree, hurry):
        """Fill it at a random moment, which may be before anything is written."""
        remove(tree, self.stage)
        process = tree.start()
        time.sleep(8 * self.share * hurry)
        missed = process.poll() is not None
        with _filled(tree.folder, 0):
            until = time.monotonic() + 10
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.1)
        status, output = tree.finish(process)
        return Struck(status, output, self.what, says=True, missed=missed)


def _room(tree, stage):
    """How much a stage writes, in bytes, with the 100 kB or so of Snakemake and the logs."""
    paths = [tree.folder / name for name in STAGES[stage]]
    files = [p for path in paths for p in (path, *path.rglob("*")) if p.is_file()]
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in files) + 100_000


@contextlib.contextmanager
def _filled(folder, left):
    """A disk with so many bytes left; what becomes free in the meantime is filled as well."""
    done = threading.Event()
    filler = folder / ".filler"

    def fill(file):
        while True:
            used = os.fstat(file.fileno()).st_size
            free = shutil.disk_usage(folder).free - left
            if free > 0 and (left == 0 or used == 0):
                with contextlib.suppress(OSError):  # somebody was faster
                    os.posix_fallocate(file.fileno(), used, max(4096, free // 4096 * 4096))
            if done.wait(0.05):
                return

    with filler.open("wb") as file:
        thread = threading.Thread(target=fill, args=(file,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            filler.unlink(missing_ok=True)


class ReadOnly(InAStage):
    """Make a folder of the run read-only; then writable again."""

    name = "read-only folder"

    def strike(self, tree, hurry):
        """Choose a folder in which the stage has to write, or one above it."""
        folders = {tree.folder / name for name in ("", ".snakemake", "results", "results/logs")}
        for name in STAGES[self.stage]:
            folder = (tree.folder / name).parent
            folders |= {folder, *(p for p in folder.parents if tree.folder in p.parents)}
        remove(tree, self.stage)
        names = sorted(str(folder) for folder in folders)
        folder = Path(names[int(self.share * len(names))])
        folder.chmod(0o555)
        status, output = tree.run(prefix=without_the_rights_of_root())
        # Snakemake removes empty folders of products, if what is above may be written.
        with contextlib.suppress(FileNotFoundError):
            folder.chmod(0o755)
        where = folder.relative_to(tree.folder)
        return Struck(status, output, f"{self.what}: {where}", says=True)


@functools.cache
def without_the_rights_of_root():
    """What to put before a command so that root too may not write where it is forbidden."""
    if os.geteuid() != 0:
        return ()
    words = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        try:
            done = subprocess.run([*words, "touch", f"{folder}/x"], check=False, stderr=-3)
        except OSError:
            return None
    return words if done.returncode != 0 else None


def _on_tmpfs(folder):
    return any(p.mountpoint == str(folder.resolve()) for p in psutil.disk_partitions(all=True))


@contextlib.contextmanager
def small_disk(folder, megabytes=64):
    """Mount a file system of its own on a folder; yields whether that is possible here."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            # A process that was just killed may still hold it.
            for how in ([], [], ["--lazy"]):
                if subprocess.run(["umount", *how, str(folder)], check=False).returncode == 0:
                    break
                time.sleep(1)
