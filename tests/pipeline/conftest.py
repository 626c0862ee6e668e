"""A finished tiny run of the whole pipeline."""

import shutil

import pytest
from running import snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder, with a space in its path, in which the tiny run was made; do not change it."""
    folder = tmp_path_factory.mktemp("a finished run")
    status, output = snakemake(folder)
    assert status == 0, output
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run to do things to."""
    folder = tmp_path / "a copy"
    shutil.copytree(finished, folder, symlinks=True)
    return folder
