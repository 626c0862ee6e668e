"""What a run will take, before anything runs: jobs, GPU-hours and disk, by table and network.

Jobs are those of Snakemake's own dry run. Hours are FLOPs x images x epochs over a throughput. All
FLOPs are the paper's (:mod:`lwdna.graph.complexity`), of which a backward pass has twice those of a
forward pass.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import lwdna
from lwdna.config import CLASSIFIED
from lwdna.data.versions import read_versions
from lwdna.hypernet import EMBEDDING, hypernetwork_size
from lwdna.methods import DHP, METHODS, shrink_settings
from lwdna.networks import build_seeded
from lwdna.registry import input_shape

THROUGHPUT = 2e12
"""FLOPs a second of a device that nobody has measured: the order of a data centre's GPU in 32 bits
on networks as small as the paper's."""

PASSES = 3
"""Forward passes that the forward and backward pass of a training step are worth."""

_FLOAT = 4
"""Bytes of a weight."""

_HEADS = {
    "table": "Table",
    "dataset": "Dataset",
    "network": "Network",
    "jobs": "Jobs",
    "teachers_hours": "Teacher",
    "training_hours": "Training",
    "distillation_hours": "KD",
    "tests_hours": "Tests",
    "shrinkage_hours": "Shrink",
    "hours": "Hours",
    "disk_gb": "Disk, GB",
}
"""Columns of a plan that are printed."""


@dataclass(frozen=True)
class Size:
    """How large a dataset is, as published; the paper uses them whole. 0 is none, or not known."""

    train: int = 0
    """Training images; of restoration sub-images."""
    test: int = 0
    """Test images."""
    pixels: float = 3e5
    """Of a test image, on average; for restoration, whose images differ."""
    side: int = 0
    """Height and width of the images where they are equal and packed into stores."""


SIZES: Mapping[str, Size] = {
    "cifar10": Size(50_000, 10_000, side=32),
    "cifar100": Size(50_000, 10_000, side=32),
    "tiny-imagenet": Size(100_000, 10_000, side=64),
    "imagenet": Size(1_281_167, 50_000),
    "digits": Size(1_797, 1_797, side=32),
    "div2k": Size(32_208),  # sub-images (supplement, Sec. 2.3)
    "div2k-valid": Size(0, 100, 2.8e6),
    "bsd68": Size(0, 68, 154_401),
    "set5": Size(0, 5, 113_491),
    "set12": Size(0, 12, 147_456),
    "set14": Size(0, 14, 230_203),
    "b100": Size(0, 100, 154_401),
    "urban100": Size(0, 100, 7.7e5),
}
"""Known datasets: with labels by their kind, folders of images by the names that the project's
configurations give them."""


@dataclass
class Work:
    """What jobs take: FLOPs of four kinds, and bytes."""

    jobs: int = 0
    teachers: float = 0.0
    """Training the teachers."""
    training: float = 0.0
    """Training everything else."""
    distillation: float = 0.0
    """The teacher's forward passes while others learn from it."""
    tests: float = 0.0
    """After epochs of the trainings, and in the evaluation."""
    shrinkage: float = 0.0
    disk: float = 0.0
    """Bytes that stay."""

    def __iadd__(self, other: Work) -> Work:
        for entry in fields(self):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))
        return self

    @property
    def flops(self) -> float:
        """Of all kinds."""
        return self.teachers + self.training + self.distillation + self.tests + self.shrinkage


@dataclass(frozen=True)
class DryRun:
    """What Snakemake would run."""

    counts: Mapping[str, int]
    """Jobs by rule."""
    commands: Sequence[Sequence[str]]
    """The words of each command after ``lwdna``, options of the command line itself left out."""


def read_dry_run(text: str) -> DryRun:
    """Read what ``snakemake --dry-run --printshellcmds`` prints."""
    counts: dict[str, int] = {}
    if "Job stats:" in text:
        table = text.split("Job stats:", 1)[1].split("\n\n", 1)[0]
        for name, number in re.findall(r"^(\S+) +(\d+)$", table, re.MULTILINE):
            counts[name] = int(number)
        counts.pop("total", None)
    commands = []
    for line in re.findall(r"^Shell command: (.*)$", text, re.MULTILINE):
        match = re.search(r"-m lwdna (?:--log (?:'[^']*'|\S+) )?(.*)", line)
        if match:
            commands.append(shlex.split(match.group(1)))
    return DryRun(counts, commands)


