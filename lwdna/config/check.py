"""The configuration: checked against the JSON Schema, completed by defaults, made consistent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from lwdna.config.backbones import check_backbone, fill_in_network
from lwdna.config.budgets import check_shrinkage
from lwdna.config.demands import demand, known
from lwdna.config.images import check_scenes, check_shape, check_sizes, check_strip
from lwdna.config.methods import METHODS, OURS, shrinkage_of, steps_of, uncompiled_protocol
from lwdna.config.networks import check_network, check_shared_teacher
from lwdna.config.own_network import check_own
from lwdna.config.paper import (
    PAPER_TABLES,
    WITH_BASELINES,
    network_of,
    networks_of,
    rows_of,
    shows,
)
from lwdna.config.parts import check_dataset, check_protocol
from lwdna.config.read import (
    problems,
    read_numbers,
    read_rules,
    require_bounded,
    require_finite,
    with_text_keys,
)
from lwdna.config.sections import Config, Experiment, Replication
from lwdna.config.select import selected
from lwdna.data.catalog import DATASET_KINDS, DatasetSection
from lwdna.errors import ConfigError
from lwdna.io.project import SCHEMA, paper_table
from lwdna.networks.registry import TABLES_WITHOUT_BATCH_NORM
from lwdna.networks.user_code import is_own
from lwdna.tasks.kinds import KINDS, kinds_of_table, tables_of


def check(
    config: Mapping[str, Any],
    schema: str | os.PathLike[str] = SCHEMA,
    folder: str | os.PathLike[str] = ".",
) -> Config:
    """Check a configuration and fill in the schema's defaults.

    Args:
        config: as read from YAML; it is not changed.
        schema: path of the JSON Schema, in YAML; by default the project's.
        folder: where networks of the user's own are looked for.

    Returns:
        The complete configuration. Every experiment has "seeds", "label" and "count_batch_norm".

    Raises:
        ConfigError: one sentence on the first thing that is wrong: where, what, what is allowed.
    """
    require_bounded(config)
    rules = read_rules(schema)
    read: dict[str, Any] = with_text_keys(config)
    require_finite(read)  # jsonschema repeats numbers, which Python does not of thousands of digits
    read_numbers(rules, read)
    require_finite(read)
    problem = next(problems(rules, read), None)
    if problem is not None:
        raise ConfigError(problem)
    complete = cast(Config, read)
    for name, protocol in complete["protocols"].items():
        check_protocol(name, protocol)
    known = rules["$defs"]["dataset"]["properties"]
    filled = {key for key, rule in known.items() if "default" in rule}
    for name, dataset in complete["datasets"].items():
        check_dataset(name, dataset, filled, folder)
    several_scales = _scales(complete)
    for experiment in complete["experiments"].values():
        experiment.setdefault("seeds", complete["seeds"])
    for name, experiment in complete["experiments"].items():
        fill_in_network(f"experiments.{name}", experiment, complete["experiments"])
    for name, experiment in complete["experiments"].items():
        experiment.setdefault("label", _label(experiment, several_scales))
        _fill_in_tables(f"experiments.{name}", experiment)
        experiment.setdefault(
            "count_batch_norm", not set(experiment["tables"]) & set(TABLES_WITHOUT_BATCH_NORM)
        )
        check_own(f"experiments.{name}", experiment, folder)
        check_backbone(f"experiments.{name}", experiment, complete["experiments"])
        _check_experiment(name, experiment, complete, folder)
        _check_claim(f"experiments.{name}", experiment)
    selected(complete)
    if "replication" in complete:
        _check_replication(complete, complete["replication"])
    return complete


def _check_replication(config: Config, section: Replication) -> None:
    """Images must be photographs, and every network an LW-DNA row of the paper."""
    name = known(section["images"], config["datasets"], "replication.images")
    images = config["datasets"][name]
    kind = DATASET_KINDS[images["kind"]]
    demand(
        not kind.labelled and set(kind.needed("train")) <= set(images),
        "replication.images",
        f"names '{name}', which has no training photographs",
    )
    lines = [line for table in WITH_BASELINES for line in rows_of(table)]
    rows = networks_of(line for line in lines if line["method"] == METHODS[OURS].title)
    for key, network in section["networks"].items():
        known(network_of(network), rows, f"replication.networks.{key}")


def _fill_in_tables(where: str, experiment: dict[str, Any]) -> None:
    """Where the paper's tables leave a choice, it must be made."""
    kind = experiment["task"]["kind"]
    allowed = tables_of(kind)
    demand(
        "tables" in experiment or not KINDS[kind].tables,
        where,
        f"lacks 'tables': {kind} is shown in {' and '.join(map(str, allowed))}",
    )
    experiment.setdefault("tables", list(allowed))


def _check_claim(where: str, experiment: Experiment) -> None:
    """The row of the paper that an experiment claims to reproduce must be there."""
    claim = experiment.get("paper")
    if claim is None:
        return
    kind = experiment["task"]["kind"]
    demand(bool(KINDS[kind].tables), f"{where}.paper", f"cannot be: the paper has no {kind}")
    for table in experiment["tables"]:
        if table in PAPER_TABLES and paper_table(table).exists():
            rows = networks_of(rows_of(table))
            known(network_of(claim), rows, f"{where}.paper of Table {table}")


