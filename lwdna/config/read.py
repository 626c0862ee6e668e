"""The configuration as it was given: bounded, finite, checked against the JSON Schema."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from lwdna.config.methods import METHODS, SEARCHES
from lwdna.config.sentences import WHOLE_NUMBERS, inlined, sentence
from lwdna.data.catalog import DATASET_KINDS
from lwdna.errors import ConfigError, shown
from lwdna.io.project import SCHEMA
from lwdna.tasks.kinds import KINDS, tables

FILTERS = ("datasets", "networks", "methods", "experiments")
"""What the part of the experiments to run can be named by, in the section ``only``."""

_LARGEST = 1_000_000
"""Entries of a configuration, its aliases written out; the paper's has some thousand."""


def read_rules(schema: str | os.PathLike[str] = SCHEMA) -> dict[str, Any]:
    """The JSON Schema of a configuration, with the names of tables: kinds of datasets and tasks,
    their keys, methods, and the sections of searches.

    A key or section that the file does not describe may hold anything; its home checks it.
    """
    rules: dict[str, Any] = copy.deepcopy(_parsed(Path(schema).read_text(encoding="utf-8")))
    dataset = rules["$defs"]["dataset"]["properties"]
    experiment = rules["$defs"]["experiment"]["properties"]
    task = experiment["task"]["properties"]
    about: dict[str, list[str]] = {}
    for name, kind in DATASET_KINDS.items():
        about.setdefault(kind.about, []).append(name)
    dataset["kind"] = {
        "enum": list(DATASET_KINDS),
        "description": " ".join(f"{', '.join(of)}: {what}." for what, of in about.items()),
    }
    task["kind"] = {"enum": list(KINDS), "description": "Which task."}
    _permit(dataset, {name: kind.own for name, kind in DATASET_KINDS.items()})
    _permit(task, {name: (*kind.keys, *kind.takes) for name, kind in KINDS.items()})
    experiment["tables"]["items"] = {"enum": tables()}
    experiment["methods"]["items"] = {"enum": list(METHODS)}
    for name, search in SEARCHES.items():
        section = {"type": "object", "required": ["protocol"], "description": search.about}
        experiment.setdefault(name, section)
    return rules


@cache
def _parsed(text: str) -> dict[str, Any]:
    """The schema of a text, which takes a while to parse and is asked for again."""
    rules: dict[str, Any] = yaml.safe_load(text)
    return rules


def _permit(properties: dict[str, Any], kinds: Mapping[str, Iterable[str]]) -> None:
    """Add the keys of kinds, by their names, that are not described."""
    for name, keys in kinds.items():
        for key in keys:
            properties.setdefault(key, {"description": f"Of {name}."})


def with_filters(config: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """Read names where a section belongs as a filter: ``--config datasets=cifar10``.

    On the command line they have taken the place of the section, which is put back.

    Args:
        config: as Snakemake merged it; it is not changed.
        sections: the configuration files alone.

    Returns:
        The configuration, with the names in ``only``.
    """
    complete = dict(config)
    only = dict(complete.get("only") or {})
    for key in FILTERS:
        if key in complete and not isinstance(complete[key], Mapping):
            only[key] = _names(complete.pop(key))
            if key in sections:
                complete[key] = sections[key]
    return complete | ({"only": only} if only else {})


def _names(value: Any) -> list[str]:
    """Names from one, from a list, or from text with commas between them."""
    values = value if isinstance(value, list) else str("" if value is None else value).split(",")
    return [str(name).strip() for name in values if str(name).strip()]


def read_numbers(rules: dict[str, Any], config: dict[str, Any]) -> None:
    """Turn text into the number it is where one is wanted: --config gives lists of text."""
    for error in jsonschema.Draft202012Validator(rules).iter_errors(config):
        if error.validator == "type" and isinstance(error.instance, str):
            try:
                value = yaml.safe_load(error.instance)
            except (yaml.YAMLError, RecursionError, ValueError):
                continue  # no number
            if isinstance(value, int | float) and error.absolute_path:
                *path, last = error.absolute_path
                holder: Any = config
                for step in path:
                    holder = holder[step]
                holder[last] = value


def require_finite(config: Mapping[str, Any], of: str = "The configuration") -> None:
    """Refuse .nan and .inf, which YAML and JSON know and no key wants, and what is beyond 2^62."""
    stack: list[tuple[str, Any]] = list(config.items())
    while stack:
        where, value = stack.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{of} has {value} at {where}; give a finite number.")
        if isinstance(value, int) and abs(value) > WHOLE_NUMBERS:
            raise ConfigError(
                f"{of} has {shown(value)} at {where}; give a number of at most 2^62, "
                f"{WHOLE_NUMBERS}."
            )
        if isinstance(value, dict):
            stack += [(f"{where}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            stack += [(f"{where}.{index}", inner) for index, inner in enumerate(value)]


def problems(
    rules: dict[str, Any], config: dict[str, Any], of: str = "The configuration"
) -> Iterator[str]:
    """Each thing that the schema objects to, as one sentence; defaults are filled in on the way.

    Args:
        rules: the schema, or a part of it with its ``$defs``.
        config: what is checked.
        of: what it is, to begin the sentences with.
    """
    validator = _completing(jsonschema.Draft202012Validator)(inlined(rules, rules["$defs"]))
    whole = "base" in rules.get("properties", {})
    for error in validator.iter_errors(config):
        yield sentence(error, of, config.get("base", "default") if whole else None)


def _completing(base: Any) -> Any:
    """A validator that fills in defaults before it looks at an object's properties."""
    check_properties = base.VALIDATORS["properties"]

    def properties(validator: Any, rules: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if isinstance(instance, dict):
            for key, rule in rules.items():
                if "default" in rule:
                    instance.setdefault(key, copy.deepcopy(rule["default"]))
        yield from check_properties(validator, rules, instance, schema)

    extend: Any = jsonschema.validators.extend
    types = base.TYPE_CHECKER.redefine("integer", _is_whole)
    return extend(base, {"properties": properties}, type_checker=types)


def _is_whole(_checker: Any, value: object) -> bool:
    """Whether it is a whole number as code takes it: 2.0 is none, and truth values are none."""
    return type(value) is int and abs(value) <= WHOLE_NUMBERS


def require_bounded(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that is small as YAML, by repeated aliases, and endless without."""
    sizes: dict[int, int] = {}
    entered: set[int] = set()
    stack: list[tuple[Any, bool]] = [(config, False)]
    while stack:
        value, left = stack.pop()
        if not isinstance(value, Mapping | list):
            continue
        inner = list(value.values()) if isinstance(value, Mapping) else value
        if left:
            sizes[id(value)] = 1 + sum(sizes.get(id(item), 1) for item in inner)
            entered.discard(id(value))
            if sizes[id(value)] > _LARGEST:
                raise ConfigError(
                    f"The configuration has more than {_LARGEST:,} entries when its aliases are "
                    "written out; write what is meant."
                )
        elif id(value) in entered:
            raise ConfigError("The configuration contains itself; write what is meant.")
        elif id(value) not in sizes:
            entered.add(id(value))
            stack += [(value, True), *((item, False) for item in inner)]


def with_text_keys(value: Any) -> Any:
    """A copy in which every key is text: YAML reads 5 and on as a number and a truth value."""
    if isinstance(value, Mapping):
        return {str(key): with_text_keys(inner) for key, inner in value.items()}
    return [with_text_keys(inner) for inner in value] if isinstance(value, list) else value
