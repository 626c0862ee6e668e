"""What a run will take, before anything runs: jobs, GPU-hours and disk, by table and network.

Jobs are those of Snakemake's own dry run. Hours are FLOPs x images x epochs over a throughput. All
FLOPs are the paper's (:mod:`lwdna.graph.complexity`), of which a backward pass has twice those of a
forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from lwdna.config.methods import (
    SEARCHES,
    STEPS,
    TEACHER,
    shrink_settings,
    shrinkage_of,
    steps_of,
)
from lwdna.config.sections import Config, Experiment
from lwdna.data.catalog import SIZES, Size
from lwdna.data.sequence_files import frames_of
from lwdna.data.versions import read_versions
from lwdna.tasks.kinds import kind_of
from lwdna.workflow.experiment import (
    count,
    count_tracker,
    counted_shape,
    effort,
    label,
    shape_of,
    widened,
)
from lwdna.workflow.run import Run
from lwdna.workflow.sources import Sources

if TYPE_CHECKING:
    from lwdna.workflow.snakemake import DryRun, Job

THROUGHPUT = 2e12
"""FLOPs a second of a device that nobody has measured: the order of a data centre's GPU in 32 bits
on networks as small as the paper's."""

PASSES = 3
"""Forward passes that the forward and backward pass of a training step are worth."""

SAMPLE_FRAMES = 6
"""Frames that a tracker sees in a training sample."""

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


