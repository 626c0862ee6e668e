"""What a run is asked by the rules that shrink the paper's networks again."""

from __future__ import annotations

from collections.abc import Mapping

from lwdna.config.paper import PAPER_TABLES, network_of, networks_of, rows_of
from lwdna.config.sections import Config, Replica, Replication
from lwdna.tasks.kinds import Table
from lwdna.workflow import paths
from lwdna.workflow.run import Wildcards
from lwdna.workflow.words import options, repeated

_NONE: Replication = {"networks": {}}


class Replicas:
    """The networks of the paper that are to be shrunk again.

    Args:
        config: checked, see :func:`lwdna.config.check`; without a section ``replication`` there
            are none.
    """

    def __init__(self, config: Config) -> None:
        self._section: Replication = config.get("replication", _NONE)
        self.networks: Mapping[str, Replica] = self._section["networks"]
        there = {table: networks_of(rows_of(table)) for table in PAPER_TABLES if self.networks}
        self._tables = {
            table: [name for name, network in self.networks.items() if network_of(network) in rows]
            for table, rows in there.items()
        }

    def of_table(self, number: Table) -> list[str]:
        """The networks of one of the paper's tables."""
        return self._tables.get(number, [])

    def table_results(self, wildcards: Wildcards) -> list[str]:
        """What the complexity columns of a table are made of."""
        return [paths.REPLICA.at(replica=name) for name in self.of_table(int(wildcards.number))]

    def tables(self) -> list[str]:
        """The complexity columns of every table that has networks here."""
        numbers = [number for number in PAPER_TABLES if self.of_table(number)]
        return [paths.REPLICATION.at(number=number, format="md") for number in numbers]

    def options(self, wildcards: Wildcards) -> list[str]:
        """What is shrunk again, and how, for the command line."""
        section = self.networks[wildcards.replica]
        settings = {**section, "width": self._section["width"]}
        return [
            section["network"],
            *options(settings, sorted(set(settings) - {"network"})),
            *repeated("--seeds", self._section["seeds"]),
        ]

    def photographs(self, wildcards: Wildcards) -> str:
        """The photographs whose crops stand in for the datasets."""
        return paths.IMAGES.at(dataset=self._section["images"], split="train")
