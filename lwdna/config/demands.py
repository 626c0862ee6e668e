"""What is asked of a configuration beside its schema, in one form of sentence."""

from __future__ import annotations

from collections.abc import Collection

from lwdna.errors import ConfigError, nearest


def known(name: str, allowed: Collection[str], where: str) -> str:
    """A name that must exist, of a place of the configuration.

    Raises:
        ConfigError: if it does not.
    """
    if name not in allowed:
        raise ConfigError(f"{where} names '{name}', which does not exist: {nearest(name, allowed)}")
    return name


def demand(holds: bool, where: str, what: str) -> None:
    """Refuse a place of the configuration.

    Raises:
        ConfigError: if what is asked does not hold.
    """
    if not holds:
        raise ConfigError(f"{where} {what}; correct the configuration.")
