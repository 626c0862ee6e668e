"""Networks by name, or of a user's own: FILE:FUNCTION, whose arguments width and options are."""

from __future__ import annotations

from os import PathLike
from typing import Any

from torch import nn

from lwdna.errors import ConfigError
from lwdna.networks.build import build as build_named
from lwdna.networks.provenance import Provenance, set_provenance
from lwdna.networks.user_code import Own, is_own
from lwdna.networks.weights import load as load_file
from lwdna.networks.weights import read_provenance


def build(
    name: str, *, dataset: str | None = None, width: float = 1.0, **options: Any
) -> nn.Module:
    """Build a network by its name, or by FILE:FUNCTION, whose arguments width and options are.

    Raises:
        ConfigError: for an unknown name, dataset or option, or a function that fails or takes no
            width where one is given.
    """
    reserved = sorted({"name", "dataset", "width"} & set(options))
    if reserved:
        raise ConfigError(
            f"The options hold '{reserved[0]}', which has an option of its own; give that."
        )
    if not is_own(name):
        return build_named(name, dataset=dataset, width=width, **options)
    function = Own(name)
    if dataset is not None:
        raise ConfigError(
            f"The dataset '{dataset}' was given for '{name}', but only networks of lwdna are built "
            "for a dataset; leave it out."
        )
    if function.takes("width"):
        options = options | {"width": width}
    elif width != 1:
        raise ConfigError(
            f"'{name}' cannot be made at width {width:g}, because the function has no argument "
            "'width'; give it one that multiplies every number of channels, or leave the width out."
        )
    return _make(function, options)


def _make(function: Own, arguments: dict[str, Any]) -> nn.Module:
    """Call a user's function and note its arguments on the network that it returns."""
    model = function(**arguments)
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"'{function.text}' returned an object of type {type(model).__name__}; it must "
            "return a torch.nn.Module."
        )
    set_provenance(model, Provenance(arguments=arguments))
    return model


def widening(name: str, asked: float | None) -> float:
    """How often wider a network is made before it is shrunk: as asked, or 2 where that can be."""
    if asked is not None:
        return asked
    return 2.0 if not is_own(name) or Own(name).takes("width") else 1.0


def load(path: str | PathLike[str], network: str | None) -> nn.Module:
    """Read the network of a file; one of a user's own is made by ``network``, FILE:FUNCTION.

    Raises:
        CheckpointError: as ``lwdna.load``.
        ConfigError: if there is no such function.
    """
    if network is None:
        if read_provenance(path).spec is None:
            raise ConfigError(
                f"'{path}' holds a network that lwdna.build did not make; say what makes it: "
                "--network FILE:FUNCTION."
            )
        return load_file(path)
    function, arguments = Own(network), read_provenance(path).arguments
    return load_file(path, network=lambda: _make(function, arguments))
