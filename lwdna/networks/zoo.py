"""Published numbers of channels, by network and name; read without PyTorch.

``lwdna/zoo/`` holds a file for each source and network: AutoSlim's and MetaPruning's lists as they
were published, and the LW-DNA networks of the paper's tables as ``make zoo`` shrinks them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

from lwdna.errors import ConfigError, DataError, first_line, require_known
from lwdna.io.atomic import write_text

FOLDER = Path(__file__).parents[1] / "zoo"
"""Of the files."""

LISTS_OF_OURS = "lw-dna-{}.json"
"""The file of the LW-DNA networks of a network, by its name in ``config/complexity.yaml``."""

_KEYS = ("network", "dataset", "input", "count_batch_norm", "source", "lists")


@dataclass(frozen=True)
class ChannelList:
    """A published network: how many channels each layer has."""

    name: str
    network: str
    """For ``lwdna.build``."""
    dataset: str | None
    """What the network was built for."""
    input: tuple[int, ...]
    """The shape ``(1, C, H, W)`` for which FLOPs are counted."""
    count_batch_norm: bool
    """Whether they count batch norm, as the paper's Table 1 does and Table 2 does not."""
    source: str
    """Who published it, and where."""
    about: str
    """What of that source it is."""
    width: float
    """Of the network that it is cut from."""
    flops: int
    params: int
    layer_macs: int
    """Multiply-accumulates of convolutions and linear layers alone, as others count."""
    layer_params: int
    """Parameters of convolutions and linear layers alone."""
    channels: Mapping[str, int]
    """By layer its number of output channels, for each that may lose some."""


def channels_of(
    name: str, network: str | None = None, dataset: str | None = None
) -> dict[str, int]:
    """The numbers of channels of a published network, by layer: ``channels_of("autoslim-570M")``.

    Layers have the names of :func:`lwdna.build`; ResNet50's are torchvision's and timm's too.

    Args:
        name: of the list, as ``lwdna zoo`` prints it.
        network: where several networks have a list of that name, such as "lw-dna".
        dataset: where the network has several, what it was built for.

    Raises:
        ConfigError: if there is no such list, or there are several.
    """
    return dict(find_list(name, network, dataset).channels)


def find_list(name: str, network: str | None = None, dataset: str | None = None) -> ChannelList:
    """The list of a name; the arguments are those of :func:`channels_of`.

    A network that was built for another dataset takes the numbers too, so that the dataset only
    decides where there are several.
    """
    if not isinstance(name, str):
        raise ConfigError(f"The list is {name!r}; give a name, such as 'autoslim-3005M'.")
    known = lists_of(network)
    of = "" if network is None else f" for {network}"
    require_known(name, {e.name for e in known}, f"There is no list of channels '{name}'{of}:")
    found = [entry for entry in known if entry.name == name]
    networks = sorted({entry.network for entry in found})
    if len(networks) > 1:
        raise ConfigError(
            f"'{name}' is a list of several networks; name one of them: {', '.join(networks)}."
        )
    if len(found) > 1:
        chosen = [entry for entry in found if entry.dataset == dataset]
        if not chosen:
            datasets = ", ".join(sorted(str(entry.dataset) for entry in found))
            raise ConfigError(
                f"'{name}' is a list of {networks[0]} for several datasets; name one of them: "
                f"{datasets}."
            )
        found = chosen
    return found[0]


def lists_of(network: str | None = None) -> list[ChannelList]:
    """The lists of a network, or all.

    Raises:
        ConfigError: if the network has none.
    """
    if network is None:
        return zoo()
    networks = {entry.network for entry in zoo()}
    require_known(network, networks, f"There is no list of channels for '{network}':")
    return [entry for entry in zoo() if entry.network == network]


@cache
def zoo() -> list[ChannelList]:
    """Every list, in the order of the files' names.

    Raises:
        DataError: if a file is damaged.
    """
    return [entry for path in sorted(FOLDER.glob("*.json")) for entry in read_lists(path)]


def read_lists(path: str | PathLike[str]) -> list[ChannelList]:
    """The lists of a file of :func:`write_lists`.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        said = json.loads(Path(path).read_text(encoding="utf-8"))
        if sorted(said) != sorted(_KEYS):
            raise ValueError(f"its keys are not {', '.join(_KEYS)}")
        lists = said.pop("lists")
        return [_read(name, said, entry) for name, entry in lists.items()]
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"'{path}' is no file of channel lists: {first_line(error)}; restore it, or write it "
            "again by `make zoo`."
        ) from error


def _read(name: str, shared: Mapping[str, Any], entry: Mapping[str, Any]) -> ChannelList:
    channels = {str(layer): int(number) for layer, number in entry["channels"].items()}
    if not channels or min(channels.values()) < 1:
        raise ValueError(f"the list '{name}' has a layer without channels")
    own: dict[str, Any] = {**entry, "name": name, "channels": channels}
    return ChannelList(**{**shared, "input": tuple(shared["input"])}, **own)


def write_lists(path: str | PathLike[str], lists: Iterable[ChannelList]) -> None:
    """Write the lists of a network from one source as JSON, atomically, a line each.

    Args:
        path: to write.
        lists: at least one; all agree in network, dataset, input, convention and source.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    entries = [asdict(entry) for entry in lists]
    shared = {key: entries[0][key] for key in _KEYS[:-1]}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in shared.items()]
    own = []
    for entry in entries:
        rest = {key: value for key, value in entry.items() if key not in (*shared, "name")}
        own.append(f"    {json.dumps(entry['name'])}: {json.dumps(rest)}")
    lines.append('  "lists": {\n' + ",\n".join(own) + "\n  }")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
