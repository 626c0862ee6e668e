"""What a run is asked by the rules that shrink, train and evaluate.

Methods that take ``wildcards`` are functions of inputs and parameters of rules. What follows from
the kind of a task is said by :data:`lwdna.tasks.kinds.KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from lwdna.config.methods import (
    BASELINES,
    METHODS,
    TEACHER,
    shrink_settings,
    shrinkage_of,
    steps_of,
)
from lwdna.config.sections import Config, Experiment
from lwdna.config.select import selected
from lwdna.data.catalog import DATASET_KINDS, DatasetSection
from lwdna.data.sequence_files import HIDDEN, SERVERS, SYNTHETIC
from lwdna.networks.user_code import is_own, sources_of
from lwdna.tasks.kinds import TaskKind, kind_of
from lwdna.tasks.sections import NetworkSection
from lwdna.workflow import paths
from lwdna.workflow.paths import Place
from lwdna.workflow.words import as_json, growing, options, repeated

_TRAIN = {
    "train": paths.STORE.where(split="train"),
    "gray": paths.GRAY,
    "colour": paths.COLOUR,
    "sequences": paths.SEQUENCES.where(split="train"),
}
"""What of a dataset is trained on; see :class:`lwdna.tasks.kinds.TaskKind`."""

TESTS = {"store": paths.STORE, "images": paths.IMAGES, "sequences": paths.SEQUENCES}
"""What of a dataset is tested on."""


class Wildcards(Protocol):
    """What a rule's functions are given; each rule has some of these."""

    dataset: str
    download: str
    experiment: str
    method: str
    number: str
    reference: str
    replica: str
    seed: str
    shrinkage: str
    split: str
    table: str


class Tested(Protocol):
    """The inputs of a rule that has test sets."""

    test: Iterable[str]


class Found(Tested, Protocol):
    """The inputs of a rule that has boxes of trackers."""

    weights: Iterable[str]
    boxes: Iterable[str]


