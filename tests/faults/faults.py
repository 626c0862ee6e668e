"""The faults: what each does to a tree, and where in the work of the pipeline it strikes."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SHRUNK, SEARCHED = "shrink/digits/lw-dna/seed0", "shrink/digits/dhp/seed0"
RUNS = ("digits/baseline", "digits/lw-dna", "denoising/baseline")
HISTORY = "history.csv"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

STAGES = {
    "digits": ("data/digits/train.h5", "data/digits/test.h5"),
    "images": ("images/photographs/test",),
    "crop": ("data/photographs/colour.h5",),
    "gray": ("data/photographs/gray.h5",),
    "shrink": tuple(f"{SHRUNK}/{n}" for n in ("network.safetensors", "channels.csv")),
    "search": tuple(
        f"{SEARCHED}/{n}" for n in ("network.safetensors", "channels.csv", HISTORY, "latents.h5")
    ),
    **{
        f"train {run}": tuple(f"runs/{run}/seed0/{n}" for n in ("weights.safetensors", HISTORY))
        for run in RUNS
    },
    **{f"evaluate {run}": (f"runs/{run}/metrics.csv",) for run in RUNS},
    "complexity": ("complexity.csv",),
    "tables": ("tables/table1.md", "tables/table2.md"),
    "figures": ("figures/training-logs.png", "figures/remaining-channels.png"),
}
"""What is taken away from a finished run, below results/, and asked for again."""

LIGHT = ("digits", "images", "crop", "gray", "tables", "figures")
"""The stages that need no PyTorch, which are struck as often as all others together."""

CHECKPOINTS = {"search": "digits/dhp-search", **{f"train {run}": run for run in RUNS}}
"""Where the stages that train keep their checkpoints, below results/checkpoints."""

WEIGHTS = "runs/{}/seed0/weights.safetensors"
SUBJECTS = [
    # A file, and what is taken away so that a step reads it.
    ("store", "results/data/digits/train.h5", "shrink"),
    ("store", "results/data/digits/train.h5", "search"),
    ("store", "results/data/digits/train.h5", "train digits/baseline"),
    ("store", "results/data/digits/test.h5", "evaluate digits/baseline"),
    ("store", "results/data/photographs/colour.h5", "gray"),
    ("store", "results/data/photographs/gray.h5", "train denoising/baseline"),
    ("image", "inputs/train/a.png", "crop"),
    ("image", "inputs/test/c.png", "evaluate denoising/baseline"),
    ("weights", f"results/{SHRUNK}/network.safetensors", "train digits/lw-dna"),
    *(("weights", f"results/{WEIGHTS.format(run)}", f"evaluate {run}") for run in RUNS),
    *(("CSV", f"results/runs/{run}/metrics.csv", "tables") for run in RUNS),
    *(("CSV", f"results/runs/{run}/seed0/history.csv", "figures") for run in RUNS),
    ("CSV", f"results/{SHRUNK}/channels.csv", "figures"),
    ("CSV", "results/complexity.csv", "tables"),
    # Of the training that was killed on the way, or of a finished one (see `Damage`).
    ("checkpoint", "newest", "train digits/baseline"),
    ("checkpoint", "previous", "train digits/baseline"),
    ("checkpoint", "both", "train digits/baseline"),
    ("checkpoint", "finished", "train denoising/baseline"),
    ("checkpoint", "finished", "search"),
    ("bookkeeping", ".snakemake/metadata", "tables"),
]


def some_stage(rng, light):
    """A light stage or, unless only these are wanted, any other."""
    others = [stage for stage in STAGES if stage not in LIGHT]
    return rng.choice(LIGHT if light or rng.random() < 0.6 else others)


def remove(tree, stage):
    """Take the products of a stage away, and let the pipeline be asked for them."""
    results = tree.folder / "results"
    for path in (results / name for name in STAGES[stage]):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if stage in CHECKPOINTS:
        shutil.rmtree(results / "checkpoints" / CHECKPOINTS[stage])
    tree.targets = tuple(f"results/{name}" for name in STAGES[stage])


@dataclass
class Struck:
    """What the run in which a fault struck said, and what to know of it."""

    status: int | str | None = 0
    """Exit status of the run; None if the fault needs no run to strike."""
    output: str = ""
    what: str = ""
    touched: set[str] = field(default_factory=set)
    """Products that the fault itself has changed, by their paths below results/."""
    missed: bool = False
    """The pipeline was at its end before the fault could strike."""


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
        # Seconds that the work takes here after there is such a process, at least.
        span = {"snakemake": 9, "everything": 9, "worker": 0.5, "job": 4}[self.victim]
        moment = None
        hit = None
        while process.poll() is None and hit is None:
            found = self._candidates(process.pid)
            if found and moment is None:
                moment = time.monotonic() + span * self.share * hurry
            if found and time.monotonic() >= moment:
                hit = self._send(process, found[int(self.share * 1000) % len(found)])
            time.sleep(0.02)
        status, output = tree.finish(process)
        if not self.orphans:
            tree.wait_for_orphans()
        return Struck(status, output, f"{self.what}: {hit}", missed=hit is None)

    def _candidates(self, main):
        try:
            below = psutil.Process(main).children(recursive=True)
            if self.victim in {"snakemake", "everything"}:
                return [psutil.Process(main)]
            # A job's shell replaces itself by the job's Python: they are one process. Its workers
            # are copies of it under a name of their own.
            ours = [p for p in below if "lwdna" in _command(p) and _name(p) != "bash"]
            jobs = [p for p in ours if p.ppid() == main]
            pids = {p.pid for p in jobs}
            return [p for p in below if p.ppid() in pids] if self.victim == "worker" else jobs
        except psutil.Error:
            return []

    def _send(self, process, victim):
        command = _command(victim)
        step = re.search(r"\.log '?(\w[\w-]*)", command)
        try:
            if self.victim == "everything":
                os.killpg(process.pid, self.signal)
            else:
                victim.send_signal(self.signal)
        except (psutil.Error, ProcessLookupError):
            return None
        return step.group(1) if step else "struck"


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


class InAStage:
    """What happens to a random stage."""

    name: str

    def __init__(self, rng, light=False):
        self.stage = some_stage(rng, light)
        self.share = rng.random()
        self.what = f"{self.name} in '{self.stage}'"


class FullDisk(InAStage):
    """Run on a small file system, or else with a limit on the size of files; then give room."""

    name = "disk full"

    def strike(self, tree, hurry):
        """Leave a random part of the room that the stage needs."""
        room = sum(
            -(-p.stat().st_size // 4096) * 4096
            for name in STAGES[self.stage]
            for p in (tree.folder / "results" / name, *(tree.folder / "results" / name).rglob("*"))
            if p.is_file()
        )
        remove(tree, self.stage)
        # Snakemake and the logs write too, some 100 kB.
        left = int(self.share * hurry * (room + 100_000))
        if _on_tmpfs(tree.folder):
            free = shutil.disk_usage(tree.folder).free
            filler = tree.folder / ".filler"
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(4096, free - left))
            status, output = tree.run()
            filler.unlink()
            how = f"{left} bytes left"
        else:
            limit = max(1000, left // 4)
            status, output = tree.run(
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            )
            how = f"no file above {limit} bytes"
        return Struck(status, output, f"{self.what}, {how}")


class ReadOnly(InAStage):
    """Make a folder of the run read-only; then writable again."""

    name = "read-only folder"

    def strike(self, tree, hurry):
        """Choose a folder in which the stage has to write, or one above it."""
        results = tree.folder / "results"
        folders = {tree.folder, tree.folder / ".snakemake", results, results / "logs"}
        for name in STAGES[self.stage]:
            folder = (results / name).parent
            folders |= {folder, *(p for p in folder.parents if results in p.parents)}
        remove(tree, self.stage)
        names = sorted(str(folder) for folder in folders)
        folder = Path(names[int(self.share * len(names))])
        folder.chmod(0o555)
        status, output = tree.run(prefix=without_the_rights_of_root())
        folder.chmod(0o755)
        return Struck(status, output, f"{self.what}: {folder.relative_to(tree.folder)}")


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
        results = tree.folder / "results"
        touched = {str(p.relative_to(results)) for p in paths if results in p.parents}
        if self.kind == "image":
            links = (results / "images").glob("*/*/*")
            touched |= {
                str(p.relative_to(results)) for p in links if p.resolve() == paths[0].resolve()
            }
        return Struck(None, "", self.what, touched=touched)

    def _paths(self, tree):
        folder = tree.folder
        if self.kind == "bookkeeping":
            files = sorted(p for p in (folder / self.name).rglob("*") if p.is_file())
            return [files[int(self.place * len(files))]]
        if self.kind != "checkpoint":
            return [folder / self.name]
        if self.name == "finished":
            # The training itself is not taken away, only its products.
            run = CHECKPOINTS[self.stage]
            golden = tree.source.folder / "results/checkpoints" / run
            shutil.copytree(golden, folder / "results/checkpoints" / run)
            wanted = ["checkpoint.safetensors"]
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


KINDS = {
    **{
        f"kill {victim}": lambda rng, _, light, victim=victim: Kill(rng, victim, light)
        for victim in ("snakemake", "job", "worker", "everything")
    },
    "full disk": lambda rng, _, light: FullDisk(rng, light),
    "read-only folder": lambda rng, _, light: ReadOnly(rng, light),
    "truncate": lambda rng, interrupted, light: Damage(rng, "truncate", interrupted, light),
    "flip": lambda rng, interrupted, light: Damage(rng, "flip", interrupted, light),
}
ORDER = (
    *("flip", "kill job", "truncate", "kill snakemake", "full disk", "flip", "kill job"),
    *("read-only folder", "kill everything", "truncate", "flip", "kill snakemake", "kill worker"),
    *("full disk", "kill job", "truncate", "flip", "read-only folder", "kill everything"),
    "kill snakemake",
)
"""The kinds of twenty runs in turn."""


def advised(tree, sentence):
    """Do what a sentence tells the user to do; say what that was."""
    names = re.findall(r"'([^']+)'", sentence)
    found = [p for name in names if (p := tree.folder / name).exists() or p.is_symlink()]
    if "replace it by an intact file" in sentence and found:
        path = found[0].resolve()
        intact = tree.source.folder / path.relative_to(tree.folder.resolve())
        shutil.copy2(intact, path)
        return f"replaced {path.name}"
    asked = re.search(r"delete|move it away|remove it", sentence)
    if asked and found:
        # "... or delete the folder 'X'" names what to delete last.
        path = found[-1] if "delete the folder" in sentence else found[0]
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        return f"deleted {path.name}"
    return "nothing but to run it again" if re.search(r"\b[Rr]un\b", sentence) else None


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
