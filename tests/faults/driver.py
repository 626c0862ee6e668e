"""Break a tiny run of the pipeline in many ways, run it again, and compare every product.

``python tests/faults/driver.py --runs 100 --seed 0 --jobs 2``; see docs/robustness.md. What a run
does follows from the seed and its number; a signal comes at the same share of the work, which is
not the same instruction on another machine. ``--only N`` repeats one run.
"""

from __future__ import annotations

import collections
import platform
import random
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from faults import KINDS, ORDER, advised, small_disk, without_the_rights_of_root
from pipeline import golden_tree, sentences

RECOVERED = "recovered identically"
REFUSED = "refused with a sentence, then recovered identically"
HARMLESS = "harmless: the damaged byte means nothing, all else is identical"
SKIPPED = "skipped"
WRONG = "WRONG OR LOST"

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
    number: int = 0
    kind: str = ""


def one_run(number, seed, work, golden, products, *, light=False):
    """Let one fault strike a copy of the golden run, and run the pipeline until it is whole."""
    kind = ORDER[number % len(ORDER)]
    if light and kind == "kill worker":
        kind = "kill job"  # only trainings have workers
    begin = time.monotonic()
    hurry = 1.0
    report = None
    for _ in range(5):
        with ExitStack() as stack:
            folder = work / f"run{number:03d}"
            if kind == "full disk":
                stack.enter_context(small_disk(folder))
            tree = golden.copy(folder)
            stack.callback(tree.end_processes)
            fault = KINDS[kind](random.Random(f"{seed}/{number}"), work / "interrupted", light)
            if kind == "read-only folder" and without_the_rights_of_root() is None:
                report = Report(SKIPPED, "root may write everywhere here", [], 0)
            else:
                report = outcome_of(tree, fault, hurry, products)
            tree.wait_for_orphans()
            if report is not None and report.outcome == WRONG:
                kept = work / f"wrong{number:03d}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(tree.folder, kept, symlinks=True)
                (kept / "story.txt").write_text("\n".join(report.story))
        shutil.rmtree(folder)
        if report is not None:
            break
        hurry /= 2  # the pipeline was faster than the fault
    report = report or Report(SKIPPED, f"{fault.what}: always too late", [], 0)
    report.number, report.kind, report.seconds = number, kind, time.monotonic() - begin
    return report


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
    if struck.status not in {0, None} and fault.what.startswith(("disk", "read-only")):
        # No process was killed: then somebody must say what is the matter.
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


def summary(reports, seed, seconds):
    """The outcome as lines to print."""
    lines = ["", f"{len(reports)} runs, seed {seed}, {seconds / 60:.0f} minutes", ""]
    outcomes = [RECOVERED, REFUSED, HARMLESS, SKIPPED, WRONG]
    lines.append(f"{'fault':<18}" + "".join(f"{name:>10}" for name in ("runs", *"ABCDE")))
    for kind in KINDS:
        ours = [r for r in reports if r.kind == kind]
        counts = collections.Counter(r.outcome for r in ours)
        numbers = [len(ours), *(counts[outcome] for outcome in outcomes)]
        if ours:
            lines.append(f"{kind:<18}" + "".join(f"{n:>10}" for n in numbers))
    counts = collections.Counter(r.outcome for r in reports)
    numbers = [len(reports), *(counts[outcome] for outcome in outcomes)]
    lines += [f"{'all':<18}" + "".join(f"{n:>10}" for n in numbers), ""]
    lines += [f"{letter}  {name}" for letter, name in zip("ABCDE", outcomes, strict=True)]
    left = [r for r in reports if r.leftovers]
    foreign = [r for r in reports if r.foreign]
    lines.append(f"Of B by a message of Snakemake's own, not of lwdna: {len(foreign)}")
    lines.append(f"Runs that left temporary files behind: {len(left)}")
    for r in reports:
        if r.outcome == WRONG:
            lines.append(f"{WRONG}: run {r.number}, {r.what}: repeat it by --seed {seed} --only")
            lines[-1] += f" {r.number}; {'; '.join(r.story[-4:])[-600:]}"
    return lines


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--first", type=click.IntRange(min=0), default=0, help="Number of the first run.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--only", type=click.IntRange(min=0), multiple=True, help="Repeat these runs.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder to work in, and to keep.")
@click.option("--light", is_flag=True, help="Strike only steps that need no PyTorch.")
def main(*, runs, first, seed, jobs, only, work, light):
    """Break RUNS runs of the pipeline; exit status 1 if anything was wrong or lost."""
    with ExitStack() as stack:
        if work is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults ")))
        work = work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        golden = golden_tree(work)
        products = golden.products()
        click.echo(
            f"Python {platform.python_version()}, {platform.system()}, {len(products)} products, "
            f"golden run ready after {time.monotonic() - begin:.0f} s"
        )
        talk = threading.Lock()
        begin = time.monotonic()

        def run(number):
            report = one_run(number, seed, work, golden, products, light=light)
            with talk:
                line = f"{report.number:>4}  {report.what:<72} {report.outcome}"
                click.echo(f"{line}  {report.seconds:.0f} s")
            return report

        with ThreadPoolExecutor(jobs) as pool:
            reports = list(pool.map(run, only or range(first, first + runs)))
        click.echo("\n".join(summary(reports, seed, time.monotonic() - begin)))
    if any(report.outcome == WRONG for report in reports):
        sys.exit(1)


if __name__ == "__main__":
    main()
