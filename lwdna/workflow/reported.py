"""What the report of a run shows: its tables, figures and animations."""

from __future__ import annotations

from lwdna.workflow import paths
from lwdna.workflow.run import Wildcards
from lwdna.workflow.targets import Targets


class Reported:
    """The parts of the report, in its order.

    Args:
        targets: what the run comes to.
    """

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def files(self) -> dict[str, list[str]]:
        """What the report is made of: tables, folded pages, figures and animations."""
        tables = [path for path in self.targets.tables() if path.endswith((".csv", ".md"))]
        papers = [path for path in tables if paths.PAPER_ROWS.read(path)]
        return {
            "tables": [path for path in tables if path not in papers],
            "pages": [
                path
                for path in [*papers, *self.targets.widths(), *self.targets.agreement()]
                if path.endswith(".md")
            ],
            "figures": [title_and_path[1] for title_and_path in self._figures()],
        }

    def words(self, wildcards: Wildcards) -> list[str]:
        """What the report shows, for the command line."""
        parts = self.files()
        words = []
        for path in parts["tables"][::2]:
            found = paths.TABLE.read(path) or {}
            page = paths.TABLE.at(table=found["table"], format="md")
            words += ["--table", str(paths.TABLES[found["table"]]), path, page]
        words += [word for path in parts["pages"] for word in ("--page", path)]
        return words + [word for pair in self._figures() for word in ("--figure", *pair)]

    def _figures(self) -> list[tuple[str, str]]:
        """Titles and files of the figures in the report."""
        label = {
            name: str(section["label"]) for name, section in self.targets.run.experiments.items()
        }
        figures = [
            ("Training and testing logs", paths.TRAINING_LOGS, "png"),
            ("Remaining channels by layer", paths.REMAINING_CHANNELS, "png"),
        ]
        for name in self.targets.restoring():
            place = paths.STRIP.where(experiment=name)
            figures.append((f"Restored image: {label[name]}", place, "png"))
        for name in self.targets.followed():
            success, boxes = (
                place.where(experiment=name) for place in (paths.SUCCESS, paths.BOXES_STRIP)
            )
            figures.append((f"Success and precision: {label[name]}", success, "png"))
            title = f"Objects followed: {label[name]}"
            figures += [(title, boxes, "png"), (f"{title}, moving", boxes, "webp")]
        for name in self.targets.searched():
            place = paths.LATENTS_FIGURE.where(experiment=name)
            title = f"Latent vectors during the search: {label[name]}"
            figures += [(title, place, "png"), (f"{title}, epoch by epoch", place, "gif")]
        if self.targets.records():
            figures.append(("On the way of the searches", paths.SEARCHES_FIGURE, "png"))
        if self.targets.measured():
            figures.append(("One network at many widths", paths.WIDTHS_FIGURE, "png"))
        if self.targets.compared():
            figures.append(("Agreement of the criteria", paths.AGREEMENT_FIGURE, "png"))
        return [(title, place.at(format=kind)) for title, place, kind in figures]
