"""What a run's trackers come to: the part of its targets that only they have."""

from __future__ import annotations

from collections.abc import Sequence

from lwdna.workflow import paths
from lwdna.workflow.run import Run, Wildcards


class Followed:
    """What is made of the boxes of trackers.

    Args:
        run: which experiments, methods and seeds there are.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def followed(self) -> list[str]:
        """The experiments with trackers, of which one at least is to be run."""
        return [n for n, section in self.run.selected.items() if self.run.kind(section).follows]

    def followed_boxes(self, wildcards: Wildcards) -> list[str]:
        """What the trackers of an experiment found, in all of its test sets."""
        name = wildcards.experiment
        return [path for m in self.methods_of(name) for path in self.run.boxes_of(name, m)]

    def followed_words(self, wildcards: Wildcards) -> list[str]:
        """Method, test set and boxes of each, for the command line."""
        words = []
        for path in self.followed_boxes(wildcards):
            of = paths.BOXES.read(path) or {}
            words += ["--boxes", of["method"], of["dataset"], path]
        return words

    def strip_boxes(self, wildcards: Wildcards) -> list[str]:
        """What the trackers of an experiment found, of the first test set and seed."""
        name = wildcards.experiment
        return [self.run.boxes_of(name, method)[0] for method in self.methods_of(name)]

    def strip_words(self, wildcards: Wildcards) -> list[str]:
        """Method and boxes of each of these, for the command line."""
        pairs = zip(self.methods_of(wildcards.experiment), self.strip_boxes(wildcards), strict=True)
        return [word for method, path in pairs for word in ("--boxes", method, path)]

    def success_title(self, wildcards: Wildcards) -> str:
        """What is written above success and precision plots."""
        return f"Success and precision: {self.run.title(wildcards)}"

    def boxes_title(self, wildcards: Wildcards) -> str:
        """What is written above frames with boxes."""
        return f"Objects followed: {self.run.title(wildcards)}"

    def submissions(self) -> list[str]:
        """What is to be sent to servers, where a data set publishes no truth."""
        return [
            paths.SUBMISSION.at(experiment=name, method=method, dataset=dataset)
            for name in self.followed()
            for method in self.methods_of(name)
            for dataset in self.run.experiments[name]["test"]
            if self.run.hidden(dataset)
        ]

    def methods_of(self, name: str) -> Sequence[str]:
        """The methods of an experiment that are to be run."""
        methods: Sequence[str] = self.run.selected.get(name, {}).get("methods", ())
        return methods
