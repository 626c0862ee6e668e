"""Measure boxes of trackers on test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lwdna.data.sequence_sets import open_sets
from lwdna.io.checksummed_csv import write_rows
from lwdna.networks.own import maker
from lwdna.steps._measuring import runs_if_known, sets_to_test
from lwdna.steps._options import FILE, batch_norm, bundle, output, own_network, threads
from lwdna.steps.evaluate import columns_of, say
from lwdna.tasks.task import task_for
from lwdna.tracking.box_files import read_archive
from lwdna.tracking.dimp import Dimp, complexity, load, read_backbone
from lwdna.tracking.following import measured

_found = bundle(
    "found",
    click.argument("weights", type=FILE, nargs=-1, required=True),
    runs_if_known,
    click.option(
        "--boxes",
        type=(FILE, str, FILE),
        multiple=True,
        required=True,
        help="Weights, name of a test set, and the boxes on it; again for each.",
    ),
    own_network,
    batch_norm,
)


@click.command()
@_found
@sets_to_test(FILE, "By test set, how it counts.")
@output
@threads
def main(*, found: dict[str, Any], tests: dict[str, Any], output: Path) -> None:
    """Measure the boxes of the trackers in WEIGHTS; write one row for each of them and test set."""
    usual = task_for(tests["task"]).kind.conventions[0]
    sets = {name: open_sets(path) for name, path in tests["sets"]}
    boxes = {(weights, name): path for weights, name, path in found["boxes"]}
    rows = []
    for path in found["weights"]:
        model = load(path, maker(path, found["network"], read_backbone(path)))
        counts = _complexity(model, batch_norm=found["batch_norm"])
        known = found["runs"].get(str(path), {})
        for name, videos in sets.items():
            convention = tests["conventions"].get(name, usual)
            result = measured(videos, read_archive(boxes[path, name]), convention)
            row = {**known, "test_set": name, **columns_of(result), **counts}
            say(path, row)
            rows.append(row)
    write_rows(output, rows)


def _complexity(model: Dimp, *, batch_norm: bool) -> dict[str, float]:
    """What a frame costs at the size of the search region, but for its boxes, and parameters."""
    flops, backbone, params = complexity(model, batch_norm=batch_norm)
    return {"flops": flops, "params": params, "backbone_flops_g": backbone / 1e9}
