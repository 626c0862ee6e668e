"""What scoring the channels of a widened network costs, beside its limit and the hypernetwork.

The limit is one forward and backward pass of the widened network (two for one warm-up step).
Random images and labels stand in for the datasets.

Time: every way runs once a round, one after the other in one process, after a round that does not
count; the ratios are taken within a round, and the table has their median. Memory: each way runs
alone in a fresh process, and counts the peak of its resident memory (VmHWM of Linux) above what it
had after its imports; that includes the network, its gradients and its activations.
The last column is the budget search: ``select`` at half of the FLOPs. With ``--search`` it is
measured alone, for every network of the package.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import lwdna
from lwdna.data.catalog import DATASETS
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.networks.registry import NETWORKS as ALL
from lwdna.networks.registry import input_shape
from lwdna.results.markdown import line
from lwdna.shrinkage.budget import Budget, floors, select
from lwdna.shrinkage.gradients import explicit_gradients, latent_gradients

NETWORKS = {
    "MobileNetV1": ("tiny-imagenet", 8, 64),
    "MobileNetV2": ("tiny-imagenet", 8, 64),
    "ResNet56": ("cifar10", 8, 64),
    "ResNet50": ("imagenet", 2, 4),
}
"""Dataset, embedding dimension m and batch size."""


class Case:
    """A network of width 2 and the ways to go about it."""

    def __init__(self, name: str) -> None:
        dataset, self.embedding, self.batch = NETWORKS[name]
        shape = DATASETS[dataset]
        torch.manual_seed(0)
        self.images = torch.randn(self.batch, 3, shape.size, shape.size)
        self.labels = torch.randint(shape.classes, (self.batch,))
        self.model = lwdna.build(name, dataset=dataset, width=2).train()
        self.graph = ChannelGraph(self.model, self.images[:1])

    def loss(self, model: nn.Module) -> Tensor:
        """Cross-entropy of the one batch."""
        return nn.functional.cross_entropy(model(self.images), self.labels)

    def limit(self, passes: int = 1) -> None:
        """Forward and backward passes of the network."""
        for _ in range(passes):
            self.model.zero_grad(set_to_none=True)
            self.loss(self.model).backward()
        self.model.zero_grad(set_to_none=True)

    def closed_form(self, steps: int = 0) -> np.ndarray:
        """Latent gradients without a hypernetwork in memory, the last of them on one batch."""
        return latent_gradients(
            self.graph,
            self.model,
            self.loss,
            batches=steps + 1,
            warmup_steps=steps,
            embedding=self.embedding,
        )[1]

    def hypernetwork(self, steps: int = 0) -> None:
        """The same with it."""
        explicit_gradients(
            self.graph,
            self.model,
            self.loss,
            batches=1,
            warmup_steps=steps,
            seed=0,
            embedding=self.embedding,
        )


def search(graph: ChannelGraph, scores: np.ndarray) -> Callable[[], object]:
    """The budget search, all but it prepared."""
    counted = MaskedComplexity(graph)
    budget = Budget(0.5 * counted.flops(graph.full_mask()), floors(graph.sets, 0.2, 0.45))
    return lambda: select(graph, counted, scores, budget)


WAYS: dict[str, Callable[[Case], object]] = {
    "limit": lambda case: case.limit(),
    "closed form": lambda case: case.closed_form(),
    "hypernetwork": lambda case: case.hypernetwork(),
    "limit, warm-up": lambda case: case.limit(2),
    "closed form, warm-up": lambda case: case.closed_form(1),
    "hypernetwork, warm-up": lambda case: case.hypernetwork(1),
}
RATIOS = {
    "closed form / pass": ("closed form", "limit"),
    "hypernetwork / closed form": ("hypernetwork", "closed form"),
    "warm-up: closed form / 2 passes": ("closed form, warm-up", "limit, warm-up"),
    "warm-up: hypernetwork / closed form": ("hypernetwork, warm-up", "closed form, warm-up"),
}


def seconds(function: Callable[[], object], clock: Callable[[], float]) -> float:
    """How long a call takes."""
    start = clock()
    function()
    return clock() - start


def median_ms(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Milliseconds that a call takes."""
    return 1000 * statistics.median(seconds(function, clock) for _ in range(repeats))


