"""What the schema does not allow is said in a sentence of ours, for every key that there is."""

import re

import pytest

from lwdna.config.check import check
from lwdna.config.read import problems, read_numbers, read_rules
from lwdna.config.sentences import WHOLE_NUMBERS, inlined
from lwdna.errors import ConfigError

RULES = read_rules()
WHOLE = inlined(RULES, RULES["$defs"])

FOREIGN = re.compile(
    "is not of type|required propert|does not match|non-unique|is too (short|long)|than the m"
    "|not valid under|enough properties|non-empty|unexpected"
)
"""Words of jsonschema."""


def places(rule=WHOLE, path=()):
    """Every key of the schema: its path, with names of one's own, and its rule."""
    yield path, rule
    for key, inner in rule.get("properties", {}).items():
        yield from places(inner, (*path, key))
    if isinstance(rule.get("additionalProperties"), dict):
        yield from places(rule["additionalProperties"], (*path, "mine"))
    if "items" in rule:
        yield from places(rule["items"], (*path, 0))


def wrong(rule):
    """Values that a rule forbids, for each of its words."""
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    others = {"string": "text", "integer": 3, "number": 0.5, "boolean": True, "array": []}
    others |= {"object": {}, "null": None}
    for kind, value in others.items():
        taken = {kind, "number"} if kind == "integer" else {kind}
        if kinds and not taken & set(kinds):
            yield value
    for word, by in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1)):
        if word in rule:
            yield rule[word] + by
    if "exclusiveMaximum" in rule:
        yield rule["exclusiveMaximum"]
    if "enum" in rule:
        yield from ("nothing of the kind", 77, None, [])
    if rule.get("minItems"):
        yield []
    if "maxItems" in rule:
        yield [1] * (rule["maxItems"] + 1)
    if rule.get("uniqueItems"):
        yield ["one", "one"]
    if "maxLength" in rule:
        yield "x" * (rule["maxLength"] + 1)
    if rule.get("minLength"):
        yield ""
    if rule.get("minProperties"):
        yield {}
    if "maxProperties" in rule:
        yield dict.fromkeys(rule["properties"], 1)
    if rule.get("additionalProperties") is False:
        yield {"no such key": 1}
    if "propertyNames" in rule:
        yield from ({"../up": {}}, {"x" * 101: {}})
    if rule.get("required"):
        yield {}


def at(path, value):
    """A configuration that has a value at a path, and nothing else."""
    for step in reversed(path):
        value = [value] if step == 0 else {step: value}
    return value


CASES = [(path, value) for path, rule in places() if path for value in wrong(rule)]


def test_every_word_of_the_schema_is_tried():
    """What ``wrong`` does not know would be under no test."""
    known = {"type", "properties", "additionalProperties", "items", "enum", "required", "default"}
    known |= {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minItems", "maxItems"}
    known |= {"uniqueItems", "minLength", "maxLength", "minProperties", "maxProperties", "pattern"}
    known |= {"propertyNames", "description"}
    for path, rule in places():
        odd = set(rule) - known - (set() if path else {"$schema", "$defs", "title"})
        assert not odd, f"{path} has {odd}, which no wrong value is made for"
    assert len(CASES) > 500


def test_every_key_says_where_it_is_and_what_is_allowed():
    for path, value in CASES:
        where = ".".join(map(str, path))
        found = [x for x in problems(RULES, at(path, value)) if f" at {where}" in x]
        assert found, f"{value!r} at {where} is taken"
        for sentence in found:
            assert not FOREIGN.search(sentence), sentence
            assert re.search("allowed: |did you mean|; give |; a name is |Add it", sentence), (
                sentence
            )
            assert "\n" not in sentence and len(sentence) < 1500, sentence


OPTIMIZER = ("protocols", "mine", "optimizer")
MINE = ("experiments", "mine")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ((*OPTIMIZER, "lr"), "1e-3", ", which is text in YAML: write 1.0e-3; give a number above"),
        ((*OPTIMIZER, "lr"), "fast", "has 'fast' at protocols.mine.optimizer.lr; give a number"),
        ((*MINE, "shrink", "rho"), 20, ", a share and not per cent, such as 0.2; give a number"),
        ((*MINE, "methods"), ["l1", "l1"], ", 'l1' twice; give a list"),
        (("seeds",), [], "has [] at seeds; give a list of at least one"),
        (("seeds",), [1.0], "has 1.0 at seeds.0; give a whole number"),
        (
            (*MINE, "teacher"),
            {"width": 2, "experiment": "x"},
            "give one of the keys 'width' and 'experiment'",
        ),
        (MINE, {}, "lacks 'task' at experiments.mine; the default, which the configuration ch"),
    ],
)
def test_a_sentence_says_what_was_meant(path, value, sentence):
    found = list(problems(RULES, at(path, value)))
    assert any(sentence in one for one in found), found


def test_what_stands_alone_is_told_so():
    alone = {"base": "none", "experiments": {"mine": {}}}
    lacks = next(x for x in problems(RULES, alone) if "lacks 'task'" in x)
    assert "nothing from the default (base: none); give a section" in lacks


def whole_numbers():
    """The path of every key that is a whole number."""
    return [path for path, rule in places() if rule.get("type") == "integer"]


def test_whole_numbers_are_whole():
    for path in whole_numbers():
        where = ".".join(map(str, path))
        for value in (1.5, 7.0, "7.0", "seven"):
            config = at(path, value)
            read_numbers(RULES, config)
            assert any(f" at {where}" in sentence for sentence in problems(RULES, config))


def test_numbers_that_no_machine_counts_to_are_refused_first():
    for path in whole_numbers()[::8]:
        for value in (WHOLE_NUMBERS + 1, 10**5000, -(2**63)):
            with pytest.raises(ConfigError, match=f" at {'.'.join(map(str, path))}; give a number"):
                check(at(path, value))
