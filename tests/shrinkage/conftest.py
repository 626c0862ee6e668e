"""Small networks, masks and losses that these tests share."""

from small import (
    fixed_initialisation,
    net,
    one_thread,
    random_mask,
    scramble,
    snapshot,
    stream,
)

__all__ = [
    "fixed_initialisation",
    "net",
    "one_thread",
    "random_mask",
    "scramble",
    "snapshot",
    "stream",
]
