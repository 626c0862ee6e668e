"""Dates that tell of a clock, or of a file, that was put back; Snakemake's part is tests/faults."""

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lwdna.errors import LwdnaError
from lwdna.workflow.dates import refuse_wrong_dates


class File(str):
    """What Snakemake knows of a file."""

    async def exists(self):
        return Path(self).exists()

    async def mtime(self):
        return SimpleNamespace(local_or_storage=lambda: Path(self).stat().st_mtime)


class Workflow:
    """One with a job that reads some files.

    By name, when each was made and when it is dated, in seconds from now.
    """

    touch = False

    def __init__(self, folder, **files):
        (folder / ".snakemake").mkdir()
        self.recorded, now = {}, time.time()
        for name, (made, dated) in files.items():
            (folder / name).touch()
            os.utime(folder / name, (now + dated, now + dated))
            if made is not None:
                self.recorded[name] = {"endtime": now + made}
        job = SimpleNamespace(input=[File(name) for name in files], output=[File("out")])
        self.dag = SimpleNamespace(needrun_jobs=lambda: [job])
        self.persistence = SimpleNamespace(metadata=lambda path: self.recorded.get(str(path)))

    def async_run(self, awaitable):
        return asyncio.run(awaitable)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"a": (-60, -60), "b": (-50, -51)},  # rounded by an archive
        {"a": (None, -60)},  # a user's own
        {"a": (-60, -30)},  # newer: Snakemake's affair
        {"a": (-60, -3660), "b": (-50, -3650)},  # moved together
        {"a": (3600, -60)},  # made while the clock was wrong
        {},
    ],
    ids=str,
)
def test_what_may_be_is_taken(tmp_path, files):
    refuse_wrong_dates(Workflow(tmp_path, **files))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": (-60, -60), "b": (-50, -500)}, "'b' is dated .* an older file was put in its place"),
        ({"a": (-60, -60), "b": (-50, -53)}, "'b' is dated .* an older file was put in its place"),
        ({"a": (-60, -500)}, "'a' is dated .*delete it.*touch"),
        ({"a": (-60, -60), "b": (None, 60)}, "'b' is dated .* the clock was put back"),
        ({"a": (60, 60), "b": (50, 50)}, "'a' is dated .* the clock was put back"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_unless_it_is_only_touched(tmp_path, files, said):
    workflow = Workflow(tmp_path, **files)
    with pytest.raises(LwdnaError, match=said):
        refuse_wrong_dates(workflow)
    workflow.touch = True
    refuse_wrong_dates(workflow)


def test_what_is_made_anew_is_not_looked_at(tmp_path):
    workflow = Workflow(tmp_path, a=(-60, -500))
    maker = SimpleNamespace(input=[], output=[File("a")])
    jobs = [*workflow.dag.needrun_jobs(), maker]
    workflow.dag.needrun_jobs = lambda: jobs
    refuse_wrong_dates(workflow)


def test_a_disk_that_takes_nothing_is_no_trouble_here(tmp_path):
    workflow = Workflow(tmp_path, a=(-60, -60))
    (tmp_path / ".snakemake").rmdir()
    refuse_wrong_dates(workflow)
