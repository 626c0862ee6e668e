"""The configuration: checked against the JSON Schema, completed by defaults, made consistent."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, cast

from lwdna.config.methods import (
    METHODS,
    OURS,
    SEARCHES,
    SHRINKAGES,
    shrink_settings,
    shrinkage_of,
    steps_of,
    uncompiled_protocol,
)
from lwdna.config.own_network import check_own_network
from lwdna.config.paper import (
    PAPER_TABLES,
    WITH_BASELINES,
    network_of,
    networks_of,
    rows_of,
    shows,
)
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
from lwdna.data.catalog import DATASET_KINDS, DATASETS, DatasetSection
from lwdna.errors import ConfigError, nearest
from lwdna.io.project import SCHEMA, paper_table
from lwdna.networks.registry import NETWORKS, TABLES_WITHOUT_BATCH_NORM
from lwdna.networks.user_code import is_own
from lwdna.tasks.kinds import KINDS, kinds_of_table, tables_of
from lwdna.tasks.sections import NetworkSection, ProtocolSection, TaskSection


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
    read_numbers(rules, read)
    require_finite(read)
    problem = next(problems(rules, read), None)
    if problem is not None:
        raise ConfigError(problem)
    complete = cast(Config, read)
    for name, protocol in complete["protocols"].items():
        _check_protocol(name, protocol)
    known = rules["$defs"]["dataset"]["properties"]
    filled = {key for key, rule in known.items() if "default" in rule}
    for name, dataset in complete["datasets"].items():
        _check_dataset(name, dataset, filled)
    for name, experiment in complete["experiments"].items():
        experiment.setdefault("seeds", complete["seeds"])
        experiment.setdefault("label", _label(experiment["network"]))
        _fill_in_tables(f"experiments.{name}", experiment)
        experiment.setdefault(
            "count_batch_norm", not set(experiment["tables"]) & set(TABLES_WITHOUT_BATCH_NORM)
        )
        if is_own(experiment["network"]["name"]):
            check_own_network(f"experiments.{name}", experiment, folder)
        _check_experiment(name, experiment, complete)
        _check_claim(f"experiments.{name}", experiment)
    selected(complete)
    if "replication" in complete:
        _check_replication(complete, complete["replication"])
    return complete


def _check_replication(config: Config, section: Replication) -> None:
    """Images must be photographs, and every network an LW-DNA row of the paper."""
    name = _known(section["images"], config["datasets"], "replication.images")
    images = config["datasets"][name]
    kind = DATASET_KINDS[images["kind"]]
    _require(
        not kind.labelled and set(kind.needed("train")) <= set(images),
        "replication.images",
        f"names '{name}', which has no training photographs",
    )
    lines = [line for table in WITH_BASELINES for line in rows_of(table)]
    rows = networks_of(line for line in lines if line["method"] == METHODS[OURS].title)
    for key, network in section["networks"].items():
        _known(network_of(network), rows, f"replication.networks.{key}")


def _fill_in_tables(where: str, experiment: dict[str, Any]) -> None:
    """Where the paper's tables leave a choice, it must be made."""
    kind = experiment["task"]["kind"]
    allowed = tables_of(kind)
    _require(
        "tables" in experiment or not KINDS[kind].tables,
        where,
        f"lacks 'tables': {kind} is shown in {' and '.join(map(str, allowed))}",
    )
    experiment.setdefault("tables", list(allowed))


def _check_dataset(name: str, dataset: DatasetSection, filled: Collection[str]) -> None:
    """Folders are strings, names are lists, and training and test have nothing in common.

    Keys that are ``filled`` in by the schema are in every section, and looked at by few kinds.
    """
    kind = DATASET_KINDS[dataset["kind"]]
    for key in dataset:
        _require(
            key in kind.keys or key in filled,
            f"datasets.{name}",
            f"of kind {dataset['kind']} takes no '{key}'",
        )
    wanted = list if kind.source == "names" else str
    for role in ("train", "test"):
        _require(
            isinstance(dataset.get(role, wanted()), wanted),
            f"datasets.{name}.{role}",
            f"must be {'a list of names' if wanted is list else 'a folder'} here",
        )
    scenes = [
        {os.path.normpath(dataset.get(role, ""))}
        if wanted is str
        else {kind.scene(image) for image in dataset.get(role, [])}
        for role in ("train", "test")
    ]
    common = sorted((scenes[0] & scenes[1]) - {"."})
    _require(not common, f"datasets.{name}", f"has {common} in both training and test")


