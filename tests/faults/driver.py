"""Break a tiny run of the pipeline in many ways, run it again, and compare every product.

``python tests/faults/driver.py --runs 100 --seed 0 --jobs 2``; see docs/robustness.md. What a run
does follows from the seed and its number; a signal comes at the same share of the work, which is
not the same instruction on another machine. ``--only N`` repeats one run. With ``--out`` every run
is a line of a CSV, and a later call makes those that are missing there.
"""

from __future__ import annotations

import collections
import csv
import itertools
import platform
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from disks import small_disk, without_the_rights_of_root
from faults import KINDS, ON_A_DISK, ORDER, advised
from pipeline import golden_tree, sentences

RECOVERED = "recovered identically"
REFUSED = "refused with a sentence, then recovered identically"
HARMLESS = "harmless: the damaged byte means nothing, all else is identical"
SKIPPED = "skipped"
WRONG = "WRONG OR LOST"
CRASHED = "the driver itself failed"
OUTCOMES = (RECOVERED, REFUSED, HARMLESS, SKIPPED, WRONG, CRASHED)

ROUNDS = 5
"""How often a run may be refused, each time with a sentence that says what to do."""

FOREIGN = ("No space left", "Permission denied", "Read-only", "File too large")
"""What Snakemake says of its own files on a full disk or in a read-only folder."""

UNEXPECTED = "This should not happen"


@dataclass
class Report:
    """What became of one run."""

    outcome: str
    what: str
    story: list[str]
    leftovers: int
    seconds: float = 0.0
    foreign: bool = False
    """It was refused by a message of Snakemake's own, not by a sentence of the package."""
    seed: int = 0
    number: int = 0
    kind: str = ""


def one_run(seed, number, work, golden, products, *, light=False):
    """Let one fault strike a copy of the golden run, and run the pipeline until it is whole."""
    kind = ORDER[number % len(ORDER)]
    if light and kind == "kill worker":
        kind = "kill job"  # only trainings have workers
    begin = time.monotonic()
    folder = work / f"run{seed}-{number:03d}"
    try:
        report = _one_run(f"{seed}/{number}", kind, folder, golden, products, light=light)
    except Exception:  # the other runs are worth having
        report = Report(CRASHED, kind, [traceback.format_exc()], 0)
    shutil.rmtree(folder, ignore_errors=True)
    report.seed, report.number, report.kind = seed, number, kind
    report.seconds = time.monotonic() - begin
    return report


def _one_run(words, kind, folder, golden, products, *, light):
    work = folder.parent
    hurry = 1.0
    for _ in range(5):
        with ExitStack() as stack:
            may = stack.enter_context(small_disk(folder)) if kind in ON_A_DISK else True
            tree = golden.copy(folder)
            stack.callback(tree.end_processes)
            fault = KINDS[kind](random.Random(words), work / "interrupted", light)
            if kind == "read-only folder" and without_the_rights_of_root() is None:
                return Report(SKIPPED, "root may write everywhere here", [], 0)
            if kind == "full for a while" and not may:
                return Report(SKIPPED, "no small disk can be mounted here", [], 0)
            report = outcome_of(tree, fault, hurry, products)
            tree.wait_for_orphans()
            if report is not None:
                if report.outcome == WRONG:
                    _keep(tree, report, work / f"wrong{folder.name.removeprefix('run')}")
                return report
        shutil.rmtree(folder)
        hurry /= 2  # the pipeline was faster than the fault
    return Report(SKIPPED, f"{fault.what}: always too late", [], 0)


