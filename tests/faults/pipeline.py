"""A pipeline small enough to be run a hundred times, and what a run of it must give."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/pipeline/tiny.yaml"
CONFIG = "config.yaml"
MARK = "LWDNA_FAULTS_RUN"
"""Environment variable that tells the processes of one run from all others."""

LIMIT_S = 900
"""A run of the pipeline that takes longer hangs, which is a fault of its own."""

NOT_COMPARED = ("logs", "benchmarks", "checkpoints")
"""Below results/: times and messages differ; a checkpoint is no product but the way to one."""


def configuration():
    """The tiny pipeline of the tests, cut down to two datasets, three trainings and a search."""
    config = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    config["datasets"]["photographs"] = {
        "kind": "images",
        "train": "inputs/train",
        "test": "inputs/test",
        "crop": {"size": 48, "step": 24, "threshold": 4},
    }
    for protocol in config["protocols"].values():
        protocol |= {"workers": 1, "checkpoint_minutes": 0.005}
    config["protocols"]["classification"]["epochs"] = 5
    config["protocols"]["restoration"]["epochs"] = 3
    experiments = config["experiments"]
    del experiments["super-resolution"], experiments["digits"]["teacher"]
    experiments["digits"] |= {"methods": ["baseline", "lw-dna"], "tables": [1]}
    experiments["denoising"] |= {"methods": ["baseline"]}
    del experiments["denoising"]["shrink"]
    return config


LIGHT = (
    "results/images/photographs/train",
    *(f"results/data/{name}.h5" for name in ("photographs/colour", "photographs/gray")),
)
"""What is made without PyTorch, in seconds."""

TARGETS = (
    *LIGHT,
    "results/images/photographs/test",
    *(f"results/data/digits/{split}.h5" for split in ("train", "test")),
    *(
        f"results/shrink/digits/{criterion}/seed0/{name}"
        for criterion in ("lw-dna", "dhp")
        for name in ("network.safetensors", "channels.csv")
    ),
    *(f"results/shrink/digits/dhp/seed0/{name}" for name in ("history.csv", "latents.h5")),
    *(
        f"results/runs/{run}/{name}"
        for run in ("digits/baseline", "digits/lw-dna", "denoising/baseline")
        for name in ("seed0/weights.safetensors", "seed0/history.csv", "metrics.csv")
    ),
    "results/references/noisy-input-sigma70-denoising/photographs.csv",
    "results/complexity.csv",
    "results/tables/table1.md",
    "results/tables/table2.md",
    "results/figures/training-logs.png",
    "results/figures/remaining-channels.png",
)
"""All products, by name, so that one that is missing is always made again."""


class Tree:
    """A working directory of the pipeline."""

    def __init__(self, folder, targets=TARGETS):
        self.folder = Path(folder)
        self.targets = targets
        """What a run of the pipeline asks for."""
        self.source = self
        """The tree that this one is a copy of."""

    @classmethod
    def make(cls, folder, targets):
        """An empty one: configuration and input images."""
        tree = cls(folder, targets)
        tree.folder.mkdir(parents=True)
        (tree.folder / CONFIG).write_text(yaml.safe_dump(configuration()), encoding="utf-8")
        rng = np.random.default_rng(0)
        for name in ("train/a", "train/b", "test/c", "test/d"):
            path = tree.folder / f"inputs/{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (144, 120, 3) if name.startswith("train") else (64, 48, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
        return tree

    def copy(self, folder):
        """A copy whose links lead to its own input images."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        copy = Tree(folder, self.targets)
        copy.source = self
        for link in (copy.folder / "results/images").glob("*/*/*"):
            if link.is_symlink():
                target = copy.folder / link.readlink().relative_to(self.folder.resolve())
                link.unlink()
                link.symlink_to(target.resolve())
        return copy

    def start(self, *arguments, prefix=(), **options):
        """Start the pipeline in a process group of its own, as a shell does."""
        log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by `finish`
        process = subprocess.Popen(
            [
                *prefix,
                *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
                *("--configfile", str(self.folder / CONFIG), "--directory", str(self.folder)),
                *("--workflow-profile", str(ROOT / "profiles/default"), "--cores", "2"),
                *(*arguments, "--", *self.targets),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {MARK: str(self.folder), "OMP_NUM_THREADS": "1"},
            **options,
        )
        process.log = log
        return process

    def finish(self, process):
        """Wait for the end of a started pipeline: exit status and what it said."""
        try:
            process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.end_processes()
            process.wait()
            process.returncode = f"none after {LIMIT_S} s"
        with process.log as log:
            log.seek(0)
            return process.returncode, log.read()

    def run(self, *arguments, **options):
        """Run the pipeline: exit status and what it said."""
        return self.finish(self.start(*arguments, **options))

    def processes(self):
        """Whatever still runs of this tree's pipeline, also what has lost its parent."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.folder):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def wait_for_orphans(self, seconds=60):
        """Let what a kill has left behind come to its end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.processes():
            time.sleep(0.2)

    def end_processes(self):
        """Kill whatever still runs here."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue

    def products(self):
        """Bytes of every product by its path; of a link, those of what it leads to."""
        results = self.folder / "results"
        found = {}
        for path in sorted(results.rglob("*")):
            name = path.relative_to(results)
            hidden = path.name.startswith(".")  # Snakemake's time stamps, and temporary files
            if name.parts[0] not in NOT_COMPARED and not hidden and not path.is_dir():
                with contextlib.suppress(FileNotFoundError):  # a process may be at work still
                    found[str(name)] = path.read_bytes()
        return found

    def differences(self, golden, *, complete):
        """Products that are not as in the golden run, or (if all must be there) missing."""
        ours = self.products()
        wrong = [f"{name} differs" for name in ours if golden.get(name) != ours[name]]
        if complete:
            wrong += [f"{name} is missing" for name in golden if name not in ours]
        return wrong

    def leftovers(self):
        """Temporary files that nobody removed."""
        return list((self.folder / "results").rglob(".*.tmp*"))


def sentences(output):
    """The errors that the steps have reported, each once."""
    found = re.findall(r"^\d\d:\d\d:\d\d ERROR (.*)$", output, re.MULTILINE)
    return list(dict.fromkeys(found))


def golden_tree(work, targets=TARGETS):
    """A run that nothing disturbed, made in ``work`` unless it is there; and a killed training."""
    golden, interrupted = work / "golden", work / "interrupted"
    if not (work / "ready").exists():
        for folder in (golden, interrupted):
            shutil.rmtree(folder, ignore_errors=True)
        tree = Tree.make(golden, targets)
        status, output = tree.run()
        if status != 0:
            raise SystemExit(f"The undisturbed run failed:\n{output}")
        if targets == TARGETS:
            _interrupt_a_training(tree, work / "half", interrupted)
        (work / "ready").touch()
    return Tree(golden, targets)


def _interrupt_a_training(golden, half, interrupted):
    """Keep the two checkpoints of a training that was killed on the way."""
    tree = golden.copy(half)
    shutil.rmtree(tree.folder / "results/checkpoints/digits/baseline")
    shutil.rmtree(tree.folder / "results/runs/digits/baseline/seed0")
    process = tree.start()
    pattern = "results/checkpoints/digits/baseline/**/checkpoint.previous.safetensors"
    while process.poll() is None and not any(tree.folder.glob(pattern)):
        time.sleep(0.001)
    tree.end_processes()
    tree.finish(process)
    shutil.copytree(tree.folder / "results/checkpoints/digits/baseline", interrupted)
    shutil.rmtree(half)
    if not any(interrupted.rglob("checkpoint.previous.safetensors")):
        raise SystemExit("The training to be interrupted was too fast; give it more epochs.")