def _check_experiment(
    name: str, experiment: Experiment, config: Config, folder: str | os.PathLike[str]
) -> None:
    where = f"experiments.{name}"
    kind = experiment["task"]["kind"]
    about = KINDS[kind]
    for key in about.keys:
        demand(key in experiment["task"], f"{where}.task", f"of kind {kind} lacks '{key}'")
    for key in experiment["task"]:
        demand(
            key in {"kind", *about.keys, *about.takes},
            f"{where}.task",
            f"of kind {kind} takes no '{key}'",
        )
    for table in experiment["tables"]:
        demand(
            table in tables_of(kind),
            f"{where}.tables",
            f"puts a {kind} experiment in Table {table}, which is for {kinds_of_table(table)}",
        )
    known(experiment["protocol"], config["protocols"], f"{where}.protocol")
    shaped: list[tuple[str, DatasetSection]] = []
    roles = [(experiment["train"], "train"), *((test, "test") for test in experiment["test"])]
    for dataset, role in roles:
        section = config["datasets"][known(dataset, config["datasets"], f"{where}: dataset")]
        of_kind = DATASET_KINDS[section["kind"]]
        for key in of_kind.needed(role):
            demand(
                key in section, f"datasets.{dataset}", f"of kind {section['kind']} lacks '{key}'"
            )
        demand(
            (of_kind.labelled, of_kind.moving) == (about.labelled, about.follows),
            f"{where}.{role}",
            f"names '{dataset}' of kind {section['kind']}, which does not serve {kind}",
        )
        if about.labelled:
            check_sizes(where, experiment["task"], dataset, section)
            shaped.append((dataset, section))
    for key in ("name", "dataset", "width"):
        demand(
            key not in experiment["network"]["options"],
            f"{where}.network.options",
            f"has '{key}', a key of the network",
        )
    own = is_own(experiment["network"]["name"])
    if not own and not about.follows:
        check_network(f"{where}.network", experiment["network"], kind)
    for dataset, section in shaped:
        check_shape(where, experiment, dataset, section)
    check_scenes(where, experiment, config, folder)
    convention = experiment.get("convention")
    demand(
        convention is None or convention in about.conventions,
        f"{where}.convention",
        f"is '{convention}', which is not for {kind}",
    )
    source = config["datasets"][experiment["train"]]
    demand(
        about.store in {"train", "sequences"} or "crop" in source,
        f"datasets.{experiment['train']}",
        "is trained on but lacks 'crop'",
    )
    if about.enlarges:
        demand(
            source["crop"].get("scale") == experiment["task"]["scale"],
            f"datasets.{experiment['train']}.crop",
            f"must have the scale of {where}.task, {experiment['task']['scale']}",
        )
        demand(
            own or experiment["network"]["options"].get("scale", 4) == experiment["task"]["scale"],
            f"{where}.network.options.scale",
            f"must be that of the task, {experiment['task']['scale']}",
        )
    demand(
        "strip" not in experiment or about.restores,
        f"{where}.strip",
        f"cannot be: {kind} restores no images",
    )
    if "strip" in experiment:
        check_strip(f"{where}.strip", experiment, config, folder)
    teacher = experiment.get("teacher")
    if teacher is not None:
        demand(about.distils, f"{where}.teacher", f"cannot be: {kind} has no distillation")
    for method in experiment["methods"]:
        if METHODS[method].needs_teacher and not about.follows:
            demand(teacher is not None, where, f"has the method {method} but no 'teacher'")
    if teacher is not None and "experiment" in teacher:
        check_shared_teacher(where, experiment, teacher["experiment"], config["experiments"])
    for method in experiment["methods"]:
        shrinkage = shrinkage_of(method)
        if shrinkage is not None and not about.follows:
            check_shrinkage(where, experiment, method, shrinkage, config["protocols"])
        if (steps := steps_of(method)) is not None and not about.follows:
            demand(steps in experiment, where, f"has the method {method} but no section '{steps}'")
            demand(about.distils, where, f"has the method {method}, but {kind} has no distillation")
        uncompiled = None if about.follows else uncompiled_protocol(experiment, method)
        demand(
            uncompiled is None or not config["protocols"][uncompiled].get("compile"),
            where,
            f"trains parts of the network by {method}, but protocol '{uncompiled}' compiles",
        )
        others = [table for table in tables_of(kind) if shows(table, METHODS[method].title)]
        demand(
            bool(set(others) & set(experiment["tables"])),
            where,
            f"has the method {method}, which Table {experiment['tables'][0]} does not show; put it "
            f"into Table {' or '.join(map(str, others))} as well",
        )


def _scales(config: Config) -> bool:
    """Whether images are enlarged by several factors, which labels must tell apart."""
    tasks = [experiment["task"] for experiment in config["experiments"].values()]
    return len({task.get("scale") for task in tasks if KINDS[task["kind"]].enlarges}) > 1


def _label(experiment: Experiment, several_scales: bool) -> str:
    network, task = experiment["network"], experiment["task"]
    width = network["width"]
    # Of FILE:FUNCTION the function.
    label = str(network["name"]).rpartition(":")[2] + ("" if width == 1 else f" x{width:g}")
    enlarged = several_scales and KINDS[task["kind"]].enlarges and "scale" in task
    return f"{label}, scale {task['scale']}" if enlarged else label
