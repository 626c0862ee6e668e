"""What the steps that make datasets ready have in common: each asks the kind by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lwdna.config.read import problems, read_rules
from lwdna.data.catalog import DATASET_KINDS, DatasetKind
from lwdna.data.downloads import require
from lwdna.data.versions import read_versions
from lwdna.errors import ConfigError
from lwdna.steps._json import Json

split = click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="train",
    help="Of an archive that holds both.",
)
own_options = click.option(
    "--options", type=Json(), default="{}", help="The kind's own keys of the configuration."
)


def kind_option(
    *, labelled: bool, default: str | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option --kind, of those that are labelled or of the others."""
    names = [name for name, kind in DATASET_KINDS.items() if kind.labelled == labelled]
    return click.option(
        "--kind", type=click.Choice(names), default=default, show_default=default is not None
    )


def make_ready(
    name: str,
    words: Sequence[str],
    output: Path,
    *,
    split: str,
    options: Mapping[str, Any],
    packed: bool = True,
) -> None:
    """Make a split of a dataset ready, by the function of its kind.

    Args:
        name: of the kind.
        words: the folder or archive, or names of images, or none.
        output: the store to write, or the folder to fill.
        split: "train" or "test".
        options: the kind's own keys.
        packed: whether labelled images are packed, rather than listed where they are.

    Raises:
        ConfigError: if the kind needs other words or options.
        DataError: if the source is not there or not what it should be.
    """
    kind = DATASET_KINDS[name]
    source = _source(kind, name, words)
    given = _checked(kind, name, options)
    if kind.in_place == "may":
        given["packed"] = packed
    elif not packed and kind.in_place == "never":
        raise ConfigError(f"Images of kind {name} are always packed; leave --list out.")
    if isinstance(source, Path):
        require(source, read_versions())
    kind.make(source, output, split=split, **kind.implies, **given)


def _source(kind: DatasetKind, name: str, words: Sequence[str]) -> Path | list[str] | None:
    wanted, fits = {
        "names": ("the names of images", bool(words)),
        "generated": ("nothing", not words),
    }.get(kind.source, ("one folder or archive", len(words) == 1))
    if not fits:
        raise ConfigError(
            f"A dataset of kind {name} is made of {wanted}, but given was "
            f"{' '.join(words) or 'nothing'}; name what is meant."
        )
    if kind.source == "names":
        return list(words)
    return Path(words[0]) if words else None


def _checked(kind: DatasetKind, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the configuration would have them: complete, and of the right type."""
    for key in options:
        if key not in kind.own:
            raise ConfigError(f"A dataset of kind {name} takes no '{key}'; leave it out.")
    rules = read_rules()
    section = {"kind": name, **options}
    problem = next(problems({**rules["$defs"]["dataset"], "$defs": rules["$defs"]}, section), None)
    if problem is not None:
        raise ConfigError(problem)
    for key in kind.needs:
        if key not in section:
            raise ConfigError(f"A dataset of kind {name} lacks '{key}'; give it in --options.")
    return kind.options(section)
