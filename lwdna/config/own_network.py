"""What is asked of a network of the user's own in an experiment; its file is read, not run."""

from __future__ import annotations

import os

from lwdna.config.own_weights import check_own_weights
from lwdna.config.sections import Experiment
from lwdna.errors import ConfigError
from lwdna.networks.user_code import declared, is_own


def check_own(where: str, experiment: Experiment, folder: str | os.PathLike[str]) -> None:
    """Check what an experiment names of the user's own: its network, and weights.

    Arguments and errors are those of :func:`check_own_network` and :func:`check_own_weights`.
    """
    if is_own(experiment["network"]["name"]):
        check_own_network(where, experiment, folder)
    check_own_weights(where, experiment, folder)


def check_own_network(
    where: str,
    experiment: Experiment,
    folder: str | os.PathLike[str],
) -> None:
    """Check the network of an experiment that names FILE:FUNCTION, and what would widen it.

    A function without an argument ``width`` makes one network, which is widened by its channels.

    Args:
        where: of the experiment, for the message.
        experiment: with the defaults of the schema.
        folder: what the file is relative to.

    Raises:
        ConfigError: if the file or function is missing, or does not take what it would be given.
    """
    network = experiment["network"]
    name = network["name"]
    if "input" not in network:
        raise ConfigError(
            f"{where}.network lacks 'input', which a network of your own needs: channels, height "
            "and width of an image, such as [3, 32, 32], for which FLOPs are counted."
        )
    if "dataset" in network:
        raise ConfigError(
            f"{where}.network has 'dataset', but '{name}' is your own; leave it out, and give the "
            "number of classes as an argument of the function, in 'options'."
        )
    signature = declared(name, folder)
    if signature is None:
        return  # only an import can tell
    widens = "width" in signature.parameters
    arguments = network["options"] | ({"width": network["width"]} if widens else {})
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"{where}.network cannot be made: '{name}' would be called with "
            f"{', '.join(sorted(arguments)) or 'nothing'}, but it is {_last(name)}{signature} "
            f"({error}); correct 'options', or the function."
        ) from error
    if not widens:
        _check_only_wider(where, name, experiment)


def _check_only_wider(where: str, name: str, experiment: Experiment) -> None:
    """Refuse widths below 1: without an argument ``width`` channels can only become more."""
    for section in ("network", "teacher"):
        width = experiment.get(section, {}).get("width", 1)
        if width < 1:
            raise ConfigError(
                f"{where}.{section}.width is {width:g}, but '{name}' has no argument 'width', so "
                "that it can only be made wider; give it one that multiplies every number of "
                "channels, or make width 1 or more."
            )


def _last(name: str) -> str:
    return name.rpartition(":")[2]