def _check_protocol(name: str, protocol: ProtocolSection) -> None:
    """What the kind of optimiser and schedule needs, and does not know."""
    where = f"protocols.{name}"
    schedule, optimizer = protocol["schedule"], protocol["optimizer"]
    steps = schedule["kind"] == "step"
    for key in ("milestones", "gamma"):
        _require(
            (key in schedule) == steps,
            f"{where}.schedule",
            f"of kind {schedule['kind']} {'lacks' if steps else 'does not take'} '{key}'",
        )
    foreign = {"sgd": ("betas", "eps"), "adam": ("momentum", "nesterov")}[optimizer["kind"]]
    for key in foreign:
        _require(
            key not in optimizer,
            f"{where}.optimizer",
            f"of kind {optimizer['kind']} does not take '{key}'",
        )


def _check_claim(where: str, experiment: Experiment) -> None:
    """The row of the paper that an experiment claims to reproduce must be there."""
    claim = experiment.get("paper")
    if claim is None:
        return
    kind = experiment["task"]["kind"]
    _require(bool(KINDS[kind].tables), f"{where}.paper", f"cannot be: the paper has no {kind}")
    for table in experiment["tables"]:
        if table in PAPER_TABLES and paper_table(table).exists():
            rows = networks_of(rows_of(table))
            _known(network_of(claim), rows, f"{where}.paper of Table {table}")


def _check_experiment(name: str, experiment: Experiment, config: Config) -> None:
    where = f"experiments.{name}"
    kind = experiment["task"]["kind"]
    about = KINDS[kind]
    for key in about.keys:
        _require(key in experiment["task"], f"{where}.task", f"of kind {kind} lacks '{key}'")
    for table in experiment["tables"]:
        _require(
            table in tables_of(kind),
            f"{where}.tables",
            f"puts a {kind} experiment in Table {table}, which is for {kinds_of_table(table)}",
        )
    _known(experiment["protocol"], config["protocols"], f"{where}.protocol")
    roles = [(experiment["train"], "train"), *((test, "test") for test in experiment["test"])]
    for dataset, role in roles:
        section = config["datasets"][_known(dataset, config["datasets"], f"{where}: dataset")]
        of_kind = DATASET_KINDS[section["kind"]]
        for key in of_kind.needed(role):
            _require(
                key in section, f"datasets.{dataset}", f"of kind {section['kind']} lacks '{key}'"
            )
        _require(
            of_kind.labelled == about.labelled,
            f"{where}.{role}",
            f"names '{dataset}' of kind {section['kind']}, which does not serve {kind}",
        )
        if about.labelled:
            _check_sizes(where, experiment["task"], dataset, section)
    own = is_own(experiment["network"]["name"])
    if not own:
        _check_network(f"{where}.network", experiment["network"], kind)
    for key in ("name", "dataset", "width"):
        _require(
            key not in experiment["network"]["options"],
            f"{where}.network.options",
            f"has '{key}', a key of the network",
        )
    convention = experiment.get("convention")
    _require(
        convention is None or convention in about.conventions,
        f"{where}.convention",
        f"is '{convention}', which is not for {kind}",
    )
    source = config["datasets"][experiment["train"]]
    _require(
        about.store == "train" or "crop" in source,
        f"datasets.{experiment['train']}",
        "is trained on but lacks 'crop'",
    )
    if about.enlarges:
        _require(
            source["crop"].get("scale") == experiment["task"]["scale"],
            f"datasets.{experiment['train']}.crop",
            f"must have the scale of {where}.task, {experiment['task']['scale']}",
        )
        _require(
            own or experiment["network"]["options"].get("scale", 4) == experiment["task"]["scale"],
            f"{where}.network.options.scale",
            f"must be that of the task, {experiment['task']['scale']}",
        )
    _require(
        "strip" not in experiment or about.restores,
        f"{where}.strip",
        f"cannot be: {kind} restores no images",
    )
    teacher = experiment.get("teacher")
    if teacher is not None:
        _require(about.distils, f"{where}.teacher", f"cannot be: {kind} has no distillation")
    for method in experiment["methods"]:
        if METHODS[method].needs_teacher:
            _require(teacher is not None, where, f"has the method {method} but no 'teacher'")
    if teacher is not None and "experiment" in teacher:
        _check_shared_teacher(where, experiment, teacher["experiment"], config["experiments"])
    for method in experiment["methods"]:
        shrinkage = shrinkage_of(method)
        if shrinkage is not None:
            _check_shrinkage(where, experiment, method, shrinkage, config["protocols"])
        if (steps := steps_of(method)) is not None:
            _require(
                steps in experiment, where, f"has the method {method} but no section '{steps}'"
            )
            _require(
                about.distils, where, f"has the method {method}, but {kind} has no distillation"
            )
        uncompiled = uncompiled_protocol(experiment, method)
        _require(
            uncompiled is None or not config["protocols"][uncompiled].get("compile"),
            where,
            f"trains parts of the network by {method}, but protocol '{uncompiled}' compiles",
        )
        others = [table for table in tables_of(kind) if shows(table, METHODS[method].title)]
        _require(
            bool(set(others) & set(experiment["tables"])),
            where,
            f"has the method {method}, which Table {experiment['tables'][0]} does not show; put it "
            f"into Table {' or '.join(map(str, others))} as well",
        )


