"""Dates of files that tell of a clock put back, or of a file put back, before a job reads them.

Snakemake decides by dates what is new. It takes an older product of the same name for the one that
was made last, since nothing made of it is older; and what is made of a file that is dated in the
future it takes for outdated, when the work is done.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from lwdna.errors import LwdnaError

_TOLERANCE_S = 2.0
"""Archives and some file systems round dates to two seconds."""


def refuse_wrong_dates(workflow: Any) -> None:
    """Refuse to run jobs on a file that is older than it was when made, or not yet made.

    Args:
        workflow: Snakemake's ``workflow``, when its jobs are planned and none has begun.

    Raises:
        LwdnaError: naming the file, its date, and what to do.
    """
    if workflow.touch:
        return
    jobs = list(workflow.dag.needrun_jobs())
    made = {str(path) for job in jobs for path in job.output}
    read = {str(path): path for job in jobs for path in job.input if str(path) not in made}
    now = _now(".snakemake")
    dates = workflow.async_run(_dates(read.values()))
    for name, date in sorted(dates.items()):
        if date > now + _TOLERANCE_S:
            raise LwdnaError(
                f"'{name}' is dated {_said(date)}, but it is {_said(now)}: the clock was put back, "
                "or is wrong, and what is made of it would count as outdated. Set the clock right, "
                "or wait until then, or give the file the present date (`touch`); then run the "
                "command again."
            )
    records = {name: workflow.persistence.metadata(path) for name, path in read.items()}
    made_on = {name: record["endtime"] for name, record in records.items() if record}
    late = {n: made_on[n] - date for n, date in dates.items() if made_on.get(n) is not None}
    if _moved_together(late.values()):
        return
    for name, seconds in sorted(late.items()):
        # A date to come was recorded by a wrong clock.
        if seconds > _TOLERANCE_S and made_on[name] <= now:
            raise LwdnaError(
                f"'{name}' is dated {_said(dates[name])}, but was made on {_said(made_on[name])}: "
                "an older file was put in its place. Run the command again after you delete it, to "
                "have it made again, or after `touch`, to have everything made anew of this one."
            )


def _moved_together(late: Collection[float]) -> bool:
    """Whether files were all dated back alike, as by an archive of another time zone."""
    if len(late) < 2 or min(late) <= _TOLERANCE_S:
        return False
    return max(late) - min(late) <= 2 * _TOLERANCE_S


async def _dates(paths: Iterable[Any]) -> dict[str, float]:
    """When files were changed, in seconds since 1970; of those that are there."""
    return {str(p): (await p.mtime()).local_or_storage() for p in paths if await p.exists()}


def _now(folder: str) -> float:
    """What time it is for the file system of a folder, which may be a server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()  # the disk is full, say, which whoever has to write there will tell


def _said(date: float) -> str:
    return f"{datetime.fromtimestamp(date):%Y-%m-%d %H:%M:%S}"
