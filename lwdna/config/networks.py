"""What is asked of the network of an experiment, if it is one of the registry, and of a teacher."""

from __future__ import annotations

from collections.abc import Mapping

from lwdna.config.demands import demand, known
from lwdna.config.files import as_yaml_writes
from lwdna.config.sections import Experiment
from lwdna.data.catalog import DATASETS
from lwdna.errors import ConfigError
from lwdna.networks.arguments import check_options
from lwdna.networks.registry import NETWORKS
from lwdna.networks.user_code import is_own
from lwdna.networks.zoo import find_list
from lwdna.tasks.kinds import KINDS
from lwdna.tasks.sections import NetworkSection


def check_shared_teacher(
    where: str, experiment: Experiment, name: str, experiments: Mapping[str, Experiment]
) -> None:
    """A teacher of another experiment is asked about images as it has learned from."""
    other = experiments[known(name, experiments, f"{where}.teacher.experiment")]
    where, of = f"{where}.teacher", f"is that of '{name}', which"
    demand("width" in other.get("teacher", {}), where, f"{of} trains none")
    demand(
        other["train"] == experiment["train"],
        where,
        f"{of} learns from '{other['train']}', but this experiment from '{experiment['train']}'",
    )
    classes = [classes_of(section["network"]) for section in (other, experiment)]
    demand(
        None in classes or classes[0] == classes[1],
        where,
        f"{of} knows {classes[0]} classes, but the network of this experiment {classes[1]}",
    )
    theirs, ours = other["task"], experiment["task"]
    for key in dict.fromkeys([*ours, *theirs]):
        demand(
            theirs.get(key) == ours.get(key),
            where,
            f"{of} has another task.{key}: {theirs.get(key)}, but this experiment {ours.get(key)}",
        )


def check_network(where: str, network: NetworkSection, kind: str) -> None:
    """A network of the paper must exist, for this task and this dataset."""
    labelled = KINDS[kind].labelled
    demand(
        not labelled or "dataset" in network,
        where,
        "lacks 'dataset', which says how many classes and pixels there are",
    )
    name = network["name"]
    entry = NETWORKS[known(name, NETWORKS, f"{where}.name")]
    demand(
        labelled == (entry.dataset is not None),
        f"{where}.name",
        f"is '{name}', which does not serve {kind}",
    )
    demand(
        labelled or "dataset" not in network,
        f"{where}.dataset",
        f"is not for {kind}: leave it out",
    )
    if labelled:
        known(network["dataset"], DATASETS, f"{where}.dataset")
    _check_options(f"{where}.options", network)
    demand(
        "input" not in network,
        f"{where}.input",
        f"is not for '{name}', but for networks of your own: leave it out",
    )


def _check_options(where: str, network: NetworkSection) -> None:
    """The options that a network has, and values that they take."""
    options = network["options"]
    for key, value in options.items():
        number = as_yaml_writes(value) if isinstance(value, str) else None
        demand(
            number is None, f"{where}.{key}", f"is {value}, which is text in YAML: write {number}"
        )
    channels = options.get("channels")
    listed = isinstance(channels, str | Mapping)  # published, or by layer, not an argument
    try:
        if isinstance(channels, str):
            find_list(channels, network["name"], network.get("dataset"))
        check_options(
            network["name"], {k: v for k, v in options.items() if k != "channels" or not listed}
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def classes_of(network: NetworkSection) -> int | None:
    """How many classes a network tells apart; None if only its maker knows, or it has none."""
    if is_own(network["name"]) or "dataset" not in network:
        return None
    found = network["options"].get("num_classes", DATASETS[network["dataset"]].classes)
    return int(found)
