"""Write config/README.md, the reference of the configuration, from config/schema.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lwdna.config.read import read_rules
from lwdna.errors import ConfigError
from lwdna.io.atomic import write_text
from lwdna.results.markdown import table

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"
README = ROOT / "config/README.md"

INTRODUCTION = """\
# Configuration

[//]: # (Made from config/schema.yaml by `make config-docs`; do not edit it here.)

The configuration says what is done: data, networks, training. What belongs to a machine (cores,
GPUs, memory) is in `profiles/`. Unknown keys are refused.

| File | |
|---|---|
| `config.yaml` | the default: digits and photographs that come with packages, minutes on a CPU |
| `paper.yaml` | the paper's experiments; it says where it expects the images |
| `controls.yaml` | the controls of LW-DNA beside it, on the images of the default |
| `complexity.yaml` | the complexity columns of the paper's tables, without training |
| `schema.yaml` | what is allowed; this page is made from it |

In a clone of the repository, `config.yaml` is a link to the one a folder up. A file given by
`--configfile` changes the default key by key, unless it says `base: none`: then it stands alone.
Where snakedeploy deployed the workflow, `config/config.yaml` is yours to edit; a file given by
`--configfile` changes it, or takes its place with `--replace-workflow-config`. Paths of
images are relative to the working directory. What has neither a default nor "required" may be left
out, unless the kind of task needs it: what is missing is named before anything runs.
"""


def render(schema: Mapping[str, Any]) -> str:
    """The reference as Markdown: a table of keys for each section of the configuration.

    Raises:
        ConfigError: if a key of the schema has no description.
    """
    sections = [("Top level", schema, None)]
    parts = [INTRODUCTION]
    for title, section, about in sections:  # grows while it is walked
        rows = list(_rows(section, schema, sections))
        parts += [f"\n## {title}\n\n", f"{about}\n\n" if about else ""]
        parts += [table(("Key", "Type", "Default", "Description"), rows, "llll"), "\n"]
    return "".join(parts)


def _rows(
    section: Mapping[str, Any],
    schema: Mapping[str, Any],
    sections: list[tuple[str, Mapping[str, Any], str | None]],
    prefix: str = "",
) -> Iterator[tuple[str, ...]]:
    """The rows of a table; a mapping from names of the user's choice becomes a section."""
    for key, given in section["properties"].items():
        rule = _resolved(given, schema)
        name = f"{prefix}{key}"
        named = rule.get("additionalProperties")
        kind = _type(rule, schema)
        if isinstance(named, Mapping):
            title = f"`{name}.<name>`"
            kind = "by name, see below"
            inner = _resolved(named, schema)
            sections.append((title, inner, inner.get("description")))
        if "description" not in rule:
            raise ConfigError(f"'{name}' has no description in config/schema.yaml; write one.")
        default = "required" if key in section.get("required", ()) else ""
        if "default" in rule:
            default = f"`{json.dumps(rule['default'])}`"
        yield f"`{name}`", kind, default, rule["description"]
        if "properties" in rule:
            yield from _rows(rule, schema, sections, f"{name}.")


def _resolved(rule: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rule with what it refers to; what stands beside the reference wins."""
    if "$ref" not in rule:
        return rule
    target = schema["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    return {**_resolved(target, schema), **{k: v for k, v in rule.items() if k != "$ref"}}


def _type(rule: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What values a rule allows, in words."""
    rule = _resolved(rule, schema)
    if "enum" in rule:
        return " or ".join(f"`{value}`" for value in rule["enum"])
    if "const" in rule:
        return f"`{rule['const']}`"
    for choice in ("anyOf", "oneOf"):
        if choice in rule:
            return " or ".join(_type(option, schema) for option in rule[choice])
    kinds = rule.get("type", "anything")
    return " or ".join(_kind(kind, rule, schema) for kind in _listed(kinds))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _kind(kind: str, rule: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """One of the types of a rule with its bounds, in words."""
    if kind == "array":
        items = _type(rule["items"], schema) if "items" in rule else "anything"
        low, high = rule.get("minItems"), rule.get("maxItems")
        return f"list of {low} x {items}" if low and low == high else f"list of {items}"
    if kind == "object":
        return "mapping"
    if kind in {"integer", "number"}:
        signs = {
            "minimum": "≥",
            "exclusiveMinimum": ">",
            "maximum": "≤",
            "exclusiveMaximum": "<",
        }
        bounds = [f"{sign} {rule[key]}" for key, sign in signs.items() if key in rule]
        return " ".join([kind, ", ".join(bounds)]).strip()
    return {"string": "text", "boolean": "true or false", "null": "nothing"}.get(kind, kind)


if __name__ == "__main__":
    write_text(README, render(read_rules(SCHEMA)))
