"""Write config/README.md, the reference of the configuration, from config/schema.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lwdna.config.allowed import allowed, resolved
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
        rule = resolved(given, schema)
        name = f"{prefix}{key}"
        named = rule.get("additionalProperties")
        kind = allowed(rule, schema)
        if isinstance(named, Mapping):
            title = f"`{name}.<name>`"
            kind = "by name, see below"
            inner = resolved(named, schema)
            sections.append((title, inner, inner.get("description")))
        if "description" not in rule:
            raise ConfigError(f"'{name}' has no description in config/schema.yaml; write one.")
        default = "required" if key in section.get("required", ()) else ""
        if "default" in rule:
            default = f"`{json.dumps(rule['default'])}`"
        yield f"`{name}`", kind, default, rule["description"]
        if "properties" in rule:
            yield from _rows(rule, schema, sections, f"{name}.")


if __name__ == "__main__":
    write_text(README, render(read_rules(SCHEMA)))
