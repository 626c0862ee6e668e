"""The kinds of faults, and what a user does when an error tells what to do."""

from __future__ import annotations

import re
import shutil
import time

from disks import FullDisk, FullForAWhile, ReadOnly
from files import HOUR_S, ClockPutBack, Damage, Older, date
from processes import Kill, NeverReaped, Pause, Twice

KINDS = {
    **{
        f"kill {victim}": lambda rng, _, light, victim=victim: Kill(rng, victim, light)
        for victim in ("snakemake", "job", "worker", "everything")
    },
    "never reaped": lambda rng, _, light: NeverReaped(rng, light),
    "pause": lambda rng, _, light: Pause(rng, light),
    "started twice": lambda rng, _, light: Twice(rng, light),
    "full disk": lambda rng, _, light: FullDisk(rng, light),
    "full for a while": lambda rng, _, light: FullForAWhile(rng, light),
    "read-only folder": lambda rng, _, light: ReadOnly(rng, light),
    "truncate": lambda rng, interrupted, light: Damage(rng, "truncate", interrupted, light),
    "flip": lambda rng, interrupted, light: Damage(rng, "flip", interrupted, light),
    "older file": lambda rng, _, light: Older(rng, light),
    "clock put back": lambda rng, _, light: ClockPutBack(rng, light),
}
ON_A_DISK = {"full disk", "full for a while"}
"""Those that need a small disk of their own."""

ORDER = (
    *("flip", "kill job", "clock put back", "truncate", "kill snakemake", "older file"),
    *("full disk", "never reaped", "flip", "kill job", "pause", "read-only folder"),
    *("kill everything", "started twice", "truncate", "full for a while", "flip"),
    *("kill snakemake", "kill worker", "older file", "full disk", "clock put back", "kill job"),
    *("never reaped", "truncate", "flip", "read-only folder", "full for a while"),
    *("kill everything", "kill snakemake"),
)
"""The kinds of thirty runs in turn."""


def advised(tree, sentence):
    """Do what a sentence tells the user to do; say what that was."""
    names = re.findall(r"'([^']+)'", sentence)
    found = [p for name in names if (p := tree.folder / name).exists() or p.is_symlink()]
    if "replace it by an intact file" in sentence and found:
        path = found[0].resolve()
        intact = tree.source.folder / path.relative_to(tree.folder.resolve())
        shutil.copy2(intact, path)
        return f"replaced {path.name}"
    if "Set the clock right" in sentence:
        date(tree, -HOUR_S, after=time.time())
        return "set the clock right"
    asked = re.search(r"delete|move it away|remove it", sentence)
    if asked and found:
        # "... or delete the folder 'X'" names what to delete last.
        path = found[-1] if "delete the folder" in sentence else found[0]
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        return f"deleted {path.name}"
    return "nothing but to run it again" if re.search(r"\b[Rr]un\b", sentence) else None
