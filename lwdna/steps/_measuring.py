"""Options of steps that measure what was trained on several test sets."""

from __future__ import annotations

import click

from lwdna.steps._json import Json
from lwdna.steps._options import Option, bundle, task

runs_if_known = click.option(
    "--labels", "runs", type=Json("runs"), default="{}", help="By file: experiment, method, seed."
)


def sets_to_test(path: click.Path, taken: str) -> Option:
    """The test sets of a step that measures on several, as one argument ``tests``.

    Args:
        path: what a set is.
        taken: what a convention is of, in words.
    """
    return bundle(
        "tests",
        task,
        click.option("--conventions", type=Json("conventions"), default="{}", help=taken),
        click.option(
            "--test",
            "sets",
            type=(str, path),
            multiple=True,
            required=True,
            help="Name and path of a test set; may be given several times.",
        ),
    )
