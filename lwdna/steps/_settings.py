"""Options that follow from the fields of a dataclass of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from lwdna.steps._options import Option, bundle

_SHARED = ("target_flops", "batch_norm", "seed")
"""Settings that follow from other options."""


def settings_of(settings: type[Any], **more: Iterable[str]) -> Option:
    """An option for each field of a dataclass of settings, as ``settings``.

    Name, type and default are the field's. Its ``metadata`` may hold the ``help``, and the least
    value of an integer as ``min``; a field of names takes one of them.

    Args:
        more: by field, further names that it takes.
    """
    hints = get_type_hints(settings)
    options = []
    for field in dataclasses.fields(settings):
        if field.name in _SHARED:
            continue
        required = field.default is dataclasses.MISSING
        options.append(
            click.option(
                f"--{field.name.rstrip('_').replace('_', '-')}",
                field.name,
                type=_kind(hints[field.name], field.metadata.get("min"), more.get(field.name, ())),
                required=required,
                default=None if required else field.default,
                show_default=not required,
                help=field.metadata.get("help"),
            )
        )
    return bundle("settings", *options)


def _kind(hint: Any, least: int | None, more: Iterable[str]) -> Any:
    """The type of an option, of the type of a field."""
    for part in (hint, *get_args(hint)):
        if get_origin(part) is Literal:
            return click.Choice([*get_args(part), *more])
    return hint if least is None else click.IntRange(min=least)
