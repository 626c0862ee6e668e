"""What the checks of a configuration demand, and the sentences of those that are not met."""

from __future__ import annotations

from collections.abc import Collection

from lwdna.errors import ConfigError, nearest


def known_name(name: str, allowed: Collection[str], where: str) -> str:
    """A name, if it is one of those that there are.

    Raises:
        ConfigError: if it is not.
    """
    if name not in allowed:
        raise ConfigError(f"{where} names '{name}', which does not exist: {nearest(name, allowed)}")
    return name


def demand(holds: bool, where: str, what: str) -> None:
    """Refuse a configuration unless something holds.

    Args:
        holds: whether it does.
        where: the key, with the sections that it is in.
        what: it is or lacks otherwise.

    Raises:
        ConfigError: if it does not hold.
    """
    if not holds:
        raise ConfigError(f"{where} {what}; correct the configuration.")