class Run:
    """Answers what the rules of a configuration ask.

    Args:
        config: checked, see :func:`lwdna.config.check`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.datasets: Mapping[str, DatasetSection] = config["datasets"]
        self.experiments: Mapping[str, Experiment] = config["experiments"]
        self.selected: Mapping[str, Experiment] = {
            name: {**self.experiments[name], "methods": methods}
            for name, methods in selected(config).items()
        }
        """What is to be run. The others keep their rules: their teachers may be needed."""

    def section(self, wildcards: Wildcards) -> Experiment:
        """The section of an experiment."""
        return self.experiments[wildcards.experiment]

    def kind(self, section: Experiment) -> TaskKind:
        """The kind of task of an experiment."""
        return kind_of(section["task"])

    def train_images(self, wildcards: Wildcards) -> str:
        """The store an experiment is trained on."""
        section = self.section(wildcards)
        return _TRAIN[self.kind(section).store].at(dataset=section["train"])

    def test_images(self, wildcards: Wildcards) -> list[str]:
        """The stores or folders an experiment is tested on, in the order of its test sets."""
        section = self.section(wildcards)
        place = TESTS[self.kind(section).tests]
        return [place.at(dataset=name, split="test") for name in section["test"]]

    def first_test(self, wildcards: Wildcards) -> str:
        """What an experiment is tested on during training, and pictured with."""
        return self.test_images(wildcards)[0]

    def test_sets(self, wildcards: Wildcards, input: Tested) -> list[str]:
        """Names and paths of the test sets, and what is measured on them if the weights do not
        tell, for the command line."""
        return self.test_words(wildcards, input) + self.own_network(wildcards)

    def test_words(self, wildcards: Wildcards, input: Tested) -> list[str]:
        """Names and paths of the test sets, for the command line."""
        pairs = zip(self.section(wildcards)["test"], input.test, strict=True)
        return [word for name, path in pairs for word in ("--test", name, path)]

    def task(self, wildcards: Wildcards) -> str:
        """The task of an experiment, for the command line."""
        return as_json(self.section(wildcards)["task"])

    def protocol(self, wildcards: Wildcards) -> str:
        """The training protocol of a run, for the command line."""
        return as_json(self.config["protocols"][self.section(wildcards)["protocol"]])

    def search_protocol(self, wildcards: Wildcards) -> str:
        """The protocol of a search, for the command line."""
        own = self.section(wildcards)[wildcards.shrinkage]
        return as_json(self.config["protocols"][own["protocol"]])

    def convention(self, section: Experiment, test_set: str) -> str | None:
        """How the results on a test set are measured; None as the task has it."""
        own, kind = section.get("convention"), self.kind(section)
        if kind.convention_of_dataset:
            return str(own or self.datasets[test_set]["convention"])
        # What is written out is no other training than what is left out.
        return None if own in kind.conventions[:1] else own

    def first_convention(self, wildcards: Wildcards) -> list[str]:
        """How the first test set is measured, for the command line."""
        section = self.section(wildcards)
        chosen = self.convention(section, section["test"][0])
        return ["--convention", chosen] if chosen else []

    def conventions(self, wildcards: Wildcards) -> str:
        """By test set, how it is measured, for the command line."""
        section = self.section(wildcards)
        chosen = {name: self.convention(section, name) for name in section["test"]}
        return as_json({name: value for name, value in chosen.items() if value})

    def count_batch_norm(self, wildcards: Wildcards) -> str:
        """Whether the FLOPs of an experiment count batch norm, for the command line."""
        counts = self.section(wildcards)["count_batch_norm"]
        return "--count-batch-norm" if counts else "--no-count-batch-norm"

    def scale(self, wildcards: Wildcards) -> list[str]:
        """The banner of a run that is not at the paper's scale, for the command line."""
        # A function, so that braces are text.
        return ["--scale", self.config["scale"]] if self.config["scale"] else []

    def title(self, wildcards: Wildcards) -> str:
        """What an experiment is called."""
        return str(self.section(wildcards)["label"])

    def wide_network(self, wildcards: Wildcards) -> list[str]:
        """The network to widen and shrink, for the command line."""
        network = self.section(wildcards)["network"]
        words = [network["name"], "--options", as_json(network["options"])]
        return words + options(network, ("dataset", "width")) + _shape(network)

    def own_sources(self, wildcards: Wildcards) -> list[str]:
        """The files of an experiment's network if it is the user's own, so that rules notice when
        they change."""
        return sources_of(self.section(wildcards)["network"]["name"])

    def train_sources(self, wildcards: Wildcards) -> list[str]:
        """As :meth:`own_sources`, and those of the teacher's network if it learns from one."""
        names = [self.section(wildcards)["network"]["name"]]
        if self.distils(self.section(wildcards), wildcards.method):
            names.append(self.experiments[self._owner(wildcards)]["network"]["name"])
        return list(dict.fromkeys(file for name in names for file in sources_of(name)))

    def own_network(self, wildcards: Wildcards) -> list[str]:
        """What makes an experiment's network if it is the user's own, for the command line."""
        network = self.section(wildcards)["network"]
        return maker("--network", network) + _shape(network)

    def own_maker(self, wildcards: Wildcards) -> list[str]:
        """As :meth:`own_network`, where the shape of its input does not matter."""
        return maker("--network", self.section(wildcards)["network"])

    def shrink_options(self, wildcards: Wildcards) -> list[str]:
        """The settings of shrinkage, for the command line."""
        settings = shrink_settings(self.section(wildcards), wildcards.shrinkage)
        return options(settings, sorted(settings))

    def search_options(self, wildcards: Wildcards) -> list[str]:
        """The settings of a search, for the command line."""
        settings = shrink_settings(self.section(wildcards), wildcards.shrinkage)
        # The protocol is given as it is, and histograms are for Figure 3.
        return options(settings, sorted(set(settings) - {"protocol", "histograms"}))

    def shrink_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Megabytes: for large images, or the hypernetwork, which a second warm-up step holds."""
        section = self.section(wildcards)
        heavy = section["shrink"]["warmup_steps"] > 1 or "crop" in section["task"]
        # EfficientNet takes 8.3 GB for batches of 64 of CIFAR's images, at twice its width.
        small = 1000 + 150 * section["shrink"]["batch_size"]
        megabytes = 24000 if heavy else 8000 if self.kind(section).tests == "images" else small
        return growing(megabytes)(wildcards, attempt)

    def shrunk(self, wildcards: Wildcards) -> str | list[str]:
        """The shrunk network that a run of `train` starts from; none for a baseline or teacher."""
        shrinkage = None if wildcards.method == TEACHER else shrinkage_of(wildcards.method)
        if shrinkage is None or self.kind(self.section(wildcards)).follows:
            return []
        run = {"experiment": wildcards.experiment, "seed": wildcards.seed}
        return paths.NETWORK.at(shrinkage=shrinkage, **run)

    def initial(self, wildcards: Wildcards) -> str | list[str]:
        """The user's own weights that a run of `train` starts from; none where they are drawn."""
        untouched = wildcards.method != TEACHER and shrinkage_of(wildcards.method) is None
        found: str | list[str] = self.section(wildcards).get("weights", []) if untouched else []
        return found

    def following(self, *, follows: bool) -> list[str]:
        """The experiments whose trackers follow objects, or all others."""
        return [
            n for n, section in self.experiments.items() if self.kind(section).follows == follows
        ]

    def backbone(self, wildcards: Wildcards) -> str | list[str]:
        """The trained network that a tracker is made on: that of the same method and seed."""
        section = self.section(wildcards)
        if not self.kind(section).follows:
            return []
        run = {"method": wildcards.method, "seed": wildcards.seed}
        return paths.WEIGHTS.at(experiment=section["backbone"]["experiment"], **run)

    def boxes(self, wildcards: Wildcards) -> list[str]:
        """What the trackers of a method found, seed by seed, in each of the test sets."""
        return self.boxes_of(wildcards.experiment, wildcards.method)

    def boxes_of(
        self, experiment: str, method: str, place: Place = paths.BOXES, only: str | None = None
    ) -> list[str]:
        """As :meth:`boxes`, of an experiment and a method by name, or on one test set alone."""
        section = self.experiments[experiment]
        run = {"experiment": experiment, "method": method}
        return [
            place.at(**run, seed=seed, dataset=dataset)
            for dataset in section["test"]
            if only in {None, dataset}
            for seed in section["seeds"]
        ]

    def synthetic(self, dataset: str) -> bool:
        """Whether the motion of a test set is made."""
        sets = self.datasets[dataset].get("test", ())
        return DATASET_KINDS[self.datasets[dataset]["kind"]].moving and any(
            part["layout"] == SYNTHETIC for part in sets
        )

    def hidden(self, dataset: str) -> bool:
        """Whether only a server knows the truth of a test set."""
        sets = self.datasets[dataset]["test"]
        return len(sets) == 1 and sets[0]["layout"] in SERVERS and sets[0].get("split") in HIDDEN

    def submitted(self, wildcards: Wildcards) -> list[str]:
        """The boxes of every seed on a test set."""
        of = wildcards
        return self.boxes_of(of.experiment, of.method, only=of.dataset)

    def submitted_times(self, wildcards: Wildcards) -> list[str]:
        """What these took."""
        of = wildcards
        return self.boxes_of(of.experiment, of.method, paths.TIMES, of.dataset)

    def found_boxes(self, wildcards: Wildcards, input: Found) -> list[str]:
        """Weights, test set and boxes of each, for the command line."""
        weights = {paths.WEIGHTS.read(path)["seed"]: path for path in input.weights}  # type: ignore
        words = []
        for path in input.boxes:
            of = paths.BOXES.read(path) or {}
            words += ["--boxes", str(weights[of["seed"]]), of["dataset"], str(path)]
        return words

    def pruned(self, wildcards: Wildcards) -> str:
        """The trained baseline that a pruning starts from."""
        run = {"experiment": wildcards.experiment, "seed": wildcards.seed}
        return paths.WEIGHTS.at(method=BASELINES[0], **run)

    def distils(self, section: Experiment, method: str) -> bool:
        """Whether a method learns from a teacher in an experiment."""
        return method != TEACHER and METHODS[method].distils and "teacher" in section

    def teacher(self, wildcards: Wildcards) -> str | list[str]:
        """The trained teacher of a run of `train`, if it learns from one."""
        section = self.section(wildcards)
        if not self.distils(section, wildcards.method):
            return []
        if "weights" in section["teacher"]:
            return str(section["teacher"]["weights"])
        owner = self._owner(wildcards)
        return paths.WEIGHTS.at(experiment=owner, method=TEACHER, seed=wildcards.seed)

    def _owner(self, wildcards: Wildcards) -> str:
        """The experiment that trains the teacher of an experiment that has one."""
        return str(self.section(wildcards)["teacher"].get("experiment", wildcards.experiment))

    def train_start(self, wildcards: Wildcards) -> list[str]:
        """What training starts from, and the teacher, for the command line."""
        # Not of the inputs, or Snakemake would not notice a change of the network.
        shrunk, teacher = self.shrunk(wildcards), self.teacher(wildcards)
        section = self.section(wildcards)
        network = dict(section["network"])
        if wildcards.method == TEACHER:
            network["width"] *= section["teacher"]["width"]
            if section.get("shrink", {}).get("groups", "whole") != "whole":
                network["groups"] = section["shrink"]["groups"]
        words = ["--teacher", str(teacher)] if teacher else []
        if initial := self.initial(wildcards):
            words += ["--initial", str(initial)]
        if backbone := self.backbone(wildcards):
            return ["--backbone", str(backbone), *maker("--network", section["network"])]
        steps = None if wildcards.method == TEACHER else steps_of(wildcards.method)
        if steps is not None:
            words += ["--steps", as_json({"kind": steps, **section[steps]})]
        if teacher:
            owner = self.experiments[self._owner(wildcards)]
            words += maker("--teacher-network", owner["network"])
        if shrunk:
            return ["--weights", str(shrunk), *maker("--network", section["network"]), *words]
        return ["--network", as_json(network), *words]

    def grid(self, wildcards: Wildcards) -> list[str]:
        """Widths and sizes at which a network is measured that MutualNet trained."""
        settings = self.section(wildcards)[str(steps_of(wildcards.method))]
        least = settings["least_width"]
        widths = sorted({round(1 - (1 - least) * n / 3, 4) for n in range(4)}, reverse=True)
        words = repeated("--widths", widths) + repeated("--sizes", settings["sizes"])
        return [*words, *options(settings, ("divisor",)), *self.first_convention(wildcards)]

    def shared_widths(self, wildcards: Wildcards) -> list[str]:
        """Widths at which the network is measured that AutoSlim slims."""
        return repeated("--widths", (1, 0.75, 0.5, 0.25)) + self.first_convention(wildcards)

    def weights(self, wildcards: Wildcards) -> list[str]:
        """The trained networks of a method, one for each seed."""
        return self.weights_of(wildcards.experiment, wildcards.method)

    def weights_of(self, experiment: str, method: str) -> list[str]:
        """As :meth:`weights`, of an experiment and a method by name."""
        return [
            paths.WEIGHTS.at(experiment=experiment, method=method, seed=seed)
            for seed in self.experiments[experiment]["seeds"]
        ]


def maker(option: str, network: NetworkSection) -> list[str]:
    """What makes a network, which its weights do not tell if it is the user's own."""
    return [option, network["name"]] if is_own(network["name"]) else []


def _shape(network: NetworkSection) -> list[str]:
    """The shape of the input, which only a network of the user's own has in the configuration."""
    return ["--input", "x".join(map(str, (1, *network["input"])))] if "input" in network else []


def runs_of(files: Iterable[str]) -> str:
    """By path of a run's file: experiment, method and seed, for the command line."""
    return as_json({str(path): paths.run_of(path) for path in files})
