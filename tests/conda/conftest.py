"""A stand-in for conda with a channel of its own, and the means to run Snakemake with it."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from channel import make_channel
from imports import ROOT, specs_of
from packaging.specifiers import SpecifierSet


@pytest.fixture(scope="session")
def conda(tmp_path_factory):
    """What the stand-in adds to the environment of a process."""
    wanted, version = specs_of(ROOT / "envs/lwdna.yaml")["python"], platform.python_version()
    if version not in SpecifierSet(wanted.removeprefix("python")):
        pytest.skip(f"envs/lwdna.yaml wants {wanted}; this is {version}")
    root = tmp_path_factory.mktemp("conda")
    channels = root / "channels"
    wanted = [name for path in (ROOT / "envs").glob("*.yaml") for name in specs_of(path)]
    make_channel(channels / "conda-forge", wanted)
    variables = {"CONDA_ROOT": str(root), "CONDA_CHANNELS": str(channels)}
    exports = "".join(f"export {name}={shlex.quote(v)}\n" for name, v in variables.items())
    command = shlex.join([sys.executable, str(Path(__file__).parent / "standin.py")])
    (root / "bin").mkdir()
    for name, text in {
        "conda": f'#!/bin/sh\n{exports}exec {command} "$@"\n',
        "activate": f'eval "$({shlex.quote(str(root / "bin/conda"))} activate "$1")"\n',
    }.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    return {"PATH": f"{root / 'bin'}:{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def run():
    """Run Snakemake in a folder, to its end: exit status and output."""

    def run(folder, *arguments, snakefile=ROOT / "Snakefile", env=None):
        command = [sys.executable, "-m", "snakemake", "--cores", "2"]
        command += ["--snakefile", str(snakefile)] if snakefile else []
        command += ["--workflow-profile", str(ROOT / "profiles/default"), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"XDG_CACHE_HOME": str(folder / ".cache")} | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1800,
        )
        return done.returncode, done.stdout

    return run


@pytest.fixture(scope="session")
def copy_workflow():
    """Copy the files of the repository, as they are, to a folder; where they went."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no clone of the repository")
    names = [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]

    def copy_workflow(folder):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
        return folder

    return copy_workflow