def measure_search(name: str, repeats: int, clock: Callable[[], float]) -> dict[str, object]:
    """A row of the table of the budget search alone, with random scores."""
    graph = ChannelGraph(lwdna.build(name, width=2), torch.zeros(input_shape(name)))
    scores = np.random.default_rng(0).random(graph.elements)
    taken = median_ms(search(graph, scores), repeats, clock)
    return {"network": name, "elements": graph.elements, "search, ms": round(taken, 1)}


def resident(key: str) -> float:
    """MiB of resident memory of this process: now (VmRSS) or at most (VmHWM)."""
    for entry in Path("/proc/self/status").read_text().splitlines():
        if entry.startswith(key):
            return int(entry.split()[1]) / 1024
    raise click.ClickException("Memory is measured on Linux only.")


def measure_memory(name: str, way: str) -> float:
    """MiB that a way takes, in a process of its own."""
    command = [sys.executable, __file__, "--network", name, "--memory-of", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def measure(name: str, repeats: int, clock: Callable[[], float]) -> dict[str, object]:
    """A row of the table."""
    case = Case(name)
    rounds = [
        {way: seconds(lambda run=run: run(case), clock) for way, run in WAYS.items()}
        for _ in tqdm(range(repeats + 1), f"{name}: rounds", disable=None)
    ][1:]
    search_ms = median_ms(search(case.graph, np.abs(case.closed_form())), repeats, clock)
    peak = {way: measure_memory(name, way) for way in WAYS}
    row: dict[str, object] = {"network": name, "m": case.embedding, "batch": case.batch}
    row["pass, s"] = round(statistics.median(times["limit"] for times in rounds), 2)
    row["pass, MiB"] = round(peak["limit"])
    for ratio, (way, other) in RATIOS.items():
        slower = statistics.median(times[way] / times[other] for times in rounds)
        row[f"{ratio}, time"] = round(slower, 2)
        row[f"{ratio}, memory"] = round(peak[way] / peak[other], 2)
    row["search, ms"] = round(search_ms, 1)
    return row


@click.command()
@click.option("--network", type=click.Choice(list(NETWORKS)), multiple=True, help="All, if none.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of torch.  [default: all cores]")
@click.option(
    "--cpu-time",
    is_flag=True,
    help="Count processor time, not elapsed time: for a busy machine, with --threads 1.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, not Markdown.")
@click.option("--search", "only_search", is_flag=True, help="Only the search, of every network.")
@click.option("--memory-of", type=click.Choice(list(WAYS)), hidden=True)
def main(
    *,
    network: tuple[str, ...],
    repeats: int,
    threads: int | None,
    cpu_time: bool,
    as_csv: bool,
    only_search: bool,
    memory_of: str | None,
) -> None:
    """Time, memory and search of shrinking networks of width 2."""
    if threads:
        torch.set_num_threads(threads)
    if memory_of is not None:
        before = resident("VmRSS")
        WAYS[memory_of](Case(network[0]))
        click.echo(resident("VmHWM") - before)
        return
    clock = time.process_time if cpu_time else time.perf_counter
    write = csv.writer(sys.stdout, lineterminator="\n").writerow if as_csv else markdown
    for index, name in enumerate(network or (ALL if only_search else NETWORKS)):
        row = (measure_search if only_search else measure)(name, repeats, clock)
        lines = [row.values()]
        if index == 0:
            lines = [row, *([] if as_csv else [["---"] * len(row)]), *lines]
        for cells in lines:
            write(cells)
        sys.stdout.flush()  # the next may take minutes


def markdown(cells: Iterable[object]) -> None:
    """Print a line of a Markdown table."""
    click.echo(line(cells))


if __name__ == "__main__":
    main()