def networks_of(config: Config, dry_run: DryRun) -> list[str]:
    """The experiments that something is trained for, one for each network, smallest step first."""
    chosen: dict[str, str] = {}
    for job in dry_run.jobs:
        if (
            job.rule == "train"
            and not kind_of(config["experiments"][job.wildcards["experiment"]]["task"]).follows
        ):
            name = job.wildcards["experiment"]
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

    def __init__(self, config: Config, dry_run: DryRun) -> None:
        self.config = config
        self.run = Run(config)
        self.unknown: set[str] = set()
        """Datasets whose size is not known, so that work on them is left out."""
        self._versions = read_versions()
        self._sources = Sources(self.run.datasets, self._versions)
        self.rows: dict[tuple[str, str, str], Work] = {}
        for job in dry_run.jobs:
            self._add(job)
        others = len(dry_run.jobs) - sum(work.jobs for work in self.rows.values())
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

    def _add(self, job: Job) -> None:
        of = job.wildcards
        if job.rule in _DATA_RULES:
            work = self._row(("", "", "data"))
            work += Work(1, disk=self._data_bytes(job))
        elif job.rule in ("train", "shrink", "prune", *SEARCHES, "evaluate", "follow"):
            section = self.run.experiments[of["experiment"]]
            work = self._row((str(min(section["tables"])), section["train"], section["label"]))
            if job.rule == "train":
                work += self._training(section, of["method"])
            elif job.rule == "shrink":
                work += self._shrinkage(section, of["shrinkage"])
            elif job.rule == "prune":
                work += Work(1, disk=_FLOAT * count(section["network"], shape_of(section))[1])
            elif job.rule == "follow":
                work += Work(1, tests=self._follow_flops(section, of["dataset"]))
            elif job.rule in SEARCHES:
                work += self._search(section, job.rule)
            else:
                work += self._tests(section, of["method"])

    def _training(self, section: Experiment, method: str) -> Work:
        protocol = self.config["protocols"][section["protocol"]]
        epochs = protocol["epochs"]
        images = self._train_images(section) * epochs
        flops, params = self._student(section, method)
        every = protocol.get("test_every", 1)
        tests = -(-epochs // every) * self._test_flops(section, flops, section["test"][:1])
        work = Work(1, tests=tests, disk=2 * _FLOAT * params)  # the weights, the last checkpoint
        if method == TEACHER:
            work.teachers = PASSES * flops * images
        else:
            work.training = PASSES * flops * images * self._step_cost(section, method)
        if self.run.distils(section, method):
            other = section["teacher"].get("experiment")
            owner = section if other is None else self.run.experiments[other]
            work.distillation = self._student(owner, TEACHER)[0] * images
        return work

    def _follow_flops(self, section: Experiment, name: str) -> float:
        """FLOPs of following the objects of a test set: those of each frame."""
        frames = sum(frames_of(part, "test") for part in self.config["datasets"][name]["test"])
        return count_tracker(section)[0] * self._known(name, frames)

    def _step_cost(self, section: Experiment, method: str) -> float:
        """What a step of a method costs, as a multiple of one pass of its network."""
        steps = steps_of(method)
        if steps is None:
            return 1.0
        home = STEPS[steps].load()
        multiple: float = home.cost(home.Settings(**section[steps]), shape_of(section)[2])
        return multiple

    def _shrinkage(self, section: Experiment, shrinkage: str) -> Work:
        shrink = shrink_settings(section, shrinkage)
        wide, params = count(widened(section["network"], shrink["widen"]), shape_of(section))
        images = shrink["batches"] * shrink["batch_size"]
        return Work(1, shrinkage=PASSES * wide * images, disk=_FLOAT * params)

    def _search(self, section: Experiment, shrinkage: str) -> Work:
        """A search, if it takes all that it may take."""
        settings = shrink_settings(section, shrinkage)
        protocol = self.config["protocols"][settings["protocol"]]
        network, shape = widened(section["network"], settings["widen"]), shape_of(section)
        flops, _ = count(section["network"], shape)
        settings["target_flops"] = flops * self._share(section, shrinkage)
        images, epochs = self._train_images(section), protocol["epochs"]
        asked = effort(shrinkage, network, shape, settings, images=images, epochs=epochs)
        wide, _ = count(network, shape)
        tests = self._test_flops(section, wide, section["test"][:1])
        return Work(
            1,
            tests=-(-epochs // protocol.get("test_every", 1)) * tests,
            shrinkage=PASSES * asked.trained + asked.run,
            disk=_FLOAT * asked.numbers,
        )

    def _tests(self, section: Experiment, method: str) -> Work:
        flops, _ = self._student(section, method)
        runs = len(section["seeds"])
        return Work(1, tests=runs * self._test_flops(section, flops, section["test"]))

    def _student(self, section: Experiment, method: str) -> tuple[float, float]:
        """FLOPs of an image, or patch, of training, and parameters, of what a run trains."""
        if self.run.kind(section).follows:
            flops, params = count_tracker(section)
            return SAMPLE_FRAMES * flops, params
        network, shape = section["network"], shape_of(section)
        flops, params = count(network, shape)
        if method == TEACHER:
            # Of a teacher of the user's own the size is not known before its file is read.
            return count(widened(network, section["teacher"].get("width", 1.0)), shape)
        if (shrinkage := shrinkage_of(method)) is not None:
            # Parameters are the baseline's: those of the shrunk network are not known yet.
            return flops * self._share(section, shrinkage), params
        return flops, params

    def _share(self, section: Experiment, shrinkage: str) -> float:
        """The budget of a shrinkage as a share of the baseline's FLOPs."""
        shrink, network = shrink_settings(section, shrinkage), section["network"]
        # It is at the size at which the paper counts.
        standard, _ = count(network, counted_shape(network))
        return float(shrink.get("target_flops", shrink.get("flops_ratio", 1) * standard)) / standard

    def _train_images(self, section: Experiment) -> float:
        """Training images of an epoch; the sub-images of photographs are not known."""
        samples = section["task"].get("samples_per_epoch")
        if samples is not None:
            return float(samples)
        dataset = self.config["datasets"][section["train"]]
        images = self._known(section["train"], self._size(section["train"]).train)
        return images * float(dataset.get("train_fraction", 1))

    def _test_flops(self, section: Experiment, flops: float, names: Iterable[str]) -> float:
        """FLOPs of one pass over some test sets."""
        if self.run.kind(section).follows:
            return flops * float(section["task"]["test_samples"])
        total = 0.0
        for name in names:
            size = self._size(name)
            each = flops
            if self.run.kind(section).tests == "images":
                scale = section["task"].get("scale", 1)
                height, width = shape_of(section)[2:]
                each *= size.pixels / scale**2 / (height * width)
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
        kind = self._sources.kind(name)
        if kind.source == "names":
            return Size(test=len(self._sources.source_of(name, "test")))
        return kind.size if kind.labelled else SIZES.get(name, kind.size)

    def _data_bytes(self, job: Job) -> float:
        """Bytes that a job of the data leaves; 0 where that is not known."""
        of = job.wildcards
        if job.rule == "sequences":  # which lists them where they are
            return 0.0
        if job.rule == "download":
            return self._published(of["download"])
        if job.rule == "images":  # which unpacks archives
            source = self._sources.source_of(of["dataset"], of["split"])
            return self._published(source) if isinstance(source, str) else 0.0
        size = self._size(of["dataset"])
        section, kind = self.run.datasets[of["dataset"]], self._sources.kind(of["dataset"])
        if job.rule in ("digits", "pack"):
            images = size.train if of.get("split") == "train" else size.test
            packed = kind.shape is not None and not kind.stays(section)
            return float(images * kind.shape.size**2 * 3) if kind.shape and packed else 0.0
        crop = section["crop"]
        pixels = size.train * crop["size"] ** 2
        partners = 1 / crop["scale"] ** 2 if "scale" in crop else 0
        return float(pixels if job.rule == "gray" else 3 * pixels * (1 + partners))

    def _published(self, path: str) -> float:
        """Bytes of a file or folder of the table of datasets, by its name."""
        version = self._versions.get(Path(path).name)
        return float(version.bytes or 0) if version else 0.0


_DATA_RULES = ("sequences", "download", "images", "crop", "gray", "digits", "pack")


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
        "epochs, a backward pass as two forward passes; a search with all the epochs that it "
        "may take. Waiting for data, tables and figures are not in them. Disk is what stays: "
        "images, weights, last checkpoints."
    )
    if plan.unknown:
        yield (
            f"The number of images is not known of {', '.join(sorted(plan.unknown))}: training or "
            "tests on them are not in the hours."
        )


def _number(value: float) -> str:
    return "-" if value == 0 else f"{value:,.1f}" if value >= 0.05 else "< 0.1"


def _order(item: tuple[tuple[str, str, str], Work]) -> tuple[bool, bool, tuple[str, str, str]]:
    """Tables first, then the data, then the rest."""
    key = item[0]
    return key[0] == "", key[2] == "the rest", key
