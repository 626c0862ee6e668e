"""Every key of the schema, wrong in every way, in YAML and in JSON: one sentence that names it."""

import json
from functools import cache

import click
import pytest
from outcomes import ALL, command, outcome_of
from wrong_values import drawn, right, variants, wrong

from lwdna.__main__ import COMMANDS, lwdna
from lwdna.config.check import check
from lwdna.config.read import read_rules
from lwdna.config.sentences import inlined
from lwdna.config.slices import SLICES, check_slice, rules_of
from lwdna.steps._json import Json

SEED = 20210620
SHARE = 400
"""Wrong inputs of each kind of section that are tried where not all are."""


def cases(rules):
    """Every case of a section that has all its keys, and of one that has only what it must."""
    rules = inlined(rules, rules["$defs"])
    found = {}
    for rule in variants(rules):
        for full in (True, False):
            for kind, where, given in wrong(rule, right(rule, full=full)):
                found[kind, where, repr(given)[:5000]] = (kind, where, given)
    return list(found.values())


def names_of(where):
    """What a sentence may call a place."""
    return ".".join(str(step) for step in where), f"'{where[-1]}'"


def refused(found):
    """The outcomes that are no sentence that names the place, as text to read."""
    return "\n".join(f"{kind} at {where}: {said}" for kind, where, said in found if said)


@cache
def problem_of_slice(name):
    """Each wrong input of a slice that is not refused as it should be."""
    rules = rules_of(name)
    found = [
        (
            kind,
            where,
            outcome_of(lambda given=given: check_slice(name, given)).problem(*names_of(where)),
        )
        for kind, where, given in drawn(cases(rules), None if ALL else SHARE // 8, SEED)
    ]
    return refused(found)


def test_right_configurations_are_those_that_the_rules_describe():
    """Otherwise wrong ones would be refused for another reason than the one looked at."""
    rules = read_rules()
    plain = inlined(rules, rules["$defs"])
    for full in (True, False):
        outcome = outcome_of(lambda full=full: check(right(plain, full=full)))
        # What is wrong with them no schema tells: names of data sets that are made up.
        assert outcome.kind == "sentence" and "correct the configuration" in outcome.said


def test_wrong_keys_of_a_configuration_are_refused_by_name():
    found = [
        (kind, where, outcome_of(lambda given=given: check(given)).problem(*names_of(where)))
        for kind, where, given in drawn(cases(read_rules()), None if ALL else SHARE, SEED)
    ]
    assert len(found) >= SHARE
    assert not refused(found), refused(found)


@pytest.mark.parametrize("name", SLICES)
def test_wrong_keys_of_a_slice_are_refused_by_name(name):
    assert not problem_of_slice(name), problem_of_slice(name)


def json_options():
    """Every option of a command that is JSON, by command and name."""
    for name in COMMANDS:
        for parameter in lwdna.get_command(click.Context(lwdna), name).params:
            if isinstance(parameter.type, Json):
                yield name, parameter.opts[0], parameter.type.of


TEXTS = {
    "empty": "",
    "no JSON": "{",
    "no object": "[1]",
    "deep": '{"a":' * 10**5,
    "deep but whole": '{"a":' * 900 + "1" + "}" * 900,
    "duplicated": '{"kind": 1, "kind": 2}',
    "not finite": '{"kind": NaN}',
    "huge": '{"kind": 1' + "0" * 5000 + "}",
    "other encoding": '{"kind": "\udcff"}',
}


def test_json_on_the_command_line_is_checked_as_what_it_is():
    found = []
    for name, option, of in json_options():
        cases_of = drawn(cases(rules_of(of)), 3, SEED) if of != "options" else []
        texts = {kind: json.dumps(given) for kind, _, given in cases_of} | TEXTS
        if of == "options":
            del texts["other encoding"]
        for kind, text in texts.items():
            if kind == "other encoding" and of in ("references", "runs"):
                continue
            found.append((kind, (name, option), command(name, option, text).problem(option)))
    assert len(found) > 100
    assert not refused(found), refused(found)
