"""What the JSON Schema of a configuration allows, in words: for its reference and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lwdna.config.files import as_yaml_writes
from lwdna.errors import nearest

Rule = Mapping[str, Any]
"""A part of the schema."""

_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}

_NAMES = {"string": "text", "boolean": "true or false", "null": "nothing", "object": "mapping"}

_SHOWN = 80
"""Characters of a value that are repeated in an error."""


def resolved(rule: Rule, schema: Rule) -> Rule:
    """A rule with what it refers to; what stands beside the reference wins."""
    if "$ref" not in rule:
        return rule
    target = schema["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    return {**resolved(target, schema), **{k: v for k, v in rule.items() if k != "$ref"}}


def allowed(rule: Rule, schema: Rule) -> str:
    """What values a rule allows, such as ``list of integer ≥ 0``."""
    rule = resolved(rule, schema)
    if "enum" in rule:
        return " or ".join(f"`{value}`" for value in rule["enum"])
    if "const" in rule:
        return f"`{rule['const']}`"
    for choice in ("anyOf", "oneOf"):
        if choice in rule:
            return " or ".join(allowed(option, schema) for option in rule[choice])
    kinds = rule.get("type", "anything")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return " or ".join(_kind(kind, rule, schema) for kind in kinds)


def _kind(kind: str, rule: Rule, schema: Rule) -> str:
    """One of the types of a rule with its bounds, in words."""
    if kind == "array":
        items = allowed(rule["items"], schema) if "items" in rule else "anything"
        low, high = rule.get("minItems"), rule.get("maxItems")
        return f"list of {low} x {items}" if low and low == high else f"list of {items}"
    if kind in {"integer", "number"}:
        bounds = [f"{sign} {rule[key]}" for key, sign in _SIGNS.items() if key in rule]
        return " ".join([kind, ", ".join(bounds)]).strip()
    return _NAMES.get(kind, kind)


def shown(value: Any) -> str:
    """A value of a configuration in an error: as YAML has it, text in quotation marks, cut."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 200:  # Python prints none of thousands
        return f"a number of some {value.bit_length() * 3 // 10} digits"
    said = repr(value) if isinstance(value, str | list | dict) else f"{value}"
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 3]}..."


def problem(error: Any, schema: Rule, base: Any = None) -> str:
    """What the schema does not allow, as a sentence: what is given, where, and what to do.

    Args:
        error: of jsonschema.
        schema: the whole.
        base: what the configuration says of its base, for keys that it lacks; None of a part.
    """
    where = ".".join(str(step) for step in error.absolute_path) or "the top level"
    given, rule = error.instance, error.validator_value
    has = f"The configuration has {shown(given)} at {where}"
    if "propertyNames" in error.absolute_schema_path:
        about = error.schema["description"]
        return f"The configuration has the name {shown(given)} at {where}; a name is {about}."
    match error.validator:
        case "additionalProperties":
            odd = sorted(set(given) - set(error.schema["properties"]))[0]
            help_ = nearest(odd, error.schema["properties"])
            return f"The configuration has no key '{odd}' at {where}: {help_}"
        case "enum":
            return f"{has}: {nearest(str(given), [str(value) for value in rule])}"
        case "required":
            lacks = next(key for key in rule if key not in given)
            return (
                f"The configuration lacks '{lacks}' at {where}. {_BASES.get(str(base), 'Add it.')}"
            )
        case "uniqueItems":
            twice = next(item for i, item in enumerate(given) if item in given[:i])
            return f"{has}, {shown(twice)} twice; give each once."
        case "minItems" | "maxItems" if given:
            return f"{has}, {len(given)} values; allowed: {allowed(error.schema, schema)}."
        case "minItems" | "minProperties":
            what = allowed(error.schema, schema)
            return f"The configuration has nothing at {where}; allowed: {what}, at least {rule}."
        case "maxProperties":
            keys = " and ".join(f"'{key}'" for key in given)
            return f"The configuration has {keys} at {where}; give {rule} of them."
        case "minLength" | "maxLength":
            bound = "at least" if error.validator == "minLength" else "at most"
            return f"{has}, {len(given)} characters; give {bound} {rule}."
    return f"{has}; allowed: {allowed(error.schema, schema)}{_hint(given, error.schema)}."


_BASES = {
    "default": "Add it; the default, which this changes (base: default), has none there either.",
    "none": "Add it, or leave out 'base: none', by which this does without the default.",
}
"""What to do about a key that is lacking."""


def _hint(given: Any, rule: Rule) -> str:
    """What a value was meant to be, if that can be told."""
    if isinstance(given, str) and (number := as_yaml_writes(given)):
        return f" (in YAML {given} is text; write {number})"
    highest = rule.get("maximum", rule.get("exclusiveMaximum"))
    number_given = isinstance(given, int | float) and not isinstance(given, bool)
    if number_given and highest == 1 and 1 < given <= 100:
        return f" (a share, not per cent, such as {given / 100:g})"
    return ""
