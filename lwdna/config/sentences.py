"""What the schema objects to, in words: what was given, where, and what may be there instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import ValidationError

from lwdna.config.files import as_yaml_writes
from lwdna.errors import nearest, shown

Rule = Mapping[str, Any]
"""A part of a JSON Schema."""

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys and values",
}

WHOLE_NUMBERS = 2**62
"""What is larger than this, or as much below 0, is no whole number that a computer counts with."""


BASES = {
    "default": "the default, which the configuration changes (base: default), has none there",
    "none": "the configuration takes nothing from the default (base: none)",
}
"""What a configuration may say of its ``base``, and what that means for a key that it lacks."""


def sentence(error: ValidationError, of: str = "The configuration", base: object = None) -> str:
    """What is wrong with a section, in one sentence.

    Args:
        error: what a validator found.
        of: what is wrong: the configuration, or an option of a command.
        base: of the configuration, one of :data:`BASES`.
    """
    where = ".".join(str(step) for step in error.absolute_path) or "the top level"
    rule: Any = error.schema
    given: Any = error.instance
    value: Any = error.validator_value
    if error.validator == "additionalProperties":
        allowed = rule.get("properties", {})
        odd = sorted(set(given) - set(allowed))[0]
        return f"{of} has no key {shown(odd)} at {where}: {nearest(odd, allowed)}"
    if error.validator == "required":
        missing = [name for name in value if name not in given]
        give = described(_of_key(rule, missing[0]))
        why = f"; {BASES[str(base)]}" if str(base) in BASES else ""
        return f"{of} lacks '{missing[0]}' at {where}{why}; give {give}."
    if error.validator == "enum":
        allowed = [str(choice) for choice in value]
        return f"{of} has {shown(given)} at {where}: {nearest(str(given)[:100], allowed)}"
    if "propertyNames" in error.absolute_schema_path:
        return f"{of} has the name {shown(given)} at {where}; give {described(rule)}."
    return f"{of} has {shown(given)} at {where}{_meant(given, rule)}; give {described(rule)}."


def _meant(given: Any, rule: Rule) -> str:
    """What is wrong with a value, where it takes more than what is allowed to see it."""
    if isinstance(given, str):
        number = as_yaml_writes(given)
        return f", which is text in YAML: write {number}" if number else ""
    if isinstance(given, list):
        twice = [shown(item) for index, item in enumerate(given) if item in given[:index]]
        return f", {twice[0]} twice" if twice and rule.get("uniqueItems") else ""
    if not isinstance(given, int | float) or isinstance(given, bool):
        return ""
    if 1 in (rule.get("maximum"), rule.get("exclusiveMaximum")) and 1 < given <= 100:
        return f", a share and not per cent, such as {given / 100:g}"
    return ""


def described(rule: Rule) -> str:
    """What a rule allows, in words.

    >>> described({"type": "integer", "minimum": 1})
    'a whole number of 1 or more'
    """
    if "enum" in rule:
        return "one of " + ", ".join(f"'{value}'" for value in rule["enum"])
    if "const" in rule:
        return f"'{rule['const']}'"
    types = rule.get("type", [])
    parts = [_of_type(rule, name) for name in ([types] if isinstance(types, str) else types)]
    return " or ".join(parts) or "a value"


def _of_type(rule: Rule, name: str) -> str:
    if name in {"integer", "number"}:
        return f"{_TYPES[name]}{_range(rule)}"
    if name == "string":
        return f"{_TYPES[name]}{_length(rule)}"
    if name == "array":
        return f"{_TYPES[name]}{_items(rule)}"
    if name == "object" and rule.get("maxProperties") == 1:
        return "one of the keys " + " and ".join(f"'{key}'" for key in rule["properties"])
    if name == "object" and rule.get("minProperties"):
        return f"{_TYPES[name]}, at least one"
    return _TYPES[name]


def _range(rule: Rule) -> str:
    least, most = rule.get("minimum"), rule.get("maximum")
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    words = [
        f"above {rule['exclusiveMinimum']:g}" if "exclusiveMinimum" in rule else "",
        f"of {least:g} or more" if least is not None else "",
        f"below {rule['exclusiveMaximum']:g}" if "exclusiveMaximum" in rule else "",
        f"of at most {most:g}" if most is not None else "",
    ]
    return "".join(f" {word}" for word in [" and ".join(filter(None, words))] if word)


def _length(rule: Rule) -> str:
    words = []
    if "pattern" in rule:
        words.append(f"of {rule.get('description', rule['pattern'])}")
    if rule.get("minLength"):
        words.append("that is not empty")
    if "maxLength" in rule:
        words.append(f"of at most {rule['maxLength']} characters")
    return "".join(f" {word}" for word in [", ".join(words)] if word)


def _items(rule: Rule) -> str:
    least, most = rule.get("minItems"), rule.get("maxItems")
    number = ""
    if least is not None and least == most:
        number = f" of {least}"
    elif least:
        number = " of at least one" if least == 1 else f" of at least {least}"
    inner = described(rule["items"]) if rule.get("items") else ""
    each = f", each {inner}" if inner else ""
    return f"{number}{each}{', none twice' if rule.get('uniqueItems') else ''}"


def _of_key(rule: Rule, key: str) -> Rule:
    """The rule of a key of a section."""
    found: Rule = rule.get("properties", {}).get(key, {})
    return found


def inlined(rule: Any, parts: Mapping[str, Any]) -> Any:
    """A rule with what it refers to written in its place.

    Args:
        rule: of a schema, or a value in it.
        parts: the ``$defs`` of the schema, none of which may refer to itself.
    """
    if isinstance(rule, list):
        return [inlined(inner, parts) for inner in rule]
    if not isinstance(rule, Mapping):
        return rule
    own = {k: inlined(inner, parts) for k, inner in rule.items() if k not in {"$ref", "$defs"}}
    if "$ref" not in rule:
        return own
    return {**inlined(parts[rule["$ref"].removeprefix("#/$defs/")], parts), **own}
