"""Files whose bits have changed, and disks that are full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_mount = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to mount"
)


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


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of a size such as "300k" at a folder; a test that may not have one is skipped."""
    if not mount(folder, f"size={size}"):
        pytest.skip("may not mount a small file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(folder: Path, options: str) -> bool:
    """Whether a file system in memory could be mounted with some options."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False).returncode == 0
