"""The grammar of ``results/``: where each file of a run lies, and of what run a file is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from lwdna.config.methods import SEARCHES
from lwdna.config.paper import PAPER_TABLES
from lwdna.tasks.kinds import Table, tables

TABLES: Mapping[str, Table] = {
    f"table{table}" if isinstance(table, int) else table: table for table in tables()
}
"""The tables by the names of their files."""

CONSTRAINTS = {
    "format": "csv|md|html|tex|png|svg|pdf|gif|webp",
    "job": ".+",
    "number": "|".join(map(str, PAPER_TABLES)),
    "record": "|".join(re.escape(search.record) for search in SEARCHES.values()),
    "seed": r"\d+",
    "split": "train|test",
    "table": "|".join(map(re.escape, TABLES)),
}
"""By wildcard, what it may be; any other is one name, without a slash."""

_WILDCARD = re.compile(r"\{(\w+)\}")


class Place(str):
    """A path with wildcards in braces, as Snakemake writes them."""

    @property
    def wildcards(self) -> tuple[str, ...]:
        """The names of its wildcards."""
        return tuple(dict.fromkeys(_WILDCARD.findall(self)))

    def at(self, **wildcards: object) -> str:
        """The path of one file: every wildcard is filled in.

        Raises:
            KeyError: if a wildcard is missing, or is none of this path's.
        """
        if set(wildcards) != set(self.wildcards):
            raise KeyError(f"'{self}' has the wildcards {self.wildcards}, not {tuple(wildcards)}")
        return str(self.where(**wildcards))

    def where(self, **wildcards: object) -> Place:
        """The path with some of its wildcards filled in.

        Raises:
            KeyError: if one of them is none of this path's.
        """
        if foreign := set(wildcards) - set(self.wildcards):
            raise KeyError(f"'{self}' has no wildcard {foreign}")
        return Place(_WILDCARD.sub(lambda m: str(wildcards.get(m[1], m[0])), self))

    def read(self, path: str | os.PathLike[str]) -> dict[str, str] | None:
        """The wildcards of a path, the inverse of :meth:`at`; None for a path of another place.

        What comes before ``results/`` is not looked at: storage may put a file elsewhere.
        """
        found = re.fullmatch(f"(?:.*/)?{self._pattern()}", os.fspath(path), re.DOTALL)
        return found and {name: found[name] for name in self.wildcards}

    def _pattern(self) -> str:
        named: set[str] = set()
        pieces = _WILDCARD.split(self)  # text and names by turns
        for i, name in enumerate(pieces[1::2], start=0):
            constraint = CONSTRAINTS.get(name, "[^/]+")
            pieces[2 * i + 1] = f"(?P={name})" if name in named else f"(?P<{name}>{constraint})"
            named.add(name)
        pieces[::2] = map(re.escape, pieces[::2])
        return "".join(pieces)


IMAGES = Place("results/images/{dataset}/{split}")
"""A folder of images, of training or test."""
STORE = Place("results/data/{dataset}/{split}.h5")
"""Images with labels."""
SEQUENCES = Place("results/sequences/{dataset}/{split}.json")
"""A listing of videos, of training or test."""
COLOUR = Place("results/data/{dataset}/colour.h5")
"""Sub-images."""
GRAY = Place("results/data/{dataset}/gray.h5")

_SHRUNK = "results/shrink/{experiment}/{shrinkage}/seed{seed}"
NETWORK = Place(f"{_SHRUNK}/network.safetensors")
"""A shrunk network, before training."""
SUMMARY = Place(f"{_SHRUNK}/network.json")
"""Channels, FLOPs and parameters of a shrunk network, before and after."""
CHANNELS = Place(f"{_SHRUNK}/channels.csv")
"""Channels by layer of a shrunk network, before and after."""
SEARCH_HISTORY = Place(f"{_SHRUNK}/history.csv")
RECORD = Place(f"{_SHRUNK}/{{record}}")
"""What a search notes on the way: DHP the latent vectors of each epoch, AutoSlim each removal,
MetaPruning each iteration."""

SHARED = Place(f"{_SHRUNK}/shared.safetensors")
"""The network that learned at all widths, in which AutoSlim searches."""
SHARED_WIDTHS = Place(f"{_SHRUNK}/widths.csv")
"""What it measures at some of them."""

_RUN = "results/runs/{experiment}/{method}"
WEIGHTS = Place(f"{_RUN}/seed{{seed}}/weights.safetensors")
"""A trained network."""
HISTORY = Place(f"{_RUN}/seed{{seed}}/history.csv")
"""Loss and test results, epoch by epoch."""
WIDTHS = Place(f"{_RUN}/seed{{seed}}/widths.csv")
"""What a trained network measures at several widths and sizes of its images."""
METRICS = Place(f"{_RUN}/metrics.csv")
"""Every seed of a method, measured on every test set."""
BOXES = Place(f"{_RUN}/seed{{seed}}/boxes/{{dataset}}.zip")
"""What a tracker found in the videos of a test set."""
TIMES = Place(f"{_RUN}/seed{{seed}}/times/{{dataset}}.zip")
"""How long it took, frame by frame."""
SUBMISSION = Place(f"{_RUN}/submission/{{dataset}}.zip")
"""What it found, as the server of the data set takes it."""
REFERENCE = Place("results/references/{reference}/{dataset}.csv")
"""What is had without a network on a test set."""
CHECKPOINTS = Place("results/checkpoints/{experiment}/{method}/seed{seed}")
"""A folder of what a training resumes from: no output, which Snakemake would delete."""
LIVE_HISTORY = Place(f"{CHECKPOINTS}/history.csv")
"""The same as the history, of a training that may be at work; METHOD-search is a search."""
FOLLOWED = Place("results/checkpoints/{experiment}/{method}/seed{seed}/followed/{dataset}")
"""The same for a tracker on a test set."""

COMPLEXITY = Place("results/complexity.csv")
"""The baselines of the paper, counted."""
REPLICA = Place("results/complexity/networks/{replica}.csv")
"""A network of the paper shrunk again."""
REPLICA_CHANNELS = Place("results/complexity/networks/{replica}.json")
"""Its numbers of channels, as a file of ``lwdna/zoo/``."""
REPLICATION = Place("results/complexity/table{number}.{format}")
"""The complexity columns of one of the paper's tables."""

