"""The networks of the paper, as plain modules: ``build("ResNet56", dataset="cifar10", width=2)``.

One file a family, one line a network in :data:`lwdna.networks.registry.NETWORKS`. No network knows
that it will be shrunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lwdna.data.catalog import dataset_shape
from lwdna.errors import ConfigError, first_line, shown
from lwdna.networks.arguments import check_options
from lwdna.networks.provenance import NetworkSpec, Provenance, set_provenance
from lwdna.networks.registry import OPTIONS, find_network, input_shape
from lwdna.networks.zoo import find_list
from lwdna.tasks.sections import NetworkSection


def build(
    name: str,
    *,
    dataset: str | None = None,
    width: float = 1.0,
    channels: str | Mapping[str, int] | int | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network of the paper with its default initialisation.

    Args:
        name: as in Tables 1 and 2 (``"ResNet56"``, ``"RegNetX-200MF"``, ``"U-Net"``), or
            ``"EDSR"``, ``"SRResNet"``; ResNet also with the other depths of
            :data:`lwdna.networks.registry.RESNET_DEPTHS`.
        dataset: for classification, what fixes classes and strides; by default the first that
            Table 1 has of this network.
        width: multiplier of the channel numbers (``w`` of the paper's widening). The network's
            class says how they are rounded, and which are not multiplied.
        channels: numbers of channels by layer, or the name of a published list of them, such as
            ``"autoslim-3005M"``, which has a width of its own (:func:`lwdna.channels_of`). Of some
            networks it is also an option of their class, a number.
        options: passed to the network's class, for example ``blocks=2`` for EDSR.

    Returns:
        A plain module; classification maps ``(B, 3, S, S)`` to ``(B, classes)``, restoration
        ``(B, C, H, W)`` to ``(B, C, s H, s W)`` on the 0-255 scale.

    Raises:
        ConfigError: for an unknown name, dataset or option, or a width that leaves no channel.
    """
    entry = find_network(name)
    if not (isinstance(width, int | float) and 0 < width < math.inf):
        raise ConfigError(f"The width multiplier is {width!r}; give a number above 0.")
    if isinstance(channels, str | Mapping):
        return _narrowed(name, channels, dataset=dataset, width=width, **options)
    if channels is not None:
        options["channels"] = channels
    arguments = dict(entry.options)
    if entry.dataset is None:
        if dataset is not None:
            raise ConfigError(
                f"{name} restores images and is the same for every dataset, but dataset "
                f"'{dataset}' was given; leave it out."
            )
    else:
        dataset_name = dataset or entry.dataset
        special = OPTIONS.get(dataset_name, {}).get(entry.maker, {})
        arguments |= {"num_classes": dataset_shape(dataset_name).classes, **special}
    check_options(name, options)
    try:
        network: nn.Module = entry.make(width=width, **(arguments | options))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot be built with width {width} and {shown(options)}: "
            f"{first_line(error).rstrip('.')}. Give others."
        ) from error
    spec = NetworkSpec(name, dataset or entry.dataset, float(width), dict(options))
    set_provenance(network, Provenance(spec))
    return network


def _narrowed(
    name: str,
    channels: str | Mapping[str, int],
    *,
    dataset: str | None,
    width: float,
    **options: Any,
) -> nn.Module:
    """A network with the numbers of channels of a list."""
    # What follows channels takes a while to import, and few networks are made so.
    from lwdna.networks.narrowing import narrow_new  # noqa: PLC0415

    numbers, batch_norm = channels, True
    if isinstance(channels, str):
        found = find_list(channels, name, dataset or find_network(name).dataset)
        if width not in (1, found.width):
            raise ConfigError(
                f"'{channels}' says how many channels there are, but a width of {width:g} was "
                "given too; leave it out."
            )
        width, numbers, batch_norm = found.width, found.channels, found.count_batch_norm
    wide = build(name, dataset=dataset, width=width, **options)
    return narrow_new(wide, input_shape(name, dataset), numbers, batch_norm=batch_norm)  # type: ignore[arg-type]


def build_seeded(
    network: NetworkSection, seed: int, make: Callable[..., nn.Module] = build
) -> nn.Module:
    """Build a network from its section of the configuration, with weights drawn from a seed.

    Args:
        network: ``name``, and ``dataset``, ``width`` and ``options`` if any.
        seed: of PyTorch's generator on the CPU, whose state is kept.
        make: what builds it, with the arguments of :func:`build`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(
            network["name"],
            dataset=network.get("dataset"),
            width=network.get("width", 1.0),
            **network.get("options", {}),
        )
