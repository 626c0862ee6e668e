"""A finished tiny run of the whole pipeline."""

import os
import shutil

import pytest
from running import snakemake

from lwdna.io.locks import lock


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder, with a space in its path, in which the tiny run was made; do not change it."""
    # One for all the processes that test: the first makes it, the others wait.
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    base = base.parent if parallel else base
    folder, mark = base / "a finished run", base / "it is finished"
    with lock(base / "lock", wait=True):
        if not mark.exists():
            status, output = snakemake(folder)
            assert status == 0, output
            mark.touch()
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run to do things to."""
    folder = tmp_path / "a copy"
    shutil.copytree(finished, folder, symlinks=True)
    return folder
