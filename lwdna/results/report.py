"""The report: one page that stands alone, with what a run gave, its figures, and how it was made.

Figures and animations are in the page, so that it can be sent to others; it runs no script.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from lwdna.config.methods import METHODS, OURS, PRUNINGS, SEARCHES
from lwdna.errors import DataError
from lwdna.io.atomic import write_text
from lwdna.results.cells import is_missing, require_columns
from lwdna.results.layouts import PAPER, RUN, Layout, Measure, layout_of
from lwdna.results.markdown import table, to_body
from lwdna.results.pages import Column, Grid
from lwdna.results.runs import REFERENCE_TITLES
from lwdna.tasks.kinds import Table

MEDIA = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}
"""What a browser shows or plays, by the ending of the file."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "Data": ("download", "images", "digits", "crop", "gray", "pack", "sequences"),
    "Networks": ("shrink", *SEARCHES, *(["prune"] if PRUNINGS else [])),
    "Training": ("train",),
    "Measuring": ("follow", "evaluate", "references", "complexity", "replicate", "submission"),
    "Tables and figures": ("table", "agreement", "figures"),
}
"""The stages of a run, one after the other, and the jobs of each, by the folder of their time."""

_OTHER = "Others"

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { margin-bottom: 0.2rem; } h2 { margin-top: 2.6rem; border-bottom: 1px solid #ddd; }
h3 { margin-bottom: 0.4rem; } .scale { font-weight: 600; color: #8a3c00; }
nav a { margin-right: 1.2rem; } a { color: #0072b2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { border-bottom: 2px solid #444; text-align: left; }
figure { margin: 1.2rem 0 2rem; } img { max-width: 100%; border: 1px solid #e4e4e4; }
figcaption { font-weight: 600; margin-bottom: 0.4rem; }
summary { cursor: pointer; font-weight: 600; margin: 0.6rem 0; }
.stages { display: flex; flex-wrap: wrap; align-items: stretch; gap: 0.4rem; list-style: none;
  padding: 0; } .stages li { display: flex; align-items: center; gap: 0.4rem; }
.stage { border: 1px solid #0072b2; border-radius: 6px; padding: 0.5rem 0.8rem; font-size: 0.85rem;
  height: 100%; box-sizing: border-box; } .stage b { display: block; font-size: 1rem; }
.stages li:not(:last-child)::after { content: "\\2192"; font-size: 1.4rem; color: #888; }
.small { font-size: 0.85rem; color: #555; }
"""


@dataclass(frozen=True)
class Tabled:
    """A table of the run."""

    name: Table
    frame: pd.DataFrame
    """Its CSV."""
    markdown: str
    """The same for people."""

    @classmethod
    def read(cls, name: Table, csv: Path, markdown: Path) -> Tabled:
        """From the files of :func:`lwdna.results.rendering.write_table`.

        Raises:
            DataError: if one cannot be read, or is no such table.
        """
        try:
            # Names such as "56" or "NA" are names.
            names = dict.fromkeys(("label", "network", "method", "test_set", "rho", "tau"), str)
            frame = pd.read_csv(csv, dtype=names, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot read the table '{csv}': {error}; make it again.") from error
        require_columns(frame, {"section", "status", *names}, f"table '{csv}'")
        return cls(name, frame, read_page(markdown))


def read_page(path: Path) -> str:
    """A page in Markdown.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the page '{path}': {error}; make it again.") from error


@dataclass(frozen=True)
class Shown:
    """A figure or an animation."""

    title: str
    path: Path

    def html(self) -> str:
        """The figure, its bytes in the page.

        Raises:
            DataError: if it is missing, or nothing that a browser shows.
        """
        kind = MEDIA.get(self.path.suffix)
        if kind is None:
            raise DataError(
                f"The report cannot show '{self.path}'; give a file that ends in one of "
                f"{', '.join(MEDIA)}."
            )
        try:
            content = base64.b64encode(self.path.read_bytes()).decode()
        except OSError as error:
            raise DataError(f"Cannot read the figure '{self.path}': {error.strerror}.") from error
        title = html.escape(self.title)
        return (
            f"<figure><figcaption>{title}</figcaption>"
            f'<img alt="{title}" src="data:{kind};base64,{content}"></figure>'
        )


def write_report(
    output: str | PathLike[str],
    *,
    tables: Sequence[Tabled],
    pages: Sequence[str] = (),
    figures: Sequence[Shown] = (),
    benchmarks: Path | None = None,
    scale: str = "",
) -> None:
    """Write the report.

    Args:
        output: HTML to write.
        tables: of the run.
        pages: further ones in Markdown, which are folded.
        figures: in the order to show them.
        benchmarks: the folder with time and memory of each job, by rule; None to tell nothing.
        scale: the banner of a run that is not at the paper's scale, or empty.

    Raises:
        DataError: if a figure cannot be shown.
        LwdnaError: if the file cannot be written.
    """
    jobs = read_jobs(benchmarks) if benchmarks else pd.DataFrame()
    sections = {
        "What this run gave": _headlines(tables),
        "Figures": "\n".join(figure.html() for figure in figures) or "<p>None.</p>",
        "Tables": "\n".join(
            [*(_folded(t.markdown, open_=True) for t in tables), *(_folded(p) for p in pages)]
        ),
        "How it was made": _stages(jobs),
    }
    links = " ".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in sections)
    body = "\n".join(
        f'<h2 id="{_anchor(name)}">{name}</h2>\n{text}' for name, text in sections.items()
    )
    banner = f'<p class="scale">{html.escape(scale)}</p>' if scale else ""
    write_text(
        output,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>LW-DNA: report</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>LW-DNA: what this run gave</h1>\n{banner}\n<nav>{links}</nav>\n{body}\n"
        "</body>\n</html>\n",
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _folded(markdown: str, *, open_: bool = False) -> str:
    """A page of a table, which is opened by a click on its title."""
    title, _, rest = markdown.partition("\n")
    state = " open" if open_ else ""
    return (
        f"<details{state}><summary>{html.escape(title.lstrip('# '))}</summary>"
        f'<div class="wide">{to_body(rest)}</div></details>'
    )


def _headlines(tables: Sequence[Tabled]) -> str:
    """For each table with results, its numbers in short, and what they say in words."""
    parts = []
    for tabled in tables:
        layout = layout_of(tabled.name)
        rows = tabled.frame[tabled.frame["status"] == RUN].to_dict("records")
        if not rows:
            continue
        columns, cells = _short(layout, rows)
        grid = Grid.of(columns, cells).without_empty()
        align = "".join("r" if column.number else "l" for column in grid.columns)
        said = [sentence for row in rows for sentence in sentences(layout, row)]
        parts.append(f"<h3>{html.escape(layout.title.partition(': ')[2] or layout.title)}</h3>")
        parts += [f"<p>{html.escape(sentence)}</p>" for sentence in said]
        parts.append(f'<div class="wide">{to_body(table(grid.columns, grid.rows, align))}</div>')
    if not parts:
        return "<p>Nothing was measured: no network of this configuration was trained.</p>"
    parts.append(
        '<p class="small">Mean ± standard deviation over n seeds; FLOPs and parameters in percent '
        "of the Baseline. An interval of few seeds is too narrow, and one seed says nothing of "
        "chance: the tables below have the details.</p>"
    )
    return "\n".join(parts)


def _short(
    layout: Layout, rows: Sequence[Mapping[Any, Any]]
) -> tuple[list[Column], list[list[str]]]:
    """The numbers of a table in few columns."""
    columns = [Column(t, number=False) for t in ("Network", "Tested on", "Settings", "Method")]
    columns += [Column(measure.title) for measure in layout.measures]
    columns += [Column(f"{what} [%]") for what in ("FLOPs", "Parameters")]
    cells, former = [], ""
    for row in rows:
        settings = ", ".join(f"{name} {row[name]}" for name in layout.settings)
        network = _network(row)
        numbers = [_measured(row, measure) for measure in layout.measures]
        shares = [_share(row, kind) for kind in ("flops", "params")]
        names = ["" if network == former else network, str(row["test_set"]), settings]
        prefix = "" if row["method"] in REFERENCE_TITLES else layout.prefix
        cells.append([*names, f"{prefix}{row['method']}", *numbers, *shares])
        former = network
    return columns, cells


def _network(row: Mapping[Any, Any]) -> str:
    return str(row["network"] if is_missing(row["label"]) else row["label"])


def _measured(row: Mapping[Any, Any], measure: Measure) -> str:
    mean, std = row[f"{measure.column}_mean"], row[f"{measure.column}_std"]
    if is_missing(mean):
        return "-"
    text = f"{mean:.{measure.decimals}f}"
    if not is_missing(std):
        text += f" ± {std:.{measure.decimals}f}"
    return text if row["method"] in REFERENCE_TITLES else f"{text} (n={row['n']})"


def _share(row: Mapping[Any, Any], kind: str) -> str:
    ratio = row[f"{kind}_ratio_percent"]
    return "-" if is_missing(ratio) else f"{ratio:.1f}"


def sentences(layout: Layout, row: Mapping[Any, Any]) -> Iterable[str]:
    """What a row of LW-DNA says beside the method that it is compared with; none of other rows."""
    measure = next((measure for measure in layout.measures if measure.compared), None)
    if row["method"] != METHODS[OURS].title or not layout.against or measure is None:
        return
    parts = [row[f"{measure.column}_{part}"] for part in ("versus", "versus_low", "versus_high")]
    difference, low, high = parts
    if is_missing(difference):
        return
    name, _, unit = measure.title.partition(" [")
    unit = {"%]": " points", "dB]": " dB"}.get(unit, "")
    amount = f"{abs(difference):.{measure.decimals}f}"
    other = f"{layout.prefix}{layout.against}"
    than = f"{amount}{unit} {'less' if difference < 0 else 'more'} than {other}"
    if float(amount) == 0:
        than = f"that of {other}"
    seeds = int(row[f"{measure.column}_pairs"])
    sure = f"{seeds} seed{'s' * (seeds > 1)}"
    if not is_missing(low):
        sure += f", 95 % interval {low:+.{measure.decimals}f} to {high:+.{measure.decimals}f}"
        if seeds > 2:
            sure += ", without zero" if row[f"{measure.column}_excludes_zero"] else ", zero in it"
    shares = [_share(row, kind) for kind in ("flops", "params")]
    size = f", with {shares[0]} % of the FLOPs and {shares[1]} % of the parameters of the Baseline"
    beside = ""
    if row["section"] == PAPER and not is_missing(printed := row[f"{measure.column}_paper"]):
        beside = f" The paper has {printed}."
    name = name[:1].lower() + name[1:] if name[1:2].islower() else name
    yield (
        f"{_network(row)} on {row['test_set']}: the {name} of {layout.prefix}LW-DNA is "
        f"{_measured(row, measure)}, {than} ({sure}){'' if '-' in shares else size}.{beside}"
    )


def read_jobs(folder: Path) -> pd.DataFrame:
    """Time and memory of the jobs whose notes are in a folder: ``rule``, ``seconds``, ``mb``.

    Notes that are not whole, as of a job that is at work, are left out.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        try:
            notes = pd.read_csv(path, sep="\t", na_values=["-"])
            seconds, memory = notes["s"].sum(), notes["max_rss"].max()
        except (KeyError, OSError, ValueError):
            continue
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        rows.append({"rule": rule, "seconds": float(seconds), "mb": float(memory)})
    return pd.DataFrame(rows, columns=["rule", "seconds", "mb"])


def _stages(jobs: pd.DataFrame) -> str:
    """The graph of jobs, by stage."""
    if jobs.empty:
        return "<p>What jobs took was not noted.</p>"
    known = {rule: stage for stage, rules in STAGES.items() for rule in rules}
    stage_of = jobs["rule"].map(lambda rule: known.get(rule, _OTHER))
    boxes = []
    for stage in (*STAGES, _OTHER):
        part = jobs[stage_of == stage]
        if part.empty:
            continue
        lines = [
            f"{html.escape(str(rule))} &times; {len(group)}: {_time(group['seconds'].sum())}"
            for rule, group in part.groupby("rule", sort=False)
        ]
        boxes.append(f'<li><div class="stage"><b>{stage}</b>{"<br>".join(lines)}</div></li>')
    memory = jobs["mb"].max()
    peak = "" if is_missing(memory) else f", and at most {memory / 1024:.1f} GB of memory in a job"
    return (
        f'<ol class="stages">{"".join(boxes)}</ol>\n'
        f'<p class="small">{len(jobs)} jobs took {_time(jobs["seconds"].sum())} in all, one after '
        f"the other{peak}, as noted in results/benchmarks/. The graph of single jobs, and what "
        "each ran: <code>snakemake --report jobs.html</code>.</p>"
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
