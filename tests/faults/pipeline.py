"""A pipeline small enough to be run a hundred times, and what a run of it must give."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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


PROJECT = ("Snakefile", "config", "data", "envs", "lwdna", "paper", "profiles", "report", "rules")
"""What a run needs of the project."""

ARCHIVE = "inputs/tiny-imagenet-200.zip"
"""What is downloaded."""


def configuration():
    """The tiny pipeline of the tests, changed so that nearly every rule has quick work to do."""
    config = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    config["datasets"]["photographs"] = {
        "kind": "images",
        "train": "inputs/train",
        "test": "inputs/test",
        "crop": {"size": 48, "step": 24, "threshold": 4},
    }
    config["datasets"]["objects"] = {"kind": "tiny-imagenet", "archive": ARCHIVE}
    for protocol in config["protocols"].values():
        protocol |= {"workers": 1, "checkpoint_minutes": 0.005}
    config["protocols"]["classification"]["epochs"] = 5
    config["protocols"]["restoration"]["epochs"] = 3
    experiments = config["experiments"]
    del experiments["super-resolution"]
    digits = experiments["digits"]
    digits |= {"methods": ["baseline", "baseline-kd", "mutualnet", "lw-dna", "uniform"]}
    digits |= {"tables": [1], "mutualnet": {"sizes": [32, 24], "divisor": 1}}
    digits["metapruning"] = {"protocol": "classification", "held_out": 0.2, "calibration": 16}
    digits["metapruning"] |= {"population": 4, "iterations": 3, "parents": 2, "window": 0.1}
    digits["metapruning"] |= {"mutants": 1, "crossovers": 1, "tries": 40}
    dncnn = {"network": "DnCNN", "batch_size": 2, "patch_size": 16}
    config["replication"] = {
        **{"seeds": [0], "width": 2, "images": "photographs"},
        "networks": {"dncnn": dncnn},
    }
    return config


def older(config):
    """The configuration of an earlier run, whose products have the same names."""
    config["datasets"]["digits"]["seed"] = 1
    config["datasets"]["photographs"]["crop"]["step"] = 32
    for name in ("classification", "restoration"):
        config["protocols"][name]["epochs"] -= 1
    for experiment in config["experiments"].values():
        experiment["shrink"]["flops_ratio"] = 0.85
    return config


SPLITS = ("train", "test")
FIGURES = ("training-logs", "remaining-channels", "agreement", "strip-denoising", "latents-digits")

LIGHT = (
    "results/images/photographs/train",
    *(f"results/data/{name}.h5" for name in ("photographs/colour", "photographs/gray")),
)
"""What is made without PyTorch, in seconds."""

SEARCHED = {"dhp": "latents.h5", "autoslim": "trajectory.csv", "metapruning": "evolution.csv"}
"""Searches, and what they note on the way."""
SHRUNK = ("digits/lw-dna", "digits/l1", "digits/uniform", "denoising/lw-dna")
SHRUNK += tuple(f"digits/{name}" for name in SEARCHED)
TRAINED = ("digits/baseline", "digits/baseline-kd", "digits/lw-dna", "digits/uniform")
TRAINED += ("digits/mutualnet", "denoising/baseline", "denoising/lw-dna")

TARGETS = (
    *LIGHT,
    "results/images/photographs/test",
    *(f"results/data/{name}/{split}.h5" for name in ("digits", "objects") for split in SPLITS),
    *(
        f"results/shrink/{name}/seed0/{file}"
        for name in SHRUNK
        for file in ("network.safetensors", "network.json", "channels.csv")
    ),
    *(
        f"results/shrink/digits/{search}/seed0/{name}"
        for search, noted in SEARCHED.items()
        for name in ("history.csv", noted)
    ),
    *(
        f"results/runs/{run}/{name}"
        for run in TRAINED
        for name in ("seed0/weights.safetensors", "seed0/history.csv", "metrics.csv")
    ),
    "results/runs/digits/teacher/seed0/weights.safetensors",
    "results/references/noisy-input-sigma70-denoising/photographs.csv",
    "results/complexity.csv",
    "results/complexity/networks/dncnn.csv",
    "results/complexity/table2.md",
    *(f"results/tables/{name}.md" for name in ("table1", "table2", "agreement")),
    *(f"results/figures/{name}.png" for name in FIGURES),
)
"""All products, by name, so that one that is missing is always made again."""


class Tree:
    """A working directory of the pipeline."""

    def __init__(self, folder, targets=TARGETS, project=ROOT):
        self.folder = Path(folder)
        self.targets = targets
        """What a run of the pipeline asks for."""
        self.project = project
        """Where the code is that it runs."""
        self.source = self
        """The tree that this one is a copy of."""
        self.holders = []
        """Processes that are to be ended with it, but are not of its runs."""

    @classmethod
    def make(cls, folder, targets, project=ROOT, config=None):
        """An empty one: configuration and input images."""
        tree = cls(folder, targets, project)
        tree.folder.mkdir(parents=True)
        text = yaml.safe_dump(config or configuration())
        (tree.folder / CONFIG).write_text(text, encoding="utf-8")
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
        copy = Tree(folder, self.targets, self.project)
        copy.source = self
        for link in (copy.folder / "results/images").glob("*/*/*"):
            if link.is_symlink():
                target = copy.folder / link.readlink().relative_to(self.folder.resolve())
                link.unlink()
                link.symlink_to(target.resolve())
        return copy

    def start(self, *arguments, prefix=(), mark=True, **options):
        """Start the pipeline in a process group of its own, as a shell does.

        What is put before the command and not marked is no process of the tree, and marks what it
        starts itself.
        """
        named = {MARK: str(self.folder)} if mark else {}
        log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by `finish`
        process = subprocess.Popen(
            [
                *(*prefix, sys.executable, "-m", "snakemake"),
                *("--snakefile", str(self.project / "Snakefile")),
                *("--configfile", str(self.folder / CONFIG), "--directory", str(self.folder)),
                *("--workflow-profile", str(self.project / "profiles/default"), "--cores", "2"),
                *(*arguments, "--", *self.targets),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", **named},
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
        for process in (*self.processes(), *self.holders):
            with contextlib.suppress(psutil.Error):
                process.kill()
        for process in self.holders:
            process.wait()

    def products(self):
        """Bytes of every product by its path; of a link, those of what it leads to."""
        found = {}
        for path in sorted((self.folder / "results").rglob("*")):
            name = path.relative_to(self.folder)
            hidden = path.name.startswith(".")  # Snakemake's time stamps, and temporary files
            if name.parts[1] not in NOT_COMPARED and not hidden and not path.is_dir():
                with contextlib.suppress(FileNotFoundError):  # a process may be at work still
                    found[str(name)] = path.read_bytes()
        with contextlib.suppress(FileNotFoundError):
            found[ARCHIVE] = (self.folder / ARCHIVE).read_bytes()
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
    """The errors that the steps have reported, or the workflow before it began, each once."""
    found = re.findall(r"^\d\d:\d\d:\d\d ERROR (.*)$", output, re.MULTILINE)
    found += re.findall(r"^RefusedError:\n(.*)$", output, re.MULTILINE)
    return list(dict.fromkeys(found))


def golden_tree(work, targets=TARGETS):
    """A run that nothing disturbed, made in ``work`` unless it is there.

    Beside it lie the project as it was then, an older run, and the checkpoints of a training that
    was killed on the way.
    """
    project, fresh = work / "project", not (work / "ready").exists()
    if fresh:
        for name in ("golden", "older", "interrupted", "project"):
            shutil.rmtree(work / name, ignore_errors=True)
        copy_project(project)
    if targets == TARGETS:
        offer_archive(work)
    if fresh:
        tree = _finished(Tree.make(work / "golden", targets, project))
        if targets == TARGETS:
            config = older(configuration())
            _finished(Tree.make(work / "older", targets, project, config))
            _interrupt_a_training(tree, work / "half", work / "interrupted")
        (work / "ready").touch()
    return Tree(work / "golden", targets, project)


def _finished(tree):
    status, output = tree.run()
    if status != 0:
        raise SystemExit(f"The undisturbed run failed:\n{output}")
    return tree


def copy_project(folder):
    """Copy what a run needs, which may then be changed, here or there."""
    folder.mkdir()
    for name in PROJECT:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    (folder / "COMMIT").write_text(said or "unknown")


def offer_archive(work):
    """Serve a small archive for as long as this process lives; the project's table names it."""
    served, table = work / "served", work / "project/data/versions.csv"
    path = served / Path(ARCHIVE).name
    if not path.exists():
        served.mkdir(exist_ok=True)
        path.write_bytes(_archive())
    handler = functools.partial(_Quiet, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    content = path.read_bytes()
    about = {"bytes": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
    about["url"] = f"http://127.0.0.1:{server.server_port}/{path.name}"
    rows = [row | about if row["name"] == path.name else row for row in rows]
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def _archive():
    """A miniature of Tiny ImageNet: three classes of noise."""
    rng = np.random.default_rng(2)

    def image():
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, format="JPEG")
        return file.getvalue()

    root, file = "tiny-imagenet-200", io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for c in range(3):
            for i in range(20):
                archive.writestr(f"{root}/train/n{c}/images/{i}.JPEG", image())
            archive.writestr(f"{root}/val/images/val_{c}.JPEG", image())
        lines = "".join(f"val_{c}.JPEG\tn{c}\t0\t0\t1\t1\n" for c in range(3))
        archive.writestr(f"{root}/val/val_annotations.txt", lines)
    return file.getvalue()


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
