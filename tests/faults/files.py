"""Faults of files: truncated, changed, older, and dated in the future."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import psutil
from pipeline import ARCHIVE
from stages import CHECKPOINTS, LIGHT, SUBJECTS, InAStage, Struck, remove


class Damage:
    """Truncate a file, or flip bits of one byte of it, of which a step has need."""

    def __init__(self, rng, how, interrupted, light=False):
        subjects = [s for s in SUBJECTS if not light or (s[0] != "CSV" and s[2] in LIGHT)]
        kinds = sorted({kind for kind, _, _ in subjects})
        kind = rng.choice([k for k in kinds if k != "bookkeeping"] * 3 + ["bookkeeping"])
        self.kind, self.name, self.stage = rng.choice([s for s in subjects if s[0] == kind])
        self.how, self.place, self.flip = how, rng.random(), rng.randrange(1, 256)
        # Bits that rot change no time stamp; a program that writes does.
        self.silent = rng.random() < 0.7
        self.interrupted = interrupted
        self.what = f"{how} {self.kind} {self.name}"

    def strike(self, tree, hurry):
        """Damage the file where nobody looks, before the pipeline is run."""
        remove(tree, self.stage)
        paths = self._paths(tree)
        for path in paths:
            self._damage(path)
        touched = {str(p.relative_to(tree.folder)) for p in paths}
        if self.kind == "image":
            links = (tree.folder / "results/images").glob("*/*/*")
            touched |= {
                str(p.relative_to(tree.folder)) for p in links if p.resolve() == paths[0].resolve()
            }
        return Struck(None, "", self.what, touched=touched)

    def _paths(self, tree):
        folder = tree.folder
        if self.kind == "bookkeeping":
            files = sorted(p for p in (folder / self.name).rglob("*") if p.is_file())
            return [files[int(self.place * len(files))]]
        if self.kind != "checkpoint":
            return [folder / self.name]
        if self.name in {"finished", "measured"}:
            # The training itself is not taken away, only its products.
            run = CHECKPOINTS[self.stage]
            golden = tree.source.folder / "results/checkpoints" / run
            shutil.copytree(golden, folder / "results/checkpoints" / run)
            wanted = ["checkpoint.safetensors" if self.name == "finished" else "*.csv"]
        else:
            shutil.copytree(self.interrupted, folder / "results/checkpoints/digits/baseline")
            wanted = {
                "newest": ["checkpoint.safetensors"],
                "previous": ["checkpoint.previous.safetensors"],
                "both": ["checkpoint.safetensors", "checkpoint.previous.safetensors"],
            }[self.name]
        base = folder / "results/checkpoints" / CHECKPOINTS[self.stage]
        return [path for name in wanted for path in base.rglob(name)]

    def _damage(self, path):
        stat = path.stat()
        data = bytearray(path.read_bytes())
        at = int(self.place * len(data))
        if self.how == "truncate":
            del data[at:]
        else:
            data[at] ^= self.flip
        path.write_bytes(data)
        self.what += f" at {at} of {stat.st_size}"
        if self.silent:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class Older:
    """Put a product of an earlier run in the place of one that a step reads."""

    def __init__(self, rng, light=False):
        kinds = {"store", "weights", "CSV"}
        self.name, self.stage = rng.choice(
            [s[1:] for s in SUBJECTS if s[0] in kinds and (s[2] in LIGHT or not light)]
        )
        self.back = rng.choice((3, 86400))
        self.what = f"{self.name} of {self.back} s before for '{self.stage}'"

    def strike(self, tree, hurry):
        """Replace it as who restores a backup does, with an earlier date."""
        remove(tree, self.stage)
        path = tree.folder / self.name
        earlier = tree.source.folder.parent / "older" / self.name
        same = earlier.read_bytes() == path.read_bytes()
        stat = path.stat()
        shutil.copy(earlier, path)
        os.utime(path, (stat.st_atime, stat.st_mtime - self.back))
        what = self.what + (" (the same bytes)" if same else "")
        return Struck(None, "", what, touched={self.name})


HOUR_S = 3600


class ClockPutBack(InAStage):
    """Put the clock back an hour while the pipeline is at work, as files see it.

    What a run has written before is dated an hour later from then on. No other clock is touched:
    the package asks for none, and Snakemake only for how long to wait.
    """

    name = "clock put back"

    def strike(self, tree, hurry):
        """Do it at a random moment, with every process stopped."""
        date_now(tree)
        remove(tree, self.stage)
        process = tree.start()
        time.sleep(8 * self.share * hurry)
        missed = process.poll() is not None
        processes = tree.processes()
        for each in processes:
            with contextlib.suppress(psutil.Error):
                each.suspend()
        date(tree, HOUR_S)
        for each in processes:
            with contextlib.suppress(psutil.Error):
                each.resume()
        status, output = tree.finish(process)
        return Struck(status, output, self.what, missed=missed)


def date(tree, seconds, *, after=0.0):
    """Date what runs have written later by some seconds, if it was changed after some time."""
    for path in _written(tree):
        with contextlib.suppress(FileNotFoundError):  # a temporary one
            stat = path.lstat()
            if stat.st_mtime > after:
                times = (n + int(seconds * 1e9) for n in (stat.st_atime_ns, stat.st_mtime_ns))
                os.utime(path, ns=tuple(times), follow_symlinks=False)


def date_now(tree):
    """Date it as if the last of it had just been written."""
    newest = max(path.lstat().st_mtime for path in _written(tree))
    date(tree, max(0, time.time() - 5 - newest))


def _written(tree):
    """Files and folders, but not the images that a user has put there."""
    folders = (tree.folder / "results", tree.folder / ".snakemake")
    archive = tree.folder / ARCHIVE
    inside = [path for folder in folders for path in folder.rglob("*")]
    return [*inside, *([archive] if archive.exists() else [])]
