"""A finished tiny run of the whole pipeline, and the means to start others."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "tiny.yaml"


def start(folder, *arguments, config=TINY):
    """Start Snakemake in a process group of its own, as a shell would."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "2"]
    command += ["--directory", str(folder), "--configfile", str(config)]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "120"},
    )


def snakemake(folder, *arguments, config=TINY):
    """Run Snakemake to its end: exit status and output."""
    process = start(folder, *arguments, config=config)
    output, _ = process.communicate(timeout=900)
    return process.returncode, output


def lwdna(*arguments, **options):
    """Run the command line to its end: exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "lwdna", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )
    return done.returncode, done.stdout + done.stderr


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