def _check_shared_teacher(
    where: str, experiment: Experiment, name: str, experiments: Mapping[str, Experiment]
) -> None:
    """A teacher of another experiment is asked about images as it has learned from."""
    other = experiments[_known(name, experiments, f"{where}.teacher.experiment")]
    where, of = f"{where}.teacher", f"is that of '{name}', which"
    _require("width" in other.get("teacher", {}), where, f"{of} trains none")
    _require(
        other["train"] == experiment["train"],
        where,
        f"{of} learns from '{other['train']}', but this experiment from '{experiment['train']}'",
    )
    theirs, ours = other["task"], experiment["task"]
    for key in dict.fromkeys([*ours, *theirs]):
        _require(
            theirs.get(key) == ours.get(key),
            where,
            f"{of} has another task.{key}: {theirs.get(key)}, but this experiment {ours.get(key)}",
        )


def _check_network(where: str, network: NetworkSection, kind: str) -> None:
    """A network of the paper must exist, for this task and this dataset."""
    labelled = KINDS[kind].labelled
    _require(
        not labelled or "dataset" in network,
        where,
        "lacks 'dataset', which says how many classes and pixels there are",
    )
    name = network["name"]
    entry = NETWORKS[_known(name, NETWORKS, f"{where}.name")]
    _require(
        labelled == (entry.dataset is not None),
        f"{where}.name",
        f"is '{name}', which does not serve {kind}",
    )
    _require(
        labelled or "dataset" not in network,
        f"{where}.dataset",
        f"is not for {kind}: leave it out",
    )
    if labelled:
        _known(network["dataset"], DATASETS, f"{where}.dataset")
    _require(
        "input" not in network,
        f"{where}.input",
        f"is not for '{name}', but for networks of your own: leave it out",
    )


def _check_shrinkage(
    where: str,
    experiment: Experiment,
    method: str,
    shrinkage: str,
    protocols: Collection[str],
) -> None:
    """A shrinkage needs one budget, and a search a protocol."""
    _require("shrink" in experiment, where, f"has the method {method} but no section 'shrink'")
    budget = "shrink"
    if shrinkage in SEARCHES:
        _require(
            shrinkage in experiment, where, f"has the method {method} but no section '{shrinkage}'"
        )
        own = experiment[shrinkage]
        _known(own["protocol"], protocols, f"{where}.{shrinkage}.protocol")
        if {"target_flops", "flops_ratio"} & set(own):
            budget = shrinkage
    settings = shrink_settings(experiment, shrinkage)
    _require(
        ("target_flops" in settings) != ("flops_ratio" in settings),
        f"{where}.{budget}",
        "must have either 'target_flops' or 'flops_ratio'",
    )
    changed = ", ".join(f"{key}: {value}" for key, value in SHRINKAGES[shrinkage].changes.items())
    _require(
        shrinkage in (OURS, *SEARCHES)
        or OURS not in experiment["methods"]
        or settings != shrink_settings(experiment, OURS),
        f"{where}.methods",
        f"has {method}, which is lw-dna itself where shrink has {changed}: leave it out",
    )


def _check_sizes(where: str, task: TaskSection, name: str, dataset: DatasetSection) -> None:
    """Labelled images must have one size: by a border, or by crops from images of any."""
    _require(("crop" in task) == ("resize" in task), f"{where}.task", "needs 'crop' and 'resize'")
    _require(("crop" in task) != ("pad" in task), f"{where}.task", "needs either 'pad' or 'crop'")
    _require(
        task.get("resize", 0) >= task.get("crop", 0),
        f"{where}.task.resize",
        f"is {task.get('resize')}, less than the crop of {task.get('crop')}",
    )
    _require(
        "crop" in task or not DATASET_KINDS[dataset["kind"]].stays(dataset),
        f"{where}.task",
        f"lacks 'crop', but the images of '{name}' differ in size",
    )


def _label(network: NetworkSection) -> str:
    width = network["width"]
    # Of FILE:FUNCTION the function.
    return str(network["name"]).rpartition(":")[2] + ("" if width == 1 else f" x{width:g}")


def _known(name: str, allowed: Collection[str], where: str) -> str:
    if name not in allowed:
        raise ConfigError(f"{where} names '{name}', which does not exist: {nearest(name, allowed)}")
    return name


def _require(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise ConfigError(f"{where} {what}; correct the configuration.")