def _keep(tree, report, folder):
    """Keep what somebody has to look at."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tree.folder, folder, symlinks=True)
    (folder / "story.txt").write_text("\n".join(report.story))


def outcome_of(tree, fault, hurry, products):
    """What came of a fault; None if it came too late."""
    struck = fault.strike(tree, hurry)
    if struck.missed:
        return None
    story = [f"$ the run in which it struck: status {struck.status}", struck.output]

    foreign = False

    def ended(outcome, why=()):
        if any(UNEXPECTED in part for part in story):
            outcome, why = WRONG, [*why, UNEXPECTED]
        return Report(outcome, struck.what, [*story, *why], len(tree.leftovers()), foreign=foreign)

    wrong = [w for w in tree.differences(products, complete=False) if not _of(w, struck.touched)]
    if wrong:
        return ended(WRONG, ["After the fault:", *wrong])
    refused = False
    if struck.status not in {0, None} and struck.says:
        foreign = not sentences(struck.output)
        if foreign and not _of(struck.output, FOREIGN):
            return ended(WRONG, ["It failed without a sentence."])
        refused = True
    for _ in range(ROUNDS):
        status, output = tree.run()
        story += [f"$ the same command again: status {status}", output]
        if status == 0:
            break
        said = sentences(output)
        done = [advised(tree, sentence) for sentence in said]
        story += [f"{sentence} -> {action}" for sentence, action in zip(said, done, strict=True)]
        if not any(done):
            return ended(WRONG, ["It was refused without a sentence that helps."])
        refused = True
    else:
        return ended(WRONG, [f"It was refused {ROUNDS} times."])
    tree.wait_for_orphans()
    wrong = tree.differences(products, complete=True)
    others = [w for w in wrong if not _of(w, struck.touched)]
    if others:
        return ended(WRONG, ["At the end:", *others])
    if wrong:
        return ended(HARMLESS)
    return ended(REFUSED if refused else RECOVERED)


def _of(text, parts):
    return any(part in text for part in parts)


def summary(reports, seconds):
    """The outcome as lines to print."""
    seeds = ", ".join(map(str, sorted({r.seed for r in reports})))
    lines = ["", f"{len(reports)} runs, seed {seeds}, {seconds / 60:.0f} minutes", ""]
    lines.append(f"{'fault':<18}" + "".join(f"{name:>8}" for name in ("runs", *"ABCDEF")))
    for kind in (*KINDS, "all"):
        ours = [r for r in reports if kind in {"all", r.kind}]
        counts = collections.Counter(r.outcome for r in ours)
        numbers = [len(ours), *(counts[outcome] for outcome in OUTCOMES)]
        if ours:
            lines.append(f"{kind:<18}" + "".join(f"{n:>8}" for n in numbers))
    lines += ["", *(f"{letter}  {name}" for letter, name in zip("ABCDEF", OUTCOMES, strict=True))]
    left = [r for r in reports if r.leftovers]
    foreign = [r for r in reports if r.foreign]
    lines.append(f"Of B by a message of Snakemake's own, not of lwdna: {len(foreign)}")
    lines.append(f"Runs that left temporary files behind: {len(left)}")
    for r in reports:
        if r.outcome in {WRONG, CRASHED}:
            lines.append(f"{r.outcome}: run {r.number}, {r.what}: repeat it by --seed {r.seed}")
            lines[-1] += f" --only {r.number}; {'; '.join(r.story[-4:])[-600:]}"
    return lines


COLUMNS = (
    "commit",
    "ended",
    "seed",
    "number",
    "kind",
    "outcome",
    "seconds",
    "leftovers",
    "foreign",
)
COLUMNS += ("what", "story")


def read(path):
    """The reports of runs that a CSV has, in the order in which they ended."""
    if path is None or not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Report(
                row["outcome"],
                row["what"],
                [row["story"]],
                int(row["leftovers"]),
                float(row["seconds"]),
                row["foreign"] == "True",
                int(row["seed"]),
                int(row["number"]),
                row["kind"],
            )
            for row in csv.DictReader(file)
        ]


def write(path, report, commit):
    """Add a run to a CSV; of its story, only what somebody has to look at."""
    row = {**vars(report), "commit": commit, "ended": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    row["seconds"] = f"{report.seconds:.1f}"
    bad = report.outcome in {WRONG, CRASHED}
    row["story"] = " | ".join(report.story)[-2000:].replace("\n", " ") if bad else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--first", type=click.IntRange(min=0), default=0, help="Number of the first run.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="So many seeds, RUNS each.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--only", type=click.IntRange(min=0), multiple=True, help="Repeat these runs.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder to work in, and to keep.")
@click.option("--out", type=click.Path(path_type=Path), help="CSV of runs, to be completed.")
@click.option("--stop", type=click.Path(path_type=Path), help="Begin no run once this file exists.")
@click.option("--light", is_flag=True, help="Strike only steps that need no PyTorch.")
def main(*, runs, first, seed, seeds, jobs, only, work, out, stop, light):
    """Break RUNS runs of the pipeline; exit status 1 if anything was wrong or lost."""
    with ExitStack() as stack:
        if work is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults ")))
        work = work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        golden = golden_tree(work)
        products = golden.products()
        commit = (golden.project / "COMMIT").read_text()
        click.echo(
            f"Python {platform.python_version()}, {platform.system()}, {len(products)} products of "
            f"{commit}, golden run ready after {time.monotonic() - begin:.0f} s"
        )
        talk = threading.Lock()
        begin = time.monotonic()
        reports = read(out)
        there = {(report.seed, report.number) for report in reports}

        def run(place):
            if place in there or (stop is not None and stop.exists()):
                return
            report = one_run(*place, work, golden, products, light=light)
            with talk:
                line = f"{report.seed:>4} {report.number:>4}  {report.what:<72} {report.outcome}"
                click.echo(f"{line}  {report.seconds:.0f} s")
                reports.append(report)
                if out is not None:
                    write(out, report, commit)

        numbers = only or range(first, first + runs)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run, itertools.product(range(seed, seed + seeds), numbers)))
        click.echo("\n".join(summary(reports, time.monotonic() - begin)))
    if any(report.outcome in {WRONG, CRASHED} for report in reports):
        sys.exit(1)


if __name__ == "__main__":
    main()
