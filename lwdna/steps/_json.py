"""Slices of the configuration on the command line, in JSON: parsed, and checked as in YAML."""

from __future__ import annotations

import json
from typing import Any

import click

from lwdna.errors import ConfigError, shown


class Json(click.ParamType):  # type: ignore[type-arg]
    """A JSON object on the command line, as the pipeline passes slices of the configuration.

    Args:
        of: which slice it is, a name of :data:`lwdna.config.slices.SLICES`.
    """

    name = "json"

    def __init__(self, of: str = "options") -> None:
        self.of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse, and check by the rules of a configuration; what is wrong is a usage error."""
        from lwdna.config.slices import check_slice  # noqa: PLC0415 - not for `--help`

        try:
            parsed = value if isinstance(value, dict) else _parsed(value)
            check_slice(self.of, parsed)
        except (RecursionError, ConfigError) as error:
            deep = isinstance(error, RecursionError)
            self.fail("The JSON is nested too deeply; write what is meant." if deep else str(error))
        return parsed


def _parsed(text: str) -> dict[str, Any]:
    """The object of a text in JSON.

    Raises:
        ConfigError: if it is none, or has a key twice.
        RecursionError: if it is nested too deeply.
    """

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        for key, value in found:
            if key in keys:
                raise ConfigError(
                    f"The JSON has the key {shown(key)} twice; leave one of them out."
                )
            keys[key] = value
        return keys

    try:
        parsed = json.loads(text, object_pairs_hook=pairs)
    except ValueError as error:
        raise ConfigError(
            f"{shown(text)} is not JSON ({error}); give an object such as '{{}}'."
        ) from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"{shown(text)} is not a JSON object; give one such as '{{}}'.")
    return parsed


class Network(Json):
    """A network on the command line: a JSON object, or only its name, or FILE:FUNCTION."""

    name = "network"

    def __init__(self) -> None:
        super().__init__("network")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse; a name becomes an object of a name."""
        if isinstance(value, str) and value.strip() and value.lstrip()[0] not in "{[":
            return {"name": value}
        return super().convert(value, param, ctx)
