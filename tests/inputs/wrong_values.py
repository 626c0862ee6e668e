"""Values that a rule allows and values that it forbids, made of the rule itself."""

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

Case = tuple[str, tuple, Any]
"""A kind of wrong input; where it is; the whole that has it, right but for that."""

FOREIGN = {
    "integer": 2.5,
    "number": "many",
    "string": 5,
    "boolean": "maybe",
    "array": 7,
    "object": "text",
}
"""By type, what is of none that a rule for it would allow."""


def right(rule: dict[str, Any], *, full: bool) -> Any:
    """A value that a rule allows.

    Args:
        rule: of a JSON Schema, without references.
        full: whether a section has all of its keys, or only those that it must have.
    """
    if "enum" in rule:
        return rule["enum"][0]
    kind = rule.get("type", "string")
    kind = kind if isinstance(kind, str) else kind[0]
    if kind in {"integer", "number"}:
        least = rule.get("minimum", rule.get("exclusiveMinimum", -1) + (kind == "integer"))
        most = rule.get("maximum", rule.get("exclusiveMaximum", least + 1))
        return least if kind == "integer" else (least + most) / 2
    if kind == "string":
        return "a"
    if kind == "boolean":
        return True
    if kind == "array":
        inner = rule.get("items", {"type": "string"})
        values = [right(inner, full=full)] * max(1, rule.get("minItems", 1))
        return values[:1] if rule.get("uniqueItems") else values
    keys = rule.get("properties", {})
    most = rule.get("maxProperties", len(keys))
    wanted = [key for key in keys if full or key in rule.get("required", [])][:most]
    section = {key: right(keys[key], full=full) for key in wanted}
    if isinstance(rule.get("additionalProperties"), dict):
        section["a"] = right(rule["additionalProperties"], full=full)
    return section


def wrong(rule: dict[str, Any], whole: Any, where: tuple = ()) -> Iterator[Case]:
    """Every wrong input that a rule and the rules of its keys tell of."""

    def put(kind: str, value: Any, at: tuple = where) -> Case:
        return kind, at, changed(whole, at, value)

    yield from (put(kind, value) for kind, value in values(rule) if where)
    given = reached(whole, where)
    if isinstance(given, dict):
        for key in rule.get("required", []):
            yield "missing", (*where, key), changed(whole, (*where, key), None, drop=True)
        if rule.get("additionalProperties") is False:
            yield put("extra", 1, (*where, "nonsense"))
        if "pattern" in rule.get("propertyNames", {}):
            yield put("name", copy.deepcopy(next(iter(given.values()))), (*where, "é/.."))
        if rule.get("maxProperties") == 1:
            for key, inner in rule["properties"].items():
                alone = changed(whole, where, {key: right(inner, full=False)})
                yield from wrong(inner, alone, (*where, key))
            return
        for key in given:
            of_key = rule.get("properties", {}).get(key, rule.get("additionalProperties"))
            if isinstance(of_key, dict):
                yield from wrong(of_key, whole, (*where, key))
    elif isinstance(given, list) and isinstance(rule.get("items"), dict):
        yield from wrong(rule["items"], whole, (*where, 0))


def variants(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A rule without conditions, once for each value that one of its conditions is about."""
    for part in rule.get("allOf", []):
        (key, value), *_ = part["if"]["properties"].items()
        only = {"properties": {**part["then"]["properties"], key: {"enum": [value["const"]]}}}
        required = [*rule.get("required", []), *part["then"].get("required", [])]
        yield {**part["then"], **only, "required": list(dict.fromkeys(required))}
    if "allOf" not in rule:
        yield rule


def values(rule: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values that a rule forbids, and what is wrong with them."""
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "enum" in rule:
        yield "out of range", "nonsense"
        yield "empty", ""
        yield "huge", "x" * 10**5
        yield "wrong type", {"a": 1}
        return
    if not kinds:
        return
    yield from (("wrong type", v) for k, v in FOREIGN.items() if k not in kinds and fits(k, kinds))
    yield "wrong type", None
    if {"integer", "number"} & set(kinds):
        yield from (("not finite", value) for value in (math.nan, math.inf, -math.inf))
        for key, step in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1)):
            if key in rule:
                yield "out of range", rule[key] + step
        if "exclusiveMaximum" in rule:
            yield "out of range", rule["exclusiveMaximum"]
        if kinds == ["integer"]:
            yield from (("huge", value) for value in (10**30, -(10**30)))
    if "maxLength" in rule:
        yield "huge", "x" * (rule["maxLength"] + 1)
    if rule.get("minLength") or rule.get("minItems"):
        yield "empty", "" if "string" in kinds else []
    if rule.get("uniqueItems"):
        yield "duplicated", [right(rule.get("items", {"type": "string"}), full=True)] * 2
    if rule.get("maxItems"):
        inner = right(rule["items"], full=True)
        yield "out of range", [inner] * (rule["maxItems"] + 1)
    if rule.get("minProperties"):
        yield "empty", {}


def fits(kind: str, kinds: list[str]) -> bool:
    """Whether the foreign value of a type is foreign to others as well."""
    python = {"integer": int, "number": (int, float), "string": str, "boolean": bool}
    python |= {"array": list, "object": dict}
    value = FOREIGN[kind]
    return not any(isinstance(value, python[other]) for other in kinds if other in python)


def reached(whole: Any, where: tuple) -> Any:
    for step in where:
        whole = whole[step]
    return whole


def changed(whole: Any, where: tuple, value: Any, *, drop: bool = False) -> Any:
    """A copy of the whole, with another value at one place, or with nothing there."""
    whole = copy.deepcopy(whole)
    holder = reached(whole, where[:-1])
    if drop:
        holder.pop(where[-1], None)
    else:
        holder[where[-1]] = value
    return whole


def drawn(cases: list, share: float | None, seed: int) -> list:
    """So many of the cases, drawn from a seed; all of them where there is no limit."""
    if share is None or share >= len(cases):
        return cases
    return random.Random(seed).sample(cases, int(share))
