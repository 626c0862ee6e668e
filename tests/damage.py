"""Files whose bits have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def flip(path: Path, found: bytes, offset: int = 0) -> None:
    """Change a bit of a file, so many bytes after the start of what is found in it."""
    data = bytearray(path.read_bytes())
    data[data.index(found) + offset] ^= 1
    path.write_bytes(data)


def flips(path: Path, data: bytes, every: int = 1, mask: int = 0x40) -> Iterator[None]:
    """Write some bytes to a file again and again, one of them changed each time."""
    for position in range(0, len(data), every):
        changed = bytearray(data)
        changed[position] ^= mask
        path.write_bytes(changed)
        yield
