"""Networks by name, or of a user's own: FILE:FUNCTION, whose arguments width and options are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import Any

from torch import Tensor, nn

from lwdna.errors import ConfigError
from lwdna.networks.build import build as build_named
from lwdna.networks.provenance import Provenance, set_provenance
from lwdna.networks.user_code import Own, is_own
from lwdna.networks.weights import load as load_file
from lwdna.networks.weights import read_provenance
from lwdna.networks.widening import Groups, widen


def builder(example: Sequence[Tensor] = (), groups: Groups = "whole") -> Callable[..., nn.Module]:
    """What builds networks by name as :func:`lwdna.build`, or by FILE:FUNCTION.

    The options of a network of one's own are arguments of its function, and so is the width, if it
    has that argument. Otherwise the network is widened by ``lwdna.widen``, which takes an example.

    Args:
        example: inputs of the networks ``(B, C, H, W)``; only the shapes matter.
        groups: of ``lwdna.widen``.

    Returns:
        A function that raises ConfigError for an unknown name, dataset or option, or a function
        that fails or cannot have the width given.
    """
    return partial(_build, tuple(example), groups)


def _build(
    example: tuple[Tensor, ...],
    groups: Groups,
    name: str,
    /,
    *,
    dataset: str | None = None,
    width: float = 1.0,
    **options: Any,
) -> nn.Module:
    """Build a network by its name, or by FILE:FUNCTION."""
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
        return _make(function, options | {"width": width})
    if width < 1:
        raise ConfigError(
            f"'{name}' cannot be made at width {width:g}, because the function has no argument "
            "'width'; give it one that multiplies every number of channels, or a width of 1 or "
            "more, by which its channels become more without it."
        )
    model = _make(function, options)
    if width == 1:
        return model
    if not example:
        raise ConfigError(
            f"'{name}' has no argument 'width', and can be made at width {width:g} only for an "
            "input of known shape; give that, such as --input 1x3x32x32, or 'input' beside 'name'."
        )
    return widen(model, example, width, groups=groups)


build = builder()
"""Of a network of one's own that is to be wider, the function must have an argument ``width``."""


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


def load(path: str | PathLike[str], network: str | None) -> nn.Module:
    """Read the network of a file; one of a user's own is made by ``network``, FILE:FUNCTION.

    Raises:
        CheckpointError: as ``lwdna.load``.
        ConfigError: if there is no such function.
    """
    return load_file(path, network=maker(path, network, read_provenance(path)))


def maker(
    path: str | PathLike[str], network: str | None, provenance: Provenance
) -> Callable[[], nn.Module] | None:
    """What makes the network that a file is of, as ``lwdna.load`` takes it.

    Args:
        path: the file.
        network: FILE:FUNCTION, where it is a user's own.
        provenance: of the network, as the file has it.

    Returns:
        None for a network of ``lwdna.build``.

    Raises:
        ConfigError: if there is no such function, or none was given and one is needed.
    """
    if network is not None:
        return partial(_make, Own(network), provenance.arguments)
    if provenance.spec is None:
        raise ConfigError(
            f"'{path}' holds a network that lwdna.build did not make; say what makes it: "
            "--network FILE:FUNCTION."
        )
    return None
