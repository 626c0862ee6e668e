"""Measure what training, and then refinement by the IoU branch, are worth to a small tracker.

Trains the tracker of an experiment on the backbone of each seed, follows the objects of its test
set, and prints a table; a training that was interrupted goes on. See docs/tracking.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import click
import numpy as np
import torch
import yaml

import lwdna
from lwdna.data.listings import fingerprint
from lwdna.data.sequence_sets import lay_out, open_sets
from lwdna.data.sequences import Video
from lwdna.io.tensors import digest
from lwdna.tasks.task import task_for
from lwdna.tracking.dimp import Dimp
from lwdna.tracking.dimp import save as save_tracker
from lwdna.tracking.following import read_online, videos_of
from lwdna.tracking.metrics import Followed, got10k, ope
from lwdna.tracking.online import Online, Tracker, follow
from lwdna.training.loop import train

HEADER = "| Tracker | Seed | AO | Success AUC | Precision | SR.50 | SR.75 | Frames a CPU second |"
STAYS = "Box that stays"


class Row(NamedTuple):
    """What a tracker came to, from 0 to 1, and its speed."""

    ao: float
    success: float
    precision: float
    sr50: float
    sr75: float
    speed: float


def main() -> None:
    """Train, follow and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--experiment", default="motion-dimp")
    parser.add_argument("--backbone", required=True, help="its weights; {seed} stands for the seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--folder", type=Path, required=True, help="for listings and checkpoints")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = yaml.safe_load(given.config.read_text())
    experiment = config["experiments"][given.experiment]
    given.folder.mkdir(parents=True, exist_ok=True)
    for split, name in (("train", experiment["train"]), ("test", experiment["test"][0])):
        lay_out(config["datasets"][name][split], given.folder / f"{split}.json", split=split)
    videos = videos_of(open_sets(given.folder / "test.json"))
    online = read_online(experiment["task"].get("online", {}))
    rows: dict[str, dict[int, Row]] = {}
    for seed in given.seeds:
        fresh, trained = models(config, experiment, given.backbone, given.folder, seed)
        coarse = replace(online, refine=False)
        for name, boxes in {
            STAYS: stays,
            "Untrained": following(fresh, coarse, seed),
            "Trained, without refinement": following(trained, coarse, seed),
            "Trained, with refinement": following(trained, online, seed),
        }.items():
            rows.setdefault(name, {})[seed] = row = measured(videos, boxes)
            click.echo(line(name, seed, row))
    click.echo(f"\n{HEADER}\n|{'---|' * HEADER.count(' |')}")
    for name, of_seeds in rows.items():
        for seed, row in of_seeds.items():
            click.echo(line(name, seed, row))
        click.echo(line(name, "mean", Row(*np.mean(list(of_seeds.values()), 0))))


def models(
    config: Mapping[str, Any], experiment: Mapping[str, Any], backbone: str, folder: Path, seed: int
) -> tuple[Dimp, Dimp]:
    """A tracker of this seed, before and after its training."""
    # How a tracker is used later changes nothing of its training.
    section = {key: value for key, value in experiment["task"].items() if key != "online"}
    protocol = config["protocols"][experiment["protocol"]]
    task = task_for(section)
    weights = backbone.format(seed=seed)
    fresh, model = (task.model_on(lwdna.load(weights), seed=seed) for _ in range(2))
    train(
        model,
        task.train_data(folder / "train.json", seed=seed),
        None,
        task=section,
        protocol=protocol,
        seed=seed,
        checkpoint_dir=folder / "checkpoints",
        keyed=True,
        key={"start": digest(fresh.state_dict()), "train": fingerprint(folder / "train.json")},
        accelerator="cpu",
    )
    save_tracker(model, folder / f"tracker-{seed}.safetensors")
    return fresh, model


Boxes = Callable[[list[np.ndarray], Video], np.ndarray]


def stays(frames: list[np.ndarray], video: Video) -> np.ndarray:
    """The first box in all frames, (N, 4)."""
    return np.repeat(video.boxes[:1], len(frames), 0)


def following(model: Dimp, online: Online, seed: int) -> Boxes:
    """What gives the boxes (N, 4) that a tracker finds in the frames of a video."""

    def boxes(frames: list[np.ndarray], video: Video) -> np.ndarray:
        tracker = Tracker(model, online, seed)
        return np.stack(list(follow(tracker, frames, video.boxes[0], video.name)))

    return boxes


def measured(videos: list[Video], boxes: Boxes) -> Row:
    """Follow all objects, and compare with the truth."""
    followed, spent = [], 0.0
    for video in videos:
        frames = [video.frame(number) for number in range(len(video))]
        start = process_time()
        found = boxes(frames, video)
        spent += process_time() - start
        size = frames[0].shape[:2]
        followed.append(Followed(video.name, found, video.boxes, video.visible, size))
    frames_in_all = sum(len(video) for video in videos)
    pooled, passed = got10k(followed), ope(followed, "ope")
    return Row(
        pooled.ao,
        passed.success_auc,
        passed.precision,
        pooled.sr50,
        pooled.sr75,
        frames_in_all / spent,
    )


def line(name: str, seed: int | str, row: Row) -> str:
    """A line of the table."""
    speed = "" if name == STAYS else f"{row.speed:.0f}"
    values = " | ".join(f"{value:.3f}" for value in row[:-1])
    return f"| {name} | {seed} | {values} | {speed} |"


if __name__ == "__main__":
    main()
