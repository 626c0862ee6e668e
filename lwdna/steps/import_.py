"""Bring weights of another program into a file of lwdna."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from lwdna.io.state_dicts import read_state
from lwdna.networks.build import build_seeded
from lwdna.networks.importing import fill
from lwdna.networks.provenance import Trained, note_trained
from lwdna.networks.weights import save
from lwdna.steps._classes import classes
from lwdna.steps._json import Json, Network
from lwdna.steps._options import FILE, bundle, check_suffix
from lwdna.steps._own import builder_for
from lwdna.tasks.task import task_for

logger = logging.getLogger(__name__)

_about = bundle(
    "about",
    click.option(
        "--task", type=Json("task"), help="What it was trained for, as in a configuration."
    ),
    classes,
)


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--network",
    type=Network(),
    required=True,
    help="Network that it is for: name or FILE:FUNCTION, or JSON of name, dataset, width, options.",
)
@click.option("--part", help="Of a file that holds more: the weights' key, such as state_dict.")
@_about
@click.option("--output", type=FILE, help="File to write.  [default: beside FILE, as .safetensors]")
def main(
    *,
    file: Path,
    network: dict[str, Any],
    part: str | None,
    about: dict[str, Any],
    output: Path | None,
) -> None:
    """Convert a state_dict of PyTorch, or safetensors, in FILE to a weights file of lwdna.

    Of PyTorch's own format nothing but tensors is read, and no code is run.
    """
    path = output or file.with_suffix(".safetensors")
    check_suffix(path, ".safetensors")
    if path.resolve() == file.resolve():
        raise click.UsageError(f"'{file}' would be written over; give another --output.")
    if output is None and path.exists():
        raise click.UsageError(f"'{path}' is there already; name the file to write: --output.")
    trained = _trained(file, **about)
    model = build_seeded(network, 0, builder_for(network))  # type: ignore[arg-type]
    fill(model, read_state(file, part), f"'{file}'")
    note_trained(model, trained)
    save(model, path)
    if trained is None:
        logger.info("It does not say what it was trained for, which `lwdna apply` asks: --task.")


def _trained(file: Path, task: dict[str, Any] | None, classes: list[str] | None) -> Trained | None:
    """What the weights are for, if that is said."""
    if task is None:
        if classes is not None:
            raise click.UsageError("Give --task as well as --classes.")
        return None
    source = {"by": "lwdna import", "file": file.name}
    return Trained(dict(task), task_for(task).takes(), classes, source)