def networks_of(config: Mapping[str, Any], dry_run: DryRun) -> list[str]:
    """The experiments that something is trained for, one for each network, smallest step first."""
    chosen: dict[str, str] = {}
    for command in dry_run.commands:
        name, _ = _owner(command)
        if command[0] == "train" and name in config["experiments"]:
            chosen.setdefault(label(config["experiments"][name]), name)

    def cost(name: str) -> float:
        section = config["experiments"][name]
        return count(section["network"], shape_of(section))[0] * float(
            config["protocols"][section["protocol"]]["batch_size"]
        )

    return sorted(chosen.values(), key=cost)


class Plan:
    """Works out what the jobs of a dry run take.

    Args:
        config: checked, see :func:`lwdna.config.check`.
        dry_run: what is to be run.

    Raises:
        DataError: if the table of datasets cannot be read.
    """

    def __init__(self, config: Mapping[str, Any], dry_run: DryRun) -> None:
        self.config = config
        self.dry_run = dry_run
        self.unknown: set[str] = set()
        """Datasets whose size is not known, so that work on them is left out."""
        self._downloads = {name: v.bytes or 0 for name, v in read_versions().items()}
        self.rows: dict[tuple[str, str, str], Work] = {}
        for command in dry_run.commands:
            self._add(command)
        others = sum(dry_run.counts.values()) - sum(work.jobs for work in self.rows.values())
        self._row(("", "", "the rest")).jobs += others

    def frame(self, rate: Callable[[str], float]) -> pd.DataFrame:
        """One row for each table, dataset and network, one for the data, one for the rest, and
        the sum.

        Args:
            rate: FLOPs a second, by the label of a network.

        Returns:
            ``table``, ``dataset``, ``network``, ``jobs``, hours of one device by kind and in all,
            ``flops``, ``disk_gb``.
        """
        kinds = ("teachers", "training", "distillation", "tests", "shrinkage")
        rows = []
        for (table, dataset, network), work in sorted(self.rows.items(), key=_order):
            # The rate belongs to a network on a dataset.
            seconds = rate(f"{network} ({dataset})")
            hours = {f"{kind}_hours": getattr(work, kind) / seconds / 3600 for kind in kinds}
            rows.append(
                {"table": table, "dataset": dataset, "network": network, "jobs": work.jobs}
                | hours
                | {"hours": sum(hours.values()), "flops": work.flops, "disk_gb": work.disk / 1e9}
            )
        frame = pd.DataFrame(rows)
        total = {"table": "", "dataset": "", "network": "all"} | frame.sum(
            numeric_only=True
        ).to_dict()
        frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)
        return frame.astype({"jobs": int})

    def _row(self, key: tuple[str, str, str]) -> Work:
        return self.rows.setdefault(key, Work())

    def _add(self, command: Sequence[str]) -> None:
        step = command[0]
        name, method = _owner(command)
        if step in _DATA_STEPS:
            row = self._row(("", "", "data"))
            row += Work(1, disk=self._data_bytes(command))
            self.rows["", "", "data"] = row
        elif step in ("train", "shrink", "dhp", "evaluate") and name in self.config["experiments"]:
            section = self.config["experiments"][name]
            key = (str(min(section["tables"])), section["train"], section["label"])
            row = self._row(key)
            work = {
                "train": self._training,
                "shrink": self._shrinkage,
                "dhp": self._search,
                "evaluate": self._tests,
            }
            row += work[step](section, method)
            self.rows[key] = row

    def _training(self, section: Mapping[str, Any], method: str) -> Work:
        protocol = self.config["protocols"][section["protocol"]]
        epochs = protocol["epochs"]
        images = self._train_images(section) * epochs
        flops, params = self._student(section, method)
        every = protocol.get("test_every", 1)
        tests = -(-epochs // every) * self._test_flops(section, flops, section["test"][:1])
        work = Work(1, tests=tests, disk=2 * _FLOAT * params)  # the weights, the last checkpoint
        if method == "teacher":
            work.teachers = PASSES * flops * images
        else:
            work.training = PASSES * flops * images
        if "teacher" in section and method in METHODS and METHODS[method].distils:
            work.distillation = (
                self._student(self._owner_of_teacher(section), "teacher")[0] * images
            )
        return work

    def _owner_of_teacher(self, section: Mapping[str, Any]) -> Mapping[str, Any]:
        other = section["teacher"].get("experiment")
        experiments: Mapping[str, Mapping[str, Any]] = self.config["experiments"]
        return section if other is None else experiments[other]

    def _shrinkage(self, section: Mapping[str, Any], method: str) -> Work:
        shrink = shrink_settings(section, method)
        wide, params = count(_widened(section["network"], shrink["widen"]), shape_of(section))
        images = shrink["batches"] * shrink["batch_size"]
        return Work(1, shrinkage=PASSES * wide * images, disk=_FLOAT * params)

    def _search(self, section: Mapping[str, Any], method: str) -> Work:
        """The search by DHP, if it takes all the epochs that it may take."""
        settings = shrink_settings(section, DHP)
        protocol = self.config["protocols"][settings["protocol"]]
        network, shape = _widened(section["network"], settings["widen"]), shape_of(section)
        wide, params = count(network, shape)
        # Its last checkpoint stays: the hypernetworks, and what is not made by them.
        params += hypernetwork(network, shape, settings.get("embedding", EMBEDDING))
        every = protocol.get("test_every", 1)
        tests = -(-protocol["epochs"] // every) * self._test_flops(
            section, wide, section["test"][:1]
        )
        images = self._train_images(section) * protocol["epochs"]
        return Work(1, tests=tests, shrinkage=PASSES * wide * images, disk=_FLOAT * params)

    def _tests(self, section: Mapping[str, Any], method: str) -> Work:
        flops, _ = self._student(section, method)
        runs = len(section["seeds"])
        return Work(1, tests=runs * self._test_flops(section, flops, section["test"]))

    def _student(self, section: Mapping[str, Any], method: str) -> tuple[float, float]:
        """FLOPs of an image, or patch, of training, and parameters, of what a run trains."""
        network, shape = section["network"], shape_of(section)
        flops, params = count(network, shape)
        if method == "teacher":
            return count(_widened(network, section["teacher"]["width"]), shape)
        if (shrinkage := METHODS[method].shrinkage) is not None:
            # The budget is at the size at which the paper counts; parameters are the baseline's,
            # since those of the shrunk network are not known yet.
            shrink = shrink_settings(section, shrinkage)
            standard, _ = count(network, input_shape(network["name"], network.get("dataset")))
            target = shrink.get("target_flops", shrink.get("flops_ratio", 1) * standard)
            return flops * target / standard, params
        return flops, params

    def _train_images(self, section: Mapping[str, Any]) -> float:
        """Training images of an epoch; the sub-images of photographs are not known."""
        samples = section["task"].get("samples_per_epoch")
        if samples is not None:
            return float(samples)
        dataset = self.config["datasets"][section["train"]]
        images = self._known(section["train"], self._size(section["train"]).train)
        return images * float(dataset.get("train_fraction", 1))

    def _test_flops(self, section: Mapping[str, Any], flops: float, names: Iterable[str]) -> float:
        """FLOPs of one pass over some test sets."""
        total = 0.0
        for name in names:
            size = self._size(name)
            each = flops
            if section["task"]["kind"] != "classification":
                scale = section["task"].get("scale", 1)
                each *= size.pixels / scale**2 / section["task"]["patch_size"] ** 2
            dataset = self.config["datasets"][name]
            left = 1 - float(dataset.get("train_fraction", 0))
            total += each * self._known(name, size.test) * left
        return total

    def _known(self, name: str, images: int) -> int:
        """A number of images of a dataset, which is noted as unknown if it is 0."""
        if not images:
            self.unknown.add(name)
        return images

    def _size(self, name: str) -> Size:
        """The size of a dataset: as listed, as published, or unknown."""
        dataset = self.config["datasets"].get(name, {})
        kind = dataset.get("kind")
        if kind == "photographs":
            return Size(test=len(dataset.get("test", ())))
        if kind == "images" and name not in CLASSIFIED:
            return SIZES.get(name, Size())
        return SIZES.get(kind, Size())

    def _data_bytes(self, command: Sequence[str]) -> float:
        """Bytes that a step of the data leaves; 0 where that is not known."""
        downloads = [self._downloads.get(Path(word).name, 0) for word in command]
        if command[0] in ("download", "images"):  # the latter unpacks archives
            return max(downloads)
        stores = [Path(word) for word in command if word.endswith(".h5")]
        if not stores:
            return 0.0
        name, part = stores[-1].parent.name, stores[-1].stem
        size = self._size(name)
        if part in ("train", "test"):
            return float((size.train if part == "train" else size.test) * size.side**2 * 3)
        crop = self.config["datasets"].get(name, {}).get("crop", {})
        pixels = size.train * crop.get("size", 0) ** 2
        partners = 1 / crop["scale"] ** 2 if "scale" in crop else 0
        return float(pixels if part == "gray" else 3 * pixels * (1 + partners))


_DATA_STEPS = ("download", "images", "crop", "gray", "digits", "pack")


def as_text(frame: pd.DataFrame, dry_run: DryRun) -> str:
    """The table of :meth:`Plan.frame` and the jobs by rule, for people."""
    shown = frame[list(_HEADS)].rename(columns=_HEADS)
    hours = [_HEADS[name] for name in _HEADS if name.endswith("hours")]
    text: str = shown.to_string(
        index=False, formatters=dict.fromkeys([*hours, _HEADS["disk_gb"]], _number)
    )
    counts = ", ".join(f"{name} {number}" for name, number in sorted(dry_run.counts.items()))
    return f"{text}\n\nJobs by rule: {counts or 'none, everything is done'}."


def notes(throughput: str, plan: Plan) -> Iterator[str]:
    """What the numbers of a plan rest on.

    Args:
        throughput: what :meth:`Plan.frame` was given, in words.
        plan: the plan.
    """
    yield (
        f"Hours are of one device, for {throughput}: FLOPs as the paper counts them x images x "
        "epochs, a backward pass as two forward passes; the search by DHP with all the epochs that "
        "it may take. Waiting for data, tables and figures are not in them. Disk is what stays: "
        "images, weights, last checkpoints."
    )
    if plan.unknown:
        yield (
            f"The number of images is not known of {', '.join(sorted(plan.unknown))}: training or "
            "tests on them are not in the hours."
        )


def _number(value: float) -> str:
    return "-" if value == 0 else f"{value:,.1f}" if value >= 0.05 else "< 0.1"


def label(section: Mapping[str, Any]) -> str:
    """How a network is called in a plan: its label and what it is trained on."""
    return f"{section['label']} ({section['train']})"


def shape_of(section: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """The shape (1, C, H, W) of a training image or patch of an experiment."""
    network = section["network"]
    one, channels, height, width = input_shape(network["name"], network.get("dataset"))
    side = section["task"].get("patch_size")
    return (one, channels, side, side) if side else (one, channels, height, width)


def count(network: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[float, float]:
    """FLOPs and parameters of a network of the configuration, for an input of a shape."""
    return _count(json.dumps(network, sort_keys=True), shape)


@cache
def _count(network: str, shape: tuple[int, ...]) -> tuple[float, float]:
    with torch.device("meta"):  # weights are not needed
        model = build_seeded(json.loads(network), seed=0)
    flops, params = lwdna.complexity(model, torch.empty(shape, device="meta"))
    return float(flops), float(params)


def hypernetwork(network: Mapping[str, Any], shape: tuple[int, ...], embedding: int) -> int:
    """Numbers in the hypernetworks of a network of the configuration."""
    with torch.device("meta"):
        model = build_seeded(network, seed=0)
    graph = lwdna.ChannelGraph(model, torch.empty(shape, device="meta"))
    return hypernetwork_size(graph, model, embedding)


def _widened(network: Mapping[str, Any], width: float) -> dict[str, Any]:
    return {**network, "width": network.get("width", 1) * width}


def _owner(command: Sequence[str]) -> tuple[str, str]:
    """Experiment and method of a command, read off the path of what it writes."""
    for path in reversed(command):
        match = re.search(r"results/(?:runs|shrink)/([^/]+)/([^/]+)/", path)
        if match:
            return match[1], match[2]
    return "", ""


def _order(item: tuple[tuple[str, str, str], Work]) -> tuple[bool, bool, tuple[str, str, str]]:
    """Tables first, then the data, then the rest."""
    key = item[0]
    return key[0] == "", key[2] == "the rest", key
