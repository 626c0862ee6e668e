"""What steps wait for before they work, beside `import torch`.

Digits of scikit-learn and a ResNet8 of quarter width leave almost nothing to compute, so that what
is measured is the start: of a training up to the end of its first step, of the other steps all.
Every round runs each of them once, after `python -c 'import torch'`, each in a fresh process on one
thread; ratios are taken within a round, and the table has medians. A process that has imported
PyTorch takes a quarter of that time to end: a training, which ends at once after its step, is
compared with an import that ends at once. `--beside PYTHON` also runs another checkout by the
interpreter of its environment, in turns. On a busy machine elapsed times are worth little, and
those of the processor more.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click
from tqdm import tqdm

from lwdna.results.markdown import line

TASK = json.dumps(
    {"kind": "classification", "mean": [0.3] * 3, "std": [0.3] * 3, "pad": 2, "flip": False}
)
PROTOCOL = json.dumps(
    {
        "epochs": 1,
        "batch_size": 16,
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        "schedule": {"kind": "cosine"},
    }
)
EXPERIMENTS = json.dumps({"digits": {"label": "ResNet8", "test": ["digits"]}})
RUN = json.dumps({"channels.csv": {"experiment": "digits", "method": "lw-dna", "seed": 0}})

DIGITS = "digits --train train.h5 --test rest.h5 --train-fraction 0.05".split()
SHRINK = [
    *"shrink ResNet8 --dataset digits --width 0.25 --flops-ratio 0.9 --batch-size 16".split(),
    *"--train train.h5 --output small.safetensors --channels channels.csv --task".split(),
    TASK,
]
STEPS: dict[str, list[str]] = {
    "lwdna --help": ["--help"],
    "train, to the first step": [
        *"train --weights small.safetensors --train train.h5 --test train.h5".split(),
        *"--checkpoints made --history history.csv --output trained.safetensors".split(),
        *("--protocol", PROTOCOL, "--task", TASK),
    ],
    "shrink": SHRINK,
    "evaluate": [
        *"evaluate small.safetensors --test digits train.h5 --output metrics.csv --task".split(),
        TASK,
    ],
    "channels (a figure)": [
        *("channels", "channels.csv", "--labels", RUN, "--experiments", EXPERIMENTS),
        *("--output", "channels.png"),
    ],
}
TRAINING = "train, to the first step"
IMPORTS = {"import torch": "import torch", TRAINING: "import os, torch; os._exit(0)"}
"""What steps are compared with, and the training."""

FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from lwdna.__main__ import main

def end(*_):
    sys.stdout.flush()
    os._exit(0)

register_optimizer_step_post_hook(end)
main()
"""
"""Runs a step up to the end of the first step of an optimiser."""


class Taken(NamedTuple):
    """Seconds of a process."""

    elapsed: float
    processor: float


def run(python: str, folder: Path, arguments: list[str]) -> Taken:
    """Run a process, and say what it took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise click.ClickException(f"{arguments} failed: {done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(elapsed, used)


def start(python: str, folder: Path, step: str) -> Taken:
    """Run a step as far as it is measured."""
    shutil.rmtree(folder / "made", ignore_errors=True)
    how = ["-c", FIRST_STEP] if step == TRAINING else ["-m", "lwdna"]
    return run(python, folder, [*how, *STEPS[step]])


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--beside", metavar="PYTHON", help="Of another checkout's environment.")
def main(rounds: int, beside: str | None) -> None:
    """Measure; one line for each step."""
    pythons = {
        "here": sys.executable,
        **({"there": str(Path(beside).absolute())} if beside else {}),
    }
    taken: dict[tuple[str, str], list[tuple[Taken, Taken]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folders = {who: Path(place) / who for who in pythons}
        for who, python in pythons.items():
            folders[who].mkdir()
            for arguments in (DIGITS, SHRINK):
                run(python, folders[who], ["-m", "lwdna", *arguments])
        for _ in tqdm(range(rounds), "rounds", disable=None):
            bare = {
                name: run(sys.executable, folders["here"], ["-c", code])
                for name, code in IMPORTS.items()
            }
            for step in STEPS:
                beside_it = bare.get(step, bare["import torch"])
                for who, python in pythons.items():
                    found = start(python, folders[who], step)
                    taken.setdefault((step, who), []).append((found, beside_it))
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    click.echo(f"{rounds} rounds; load of the machine at the end: {load}\n")
    heads = [
        f"{what}, {who}" for who in pythons for what in ("s", "/ torch", "CPU s", "CPU / torch")
    ]
    click.echo(line(["step", *heads]))
    click.echo(line(["---", *("--:" for _ in heads)]))
    for title, step in (("import torch", "shrink"), ("the same, ended at once", TRAINING)):
        bares = [bare for _, bare in taken[step, "here"]]
        numbers = [median(bare.elapsed for bare in bares), 1, median(b.processor for b in bares), 1]
        click.echo(line([title, *(f"{n:.2f}" for n in numbers * len(pythons))]))
    for step in STEPS:
        cells = []
        for who in pythons:
            pairs = taken[step, who]
            cells += [
                median(found.elapsed for found, _ in pairs),
                median(found.elapsed / bare.elapsed for found, bare in pairs),
                median(found.processor for found, _ in pairs),
                median(found.processor / bare.processor for found, bare in pairs),
            ]
        click.echo(line([step, *(f"{number:.2f}" for number in cells)]))


def median(numbers: Iterable[float]) -> float:
    """The median."""
    return statistics.median(list(numbers))


if __name__ == "__main__":
    main()
