"""What a run is asked by the rule that measures results without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lwdna.tasks.kinds import kind_of, reference_key, reference_task
from lwdna.tasks.sections import TaskSection
from lwdna.workflow import paths
from lwdna.workflow.run import TESTS, Run, Wildcards
from lwdna.workflow.words import as_json


class References:
    """What the networks of restoration have to beat, on each of their test sets.

    Args:
        run: which experiments there are.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.settings: Mapping[str, TaskSection] = {
            key: {"task": reference_task(run.experiments[name]["task"]), "convention": convention}
            for name, _, key, convention in self._tests(run.experiments)
        }
        """By the key of a reference: what it is of, and how it is measured."""

    def test(self, wildcards: Wildcards) -> str:
        """What a reference is measured on: images or videos."""
        kind = kind_of(self.settings[wildcards.reference]["task"])
        return TESTS[kind.tests].at(dataset=wildcards.dataset, split="test")

    def task(self, wildcards: Wildcards) -> str:
        """What a reference is of, for the command line."""
        return as_json(self.settings[wildcards.reference]["task"])

    def convention(self, wildcards: Wildcards) -> str:
        """How a reference is measured, for the command line."""
        return str(self.settings[wildcards.reference]["convention"])

    def of(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """By experiment and test set, where the reference's result is; of what is to be run."""
        found: dict[str, dict[str, str]] = {}
        for name, test_set, key, _ in self._tests(n for n in names if n in self.run.selected):
            path = paths.REFERENCE.at(reference=key, dataset=test_set)
            found.setdefault(name, {})[test_set] = path
        return found

    def files(self, names: Iterable[str]) -> list[str]:
        """The files of :meth:`of`, each once."""
        return sorted({path for tests in self.of(names).values() for path in tests.values()})

    def _tests(self, names: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
        """Experiment, test set, key and convention of each test set that has a reference."""
        for name in names:
            section = self.run.experiments[name]
            kind = self.run.kind(section)
            for test_set in section["test"] if kind.reference else ():
                # What is written out is no other result than what is left out.
                convention = self.run.convention(section, test_set) or kind.conventions[0]
                key = reference_key(section["task"], convention)
                yield name, test_set, key, convention
