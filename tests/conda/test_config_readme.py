"""The reference of the configuration: current, complete, readable."""

import importlib.util

import jsonschema
import pytest
import yaml
from imports import ROOT

from lwdna.config.read import read_rules
from lwdna.errors import ConfigError

spec = importlib.util.spec_from_file_location("config_readme", ROOT / "docs/config_readme.py")
config_readme = importlib.util.module_from_spec(spec)
spec.loader.exec_module(config_readme)


@pytest.fixture
def schema():
    return read_rules(ROOT / "config/schema.yaml")


def test_the_reference_is_current(schema):
    written = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert written == config_readme.render(schema), "run `make config-docs` and commit the result"


def test_every_key_of_the_configurations_is_in_the_reference(schema):
    """Read off the files, not off the schema: what the generator overlooks is missed."""
    text = config_readme.render(schema)
    for name in ("config.yaml", "config/paper.yaml", "config/complexity.yaml"):
        config = yaml.safe_load((ROOT / name).read_text())
        named = [config.get(key, {}) for key in ("datasets", "protocols", "experiments")]
        named.append(config.get("replication", {}).get("networks", {}))
        keys = {f"{path}" for section in named for one in section.values() for path in paths(one)}
        assert {key for key in keys if f"| `{key}` |" not in text} == set()


def paths(section, prefix=""):
    """The dotted keys of a section; options of networks are free."""
    for key, value in section.items():
        yield prefix + key
        if isinstance(value, dict) and key != "options":
            yield from paths(value, f"{prefix}{key}.")


def test_types_defaults_and_references_are_in_words():
    rules = yaml.safe_load("""
$defs:
  share: {type: number, minimum: 0, maximum: 1, description: Some share.}
required: [a]
properties:
  a: {type: array, items: {type: integer, exclusiveMinimum: 0}, description: "One | two."}
  b: {$ref: "#/$defs/share", default: 0.5}
  c: {anyOf: [{enum: [x, y]}, {type: "null"}], description: "Three."}
  d:
    type: object
    description: Four.
    additionalProperties:
      type: object
      required: [e]
      properties: {e: {type: [string, boolean], description: Five.}}
""")
    jsonschema.Draft202012Validator.check_schema(rules)
    text = config_readme.render(rules)
    assert "| `a` | list of integer > 0 | required | One \\| two. |" in text
    assert "| `b` | number ≥ 0, ≤ 1 | `0.5` | Some share. |" in text
    assert "| `c` | `x` or `y` or nothing |  | Three. |" in text
    assert "## `d.<name>`" in text
    assert "| `e` | text or true or false | required | Five. |" in text


def test_a_key_without_a_description_is_refused(schema):
    del schema["properties"]["seeds"]["description"]
    with pytest.raises(ConfigError, match=r"'seeds' has no description in config/schema\.yaml"):
        config_readme.render(schema)
