"""Slices of a configuration, as commands are given them in JSON, under the rules of the whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from lwdna.config.methods import STEPS
from lwdna.config.read import problems, read_rules, require_bounded, require_finite
from lwdna.errors import ConfigError
from lwdna.tasks.kinds import KINDS

Rules = dict[str, Any]

_TEXT = {"type": "string", "minLength": 1}


def _named(rule: Mapping[str, Any]) -> Rules:
    """Any number of sections of one kind, by names."""
    return {"type": "object", "additionalProperties": rule}


def _task(rules: Rules) -> Rules:
    task: Rules = rules["$defs"]["experiment"]["properties"]["task"]
    return task


def _protocol(rules: Rules) -> Rules:
    protocol: Rules = rules["$defs"]["protocol"]
    return protocol


def _network(rules: Rules) -> Rules:
    """The section ``network``, and how groups widen, which the section ``shrink`` says."""
    experiment = rules["$defs"]["experiment"]["properties"]
    return _with(experiment["network"], {"groups": experiment["shrink"]["properties"]["groups"]})


def _steps(rules: Rules) -> Rules:
    """What a training does in each step: a kind, and the section of an experiment named so."""
    experiment = rules["$defs"]["experiment"]["properties"]
    kind = {"kind": {"enum": list(STEPS)}}
    return {
        "type": "object",
        "required": ["kind"],
        "properties": kind,
        "allOf": [
            {"if": {"properties": {"kind": {"const": name}}}, "then": _with(experiment[name], kind)}
            for name in STEPS
            if name in experiment
        ],
    }


def _with(section: Rules, keys: Rules) -> Rules:
    """The rules of a section that may have further keys."""
    return {**section, "properties": {**section.get("properties", {}), **keys}}


def _runs(_: Rules) -> Rules:
    return _named(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["experiment", "method", "seed"],
            "properties": {
                "experiment": _TEXT,
                "method": _TEXT,
                "seed": {"type": "integer", "minimum": 0},
            },
        }
    )


def _experiments(rules: Rules) -> Rules:
    """What tables and figures are told of experiments: some of their keys."""
    return _named({**rules["$defs"]["experiment"], "required": []})


def _conventions(_: Rules) -> Rules:
    known = [name for kind in KINDS.values() for name in kind.conventions]
    return _named({"enum": list(dict.fromkeys(known))})


def _references(_: Rules) -> Rules:
    return _named(_named(_TEXT))


def _options(_: Rules) -> Rules:
    """Arguments of a network, which knows them itself."""
    return {"type": "object"}


SLICES: Mapping[str, Callable[[Rules], Rules]] = {
    "task": _task,
    "protocol": _protocol,
    "network": _network,
    "options": _options,
    "steps": _steps,
    "runs": _runs,
    "experiments": _experiments,
    "conventions": _conventions,
    "references": _references,
}
"""By name, the rules of a slice, made of those of the whole."""


def rules_of(name: str) -> Rules:
    """The JSON Schema of a slice."""
    rules = read_rules()
    return {**SLICES[name](rules), "$defs": rules["$defs"]}


def check_slice(name: str, given: Mapping[str, Any]) -> None:
    """Refuse a slice that could not be in a configuration.

    Args:
        name: of :data:`SLICES`.
        given: the slice; it is not changed, nor completed.

    Raises:
        ConfigError: one sentence on the first thing that is wrong: where, what, what is allowed.
    """
    require_bounded(given)
    require_finite(given, "The JSON")
    # Defaults are filled in on the way, which is for configurations.
    copied = copy.deepcopy(dict(given))
    problem = next(problems(rules_of(name), copied, "The JSON"), None)
    if problem is not None:
        raise ConfigError(problem)
