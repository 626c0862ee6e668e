"""What a run comes to: its tables and figures, and what each is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from lwdna.config.methods import (
    COMPARABLE,
    DHP,
    METHODS,
    SEARCHES,
    SHRINKAGES,
    shrink_settings,
    shrinkages_of,
    steps_of,
)
from lwdna.config.paper import PAPER_TABLES, shows
from lwdna.config.sections import Experiment
from lwdna.io.project import paper_table
from lwdna.tasks.kinds import Table, kind_of
from lwdna.workflow import paths
from lwdna.workflow.followed import Followed
from lwdna.workflow.paths import Place
from lwdna.workflow.references import References
from lwdna.workflow.run import Run, Wildcards, maker
from lwdna.workflow.words import as_json, options, repeated

TABLE_FORMATS = ("csv", "md", "html", "tex")
FIGURE_FORMATS = ("png", "svg", "pdf")

FIRST_TABLES = (1, 2, 3, 4)
"""Tables that are made of any configuration, if only to say that nothing was run."""

_STEPWISE = ("autoslim", "metapruning")
"""Searches whose records are drawn step by step."""

_PAIR = ("baseline", "lw-dna")
"""Methods whose restored images are shown side by side."""


class Targets(Followed):
    """The tables and figures of a run.

    Args:
        run: which experiments, methods and seeds there are.
        references: what is measured beside them.
    """

    def __init__(self, run: Run, references: References) -> None:
        super().__init__(run)
        self.references = references

    def tables(self, only: Table | None = None) -> list[str]:
        """The files of a table, or of the paper's tables and those of experiments of another."""
        asked = {table for section in self.run.experiments.values() for table in section["tables"]}
        wanted = [
            name
            for name, table in paths.TABLES.items()
            if only == table or (only is None and (table in FIRST_TABLES or table in asked))
        ]
        places = [
            place.where(table=name)
            for name in wanted
            for place in (paths.TABLE, paths.PAPER_ROWS)
            if place is paths.TABLE or paths.TABLES[name] in PAPER_TABLES
        ]
        return [path for place in places for path in _each(place, TABLE_FORMATS)]

    def agreement(self) -> list[str]:
        """The comparison of the criteria, if there is one."""
        return _each(paths.AGREEMENT, TABLE_FORMATS) if self.compared() else []

    def widths(self) -> list[str]:
        """The table of networks at many widths, if there is one."""
        return _each(paths.WIDTHS_TABLE, TABLE_FORMATS) if self.measured() else []

    def _trained(self) -> dict[str, Experiment]:
        """The experiments that train networks of their own, not trackers on those of others."""
        chosen = self.run.selected.items()
        return {name: section for name, section in chosen if not kind_of(section["task"]).follows}

    def measured(self) -> list[str]:
        """What networks measure at many widths: those of MutualNet and AutoSlim, of one seed."""
        found = []
        for name, section in self._trained().items():
            of = {"experiment": name, "seed": self._seeds(name)[0]}
            if "autoslim" in shrinkages_of(section["methods"]):
                found.append(paths.SHARED_WIDTHS.at(shrinkage="autoslim", **of))
            mutual = [m for m in section["methods"] if steps_of(m) == "mutualnet"]
            found += [paths.WIDTHS.at(method=method, **of) for method in mutual]
        return found

    def measured_experiments(self, wildcards: Wildcards) -> str:
        """The experiments that these are of, for the command line."""
        names = {paths.read(path)[1]["experiment"]: None for path in self.measured()}
        return self._shown(names, "label")

    def figures(self) -> list[str]:
        """Every figure."""
        places = [
            paths.TRAINING_LOGS,
            paths.REMAINING_CHANNELS,
            *(paths.STRIP.where(experiment=name) for name in self.restoring()),
            *(
                place.where(experiment=name)
                for name in self.followed()
                for place in (paths.SUCCESS, paths.BOXES_STRIP)
            ),
            *(paths.LATENTS_FIGURE.where(experiment=name) for name in self.searched()),
            *([paths.AGREEMENT_FIGURE] if self.compared() else []),
            *([paths.SEARCHES_FIGURE] if self.records() else []),
            *([paths.WIDTHS_FIGURE] if self.measured() else []),
        ]
        return [path for place in places for path in _each(place, FIGURE_FORMATS)]

    def of_table(self, wildcards: Wildcards) -> list[str]:
        """The experiments of a table."""
        table = paths.TABLES[wildcards.table]
        return [name for name, e in self.run.experiments.items() if table in e["tables"]]

    def table_name(self, wildcards: Wildcards) -> str:
        """The number of a table, or the kind of task that it is of, for the command line."""
        return str(paths.TABLES[wildcards.table])

    def table_labels(self, wildcards: Wildcards) -> dict[str, str]:
        """What a table is called in the report."""
        return {"table": f"Table {self.table_name(wildcards)}"}

    def paper_labels(self, wildcards: Wildcards) -> dict[str, str]:
        """What the paper's rows of a table are called there."""
        return {"table": f"Table {self.table_name(wildcards)}: the paper's rows"}

    def table_metrics(self, wildcards: Wildcards) -> list[str]:
        """The metrics of the experiments of a table, of every method that is to be run."""
        return [
            paths.METRICS.at(experiment=name, method=method)
            for name in self.of_table(wildcards)
            for method in self.methods_of(name)
        ]

    def table_paper(self, wildcards: Wildcards) -> str | list[str]:
        """The paper's numbers of a table; the supplement has none for super-resolution."""
        path = paper_table(self.table_name(wildcards))
        return str(path) if path.exists() else []

    def table_experiments(self, wildcards: Wildcards) -> str:
        """What a table needs to know of its experiments, for the command line."""
        keys = ["label", "methods", "network", "paper", "shrink", "tables", "task", "test"]
        keys += ["train", "convention", "synthetic"]
        return self._shown(self.of_table(wildcards), *keys)

    def table_reference_files(self, wildcards: Wildcards) -> list[str]:
        """The results without a network that a table shows."""
        return self.references.files(self.of_table(wildcards))

    def table_references(self, wildcards: Wildcards) -> str:
        """By experiment and test set, where these are, for the command line."""
        return as_json(self.references.of(self.of_table(wildcards)))

    def histories(self) -> list[str]:
        """The training history of every run that figures show."""
        return [
            paths.HISTORY.at(experiment=name, method=method, seed=seed)
            for name in self._pictured()
            for method in self.methods_of(name)
            for seed in self._seeds(name)
        ]

    def logged_experiments(self, wildcards: Wildcards) -> str:
        """The experiments whose histories are drawn, for the command line."""
        return self._shown(self._pictured(), "label", "methods", "test")

    def channel_counts(self) -> list[str]:
        """The channels by layer of the shrunk networks that figures show."""
        return [
            paths.CHANNELS.at(experiment=name, shrinkage="lw-dna", seed=seed)
            for name in self._shrunk()
            if "lw-dna" in self.methods_of(name)
            for seed in self._seeds(name)
        ]

    def shrunk_experiments(self, wildcards: Wildcards) -> str:
        """The experiments whose channels are drawn, for the command line."""
        return self._shown(self._shrunk(), "label", "test")

    def kept_channels(self) -> list[str]:
        """The channels that the criteria kept."""
        return [
            paths.NETWORK.at(experiment=name, shrinkage=shrinkage, seed=seed)
            for name in self.compared()
            for shrinkage in self._comparable(name)
            for seed in self._seeds(name)
        ]

    def compared(self) -> list[str]:
        """The experiments with criteria to compare."""
        return [name for name in self.run.experiments if self._comparable(name)]

    def compared_experiments(self, wildcards: Wildcards) -> str:
        """The experiments whose criteria are compared, for the command line."""
        return self._shown(self.compared(), "label")

    def restoring(self) -> list[str]:
        """The experiments with images to look at, where both networks are trained."""
        return [
            name
            for name, section in self.run.selected.items()
            if self.run.kind(section).restores and set(_PAIR) <= set(section["methods"])
        ]

    def strip_networks(self, wildcards: Wildcards) -> list[str]:
        """The trained networks that a strip shows, of the first seed."""
        return [self.run.weights_of(wildcards.experiment, method)[0] for method in _PAIR]

    def strip_titles(self, wildcards: Wildcards) -> list[str]:
        """Titles and paths of these, for the command line."""
        titles = (METHODS[method].title for method in _PAIR)
        pairs = zip(titles, self.strip_networks(wildcards), strict=True)
        words = [word for title, path in pairs for word in ("--weights", title, path)]
        return words + maker("--network", self.run.section(wildcards)["network"])

    def strip_part(self, wildcards: Wildcards) -> list[str]:
        """Which image a strip shows, and which part of it, for the command line."""
        chosen = self.run.section(wildcards).get("strip", {})
        centre = ["--centre", *map(str, chosen["centre"])] if "centre" in chosen else []
        return options(chosen, ("image", "size")) + centre

    def searched(self) -> list[str]:
        """The experiments with a search by DHP to draw as Figure 3."""
        return [
            name
            for name, section in self._trained().items()
            if DHP in shrinkages_of(section["methods"]) and "histograms" in section[DHP]
        ]

    def drawn_search(self, wildcards: Wildcards) -> str:
        """The latent vectors of a search, of the first seed."""
        seed = self._seeds(wildcards.experiment)[0]
        record = paths.RECORD.where(shrinkage=DHP, record=SEARCHES[DHP].record)
        return record.at(experiment=wildcards.experiment, seed=seed)

    def records(self) -> list[str]:
        """What searches noted that are drawn step by step."""
        return [
            paths.RECORD.where(record=SEARCHES[search].record).at(
                experiment=name, shrinkage=search, seed=seed
            )
            for name, section in self._trained().items()
            for search in _STEPWISE
            if search in shrinkages_of(section["methods"])
            for seed in self._seeds(name)
        ]

    def recorded_experiments(self, wildcards: Wildcards) -> str:
        """The experiments whose searches are drawn, for the command line."""
        names = [
            name
            for name, section in self._trained().items()
            if set(_STEPWISE) & set(shrinkages_of(section["methods"]))
        ]
        return self._shown(names, "label")

    def histogram_options(self, wildcards: Wildcards) -> list[str]:
        """Layers and epochs of Figure 3, for the command line."""
        chosen = self.run.section(wildcards)[DHP]["histograms"]
        return repeated("--layers", chosen["layers"]) + repeated("--epochs", chosen["epochs"])

    def search_title(self, wildcards: Wildcards) -> str:
        """What is written above Figure 3."""
        return f"Latent vectors of {self.run.title(wildcards)} during DHP"

    def _seeds(self, name: str) -> Sequence[int]:
        seeds: Sequence[int] = self.run.experiments[name]["seeds"]
        return seeds

    def _pictured(self) -> list[str]:
        """The experiments that figures show: those that are no mere ablation of rho and tau."""
        baseline = METHODS["baseline"].title
        return [
            name
            for name, section in self.run.experiments.items()
            if any(shows(table, baseline) for table in section["tables"])
            and not self.run.kind(section).follows
        ]

    def _shrunk(self) -> list[str]:
        """The experiments with a shrunk network that figures show."""
        return [n for n in self._pictured() if "lw-dna" in self.run.experiments[n]["methods"]]

    def _comparable(self, name: str) -> list[str]:
        """The shrinkages of an experiment whose channels can be compared, if there are two."""
        section = self.run.experiments[name]
        if self.run.kind(section).follows:
            return []
        asked = [s for s in shrinkages_of(self.methods_of(name)) if s in COMPARABLE]
        # Elements of the same latent vectors only at the same width; a search may have its own.
        found = [
            s
            for s in asked
            if not SHRINKAGES[s].latent
            or shrink_settings(section, s)["widen"] == section["shrink"]["widen"]
        ]
        return found if len(found) > 1 else []

    def _synthetic(self, name: str) -> dict[str, list[str]]:
        """The test sets of an experiment whose motion is made, if it has some."""
        made = [test for test in self.run.experiments[name]["test"] if self.run.synthetic(test)]
        return {"synthetic": made} if made else {}

    def _shown(self, names: Iterable[str], *keys: str) -> str:
        """What is to be known of some experiments, in the order to show them."""
        sections: dict[str, Any] = {
            name: self.run.experiments[name] | self._synthetic(name) for name in names
        }
        return json.dumps(
            {name: {key: s[key] for key in keys if key in s} for name, s in sections.items()}
        )


def _each(place: Place, formats: Iterable[str]) -> list[str]:
    return [place.at(format=name) for name in formats]
