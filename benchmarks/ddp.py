"""The loss curves of one and of two processes, side by side, through the command line.

A network without batch norm (EDSR on crops of photographs) trains on one process and on two, at the
same batch over both; so does one with batch norm (ResNet14 on digits). Without batch norm the two
differ by rounding, which grows with the steps. With it each process normalises its half of the
batch, so that the curve is another one: that of a single process with two micro-batches
(`accumulate: 2`), but for the running statistics that tests use. Takes a few minutes on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import pandas as pd

PHOTOGRAPHS = {"train": ["chelsea", "china", "flower"], "test": ["coffee"]}

RESTORATION = {
    "task": {"kind": "super-resolution", "scale": 4, "patch_size": 20, "samples_per_epoch": 256},
    "network": {"name": "EDSR", "options": {"blocks": 2, "channels": 16}},
    "train": "colour.h5",
    "test": "images/test",
    "optimizer": {"kind": "adam", "lr": 1e-3},
}
CLASSIFICATION = {
    "task": {
        "kind": "classification",
        "mean": [0.305] * 3,
        "std": [0.345] * 3,
        "pad": 2,
        "flip": False,
    },
    "network": {"name": "ResNet14", "dataset": "digits", "width": 0.5},
    "train": "train.h5",
    "test": "test.h5",
    "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
}


def lwdna(folder: Path, *arguments: object) -> None:
    """Run the command line on one thread a process, in a folder; it must succeed."""
    subprocess.run(
        [sys.executable, "-m", "lwdna", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        check=True,
    )


def curve(
    folder: Path, case: dict[str, Any], epochs: int, devices: int, accumulate: int = 1
) -> pd.DataFrame:
    """Train, and read the history."""
    name = f"{case['network']['name']}-{devices}-{accumulate}"
    protocol = {
        "epochs": epochs,
        "batch_size": 16,
        "optimizer": case["optimizer"],
        "schedule": {"kind": "cosine"},
        "accumulate": accumulate,
    }
    lwdna(
        folder,
        *("train", "--network", json.dumps(case["network"]), "--task", json.dumps(case["task"])),
        *("--protocol", json.dumps(protocol), "--train", case["train"], "--test", case["test"]),
        *("--accelerator", "cpu", "--devices", devices, "--checkpoints", f"checkpoints/{name}"),
        *("--history", f"{name}.csv", "--output", f"{name}.safetensors"),
    )
    return pd.read_csv(folder / f"{name}.csv")


def beside(columns: dict[str, pd.DataFrame], measure: str) -> pd.DataFrame:
    """One measure of several histories by epoch, and how far each is from the first."""
    table = pd.DataFrame({name: frame[measure] for name, frame in columns.items()})
    first, *others = columns
    for name in others:
        table[f"{name} / {first} - 1"] = table[name] / table[first] - 1
    return table.set_index(pd.RangeIndex(1, len(table) + 1, name="epoch"))


@click.command()
@click.option("--epochs", type=click.IntRange(1), default=6, show_default=True)
def main(epochs: int) -> None:
    """Print the tables."""
    pd.set_option("display.width", 200, "display.max_columns", 20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, names in PHOTOGRAPHS.items():
            lwdna(folder, "images", "--output", f"images/{part}", *names)
        crop = ("--size", 120, "--step", 60, "--threshold", 12, "--scale", 4)
        lwdna(folder, "crop", "images/train", "--output", "colour.h5", *crop)
        digits = ("--train", "train.h5", "--test", "test.h5")
        lwdna(folder, "digits", *digits, "--train-fraction", 0.08)  # 9 batches of 16
        plain = {
            "1 process": curve(folder, RESTORATION, epochs, 1),
            "2 processes": curve(folder, RESTORATION, epochs, 2),
        }
        normed = {
            "2 processes": curve(folder, CLASSIFICATION, epochs, 2),
            "accumulate: 2": curve(folder, CLASSIFICATION, epochs, 1, accumulate=2),
            "1 process": curve(folder, CLASSIFICATION, epochs, 1),
        }
    for title, columns in (
        ("EDSR, no batch norm", plain),
        ("ResNet14, with batch norm", normed),
    ):
        for measure in ("train_loss", "test_loss"):
            click.echo(f"\n{title}: {measure}\n{beside(columns, measure).to_string()}")


if __name__ == "__main__":
    main()
