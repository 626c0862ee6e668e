"""What a run is asked by the rules that make stores and folders of images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lwdna.data.archives import archive_of
from lwdna.data.catalog import DATASET_KINDS, IMAGE_KINDS, DatasetKind, DatasetSection
from lwdna.data.versions import Version, recorded, what_lacks
from lwdna.workflow.run import Wildcards
from lwdna.workflow.words import as_json, options, repeated


class Sources:
    """The folders, archives and photographs of the data sets of a configuration.

    Args:
        datasets: their sections.
        versions: the table of datasets, see :func:`lwdna.data.versions.read_versions`.
    """

    def __init__(
        self, datasets: Mapping[str, DatasetSection], versions: Mapping[str, Version]
    ) -> None:
        self.datasets = datasets
        self.versions = versions
        self.downloads = self._missing()
        """The files that datasets name and that are downloaded: those that are not there."""

    def changed(self) -> list[str]:
        """The downloads that have come, or gone, since it was decided what is one."""
        return sorted(set(self.downloads).symmetric_difference(self._missing()))

    def _missing(self) -> list[str]:
        named = [
            dataset[key]
            for dataset in self.datasets.values()
            for key in ("train", "test", "archive")
            if isinstance(dataset.get(key), str)
        ]
        files = {archive_of(path) or Path(path) for path in named}
        known = {name for name, version in self.versions.items() if version.downloadable}
        # What is there is an input like any other: a download would be free to delete it.
        return sorted(str(file) for file in files if file.name in known and not file.exists())

    def made_by(self, step: str) -> str:
        """Pattern of the names of the datasets that a step makes ready."""
        return pattern(name for name in self.datasets if self.kind(name).step == step)

    def kind(self, dataset: str) -> DatasetKind:
        """The kind of a dataset."""
        return DATASET_KINDS[self.datasets[dataset]["kind"]]

    def section(self, wildcards: Wildcards) -> DatasetSection:
        """The section of a dataset."""
        return self.datasets[wildcards.dataset]

    def source(self, wildcards: Wildcards) -> str | list[str]:
        """The folder or archive that holds a split of a dataset, or names of images, or none."""
        return self.source_of(wildcards.dataset, wildcards.split)

    def source_of(self, dataset: str, split: str) -> str | list[str]:
        """As :meth:`source`, of a dataset and a split by name."""
        section = self.datasets[dataset]
        found: str | list[str] = section.get("archive", section.get(split, []))
        return found

    def file(self, wildcards: Wildcards) -> str | list[str]:
        """The archive that a split of a dataset is read from, if it is there or is downloaded."""
        source = self.source(wildcards)
        if not isinstance(source, str):
            return []
        file = archive_of(source) or Path(source)
        # What is neither there nor downloaded is for the step to explain.
        return str(file) if file.is_file() or str(file) in self.downloads else []

    def lacking(self, jobs: Iterable[Any]) -> list[str]:
        """A sentence for each folder or archive that is neither there nor downloaded.

        Args:
            jobs: of Snakemake; those that read such a thing have wildcards for it.
        """
        asked = {
            (job.wildcards.dataset, job.wildcards.split)
            for job in jobs
            if {"dataset", "split"} <= set(job.wildcards.keys())
        }
        found: dict[str, None] = {}
        for dataset, split in sorted(asked):
            source = self.source_of(dataset, split)
            if (
                isinstance(source, str)
                and str(archive_of(source) or Path(source)) not in self.downloads
            ):
                sentence = what_lacks(source, self.versions)
                found |= {} if sentence is None else {sentence: None}
        return list(found)

    def listing(self, wildcards: Wildcards) -> str:
        """What is in the folder that a dataset names, so that a change of it is noticed."""
        folder = self.source(wildcards)
        if not isinstance(folder, str) or not Path(folder).is_dir():
            return ""
        # Of images by the million, only the folders of classes: they note when they change.
        paths = (
            Path(folder).iterdir()
            if self.kind(wildcards.dataset).stays(self.section(wildcards))
            else (path for path in Path(folder).rglob("*") if path.is_file())
        )
        facts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(paths)]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def sets(self, wildcards: Wildcards) -> list[str]:
        """The sets of videos of a split of a dataset, for the command line."""
        words = ["--kind", self.section(wildcards)["kind"], "--split", wildcards.split]
        return words + repeated("--set", map(as_json, self.source(wildcards)))

    def sets_content(self, wildcards: Wildcards) -> str:
        """What is in the folders of these, so that a change of one is noticed."""
        folders = [Path(part["folder"]) for part in self.source(wildcards) if "folder" in part]  # type: ignore
        # Of videos by the thousand, only their own folders: these note when they change.
        inner = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        facts = [(str(path), path.stat().st_mtime_ns) for path in sorted(inner)]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16] if facts else ""

    def sha256(self, wildcards: Wildcards) -> str | None:
        """The check sum of a download: that of the table, or what the download has noted."""
        checksum = self.versions[Path(wildcards.download).name].checksum
        if checksum.startswith("sha256:"):
            return checksum.removeprefix("sha256:")
        return recorded(wildcards.download)

    def images(self, wildcards: Wildcards) -> list[str]:
        """Names of images, or the folder or archive of them, for the command line."""
        source, name = self.source(wildcards), self.section(wildcards)["kind"]
        words = [*source] if isinstance(source, list) else ["--folder", source]
        if name in IMAGE_KINDS.values():  # which follow from the words
            return words
        kind = ["--kind", name, "--split", wildcards.split]
        return [*kind, *self._own_options(wildcards), *words]

    def _own_options(self, wildcards: Wildcards) -> list[str]:
        """The keys of a dataset that only its kind knows, for the command line."""
        section = self.section(wildcards)
        given = self.kind(wildcards.dataset).options(section)
        return ["--options", as_json(given)] if given else []

    def crop_options(self, wildcards: Wildcards) -> list[str]:
        """The rule of sub-images of a dataset, for the command line."""
        return options(self.section(wildcards)["crop"], ("size", "step", "threshold", "scale"))

    def pack_options(self, wildcards: Wildcards) -> list[str]:
        """How a dataset for classification is read, for the command line."""
        section = self.section(wildcards)
        words = ["--kind", section["kind"], "--split", wildcards.split]
        words += ["--list"] if self.kind(wildcards.dataset).stays(section) else []
        return [*words, *self._own_options(wildcards)]

    def train_fraction(self, wildcards: Wildcards) -> Any:
        """How much of a dataset without a test set of its own is trained on."""
        return self.section(wildcards)["train_fraction"]

    def seed(self, wildcards: Wildcards) -> Any:
        """What decides which images of it are trained on."""
        return self.section(wildcards)["seed"]


def pattern(names: Any) -> str:
    """A pattern of some names, for a wildcard; of none, one that matches nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"