TABLE = Place("results/tables/{table}.{format}")
"""What ran of a table."""
PAPER_ROWS = Place("results/tables/{table}-paper.{format}")
"""The rows of a table of the paper."""
WIDTHS_TABLE = Place("results/tables/widths.{format}")
WIDTHS_FIGURE = Place("results/figures/widths.{format}")
AGREEMENT = Place("results/tables/agreement.{format}")
AGREEMENT_FIGURE = Place("results/figures/agreement.{format}")
TRAINING_LOGS = Place("results/figures/training-logs.{format}")
REMAINING_CHANNELS = Place("results/figures/remaining-channels.{format}")
STRIP = Place("results/figures/strip-{experiment}.{format}")
SUCCESS = Place("results/figures/success-{experiment}.{format}")
BOXES_STRIP = Place("results/figures/boxes-{experiment}.{format}")
LATENTS_FIGURE = Place("results/figures/latents-{experiment}.{format}")
SEARCHES_FIGURE = Place("results/figures/searches.{format}")
REPORT = Place("results/report.html")
"""One page of all of them."""

LOG = Place("results/logs/{job}.log")
"""What a job said. Rules write it out, for people who read them."""
BENCHMARK = Place("results/benchmarks/{job}.tsv")
"""What a job took; the same."""
BENCHMARKS = Place("results/benchmarks")
"""The folder of these, which the report sums up."""

PLACES = {name: value for name, value in list(globals().items()) if isinstance(value, Place)}
"""Every place, by its name here."""


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, str]]:
    """Of what a path of ``results/`` is: the name of its place, and its wildcards.

    Raises:
        ValueError: if the path is of no place.
    """
    for name, place in PLACES.items():
        if (wildcards := place.read(path)) is not None:
            return name, wildcards
    raise ValueError(f"'{Path(path)}' is no path of results/")


def run_of(path: str | os.PathLike[str]) -> dict[str, str | int]:
    """Experiment, method and seed of the run that a file is of.

    Raises:
        ValueError: if the path is of no run.
    """
    name, of = read(path)
    method = of.get("method") or of.get("shrinkage")
    if method is None or "seed" not in of:
        raise ValueError(f"'{Path(path)}' is {name} of results/, and of no run")
    return {"experiment": of["experiment"], "method": method, "seed": int(of["seed"])}
