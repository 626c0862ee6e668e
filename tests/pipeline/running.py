"""The means to start runs of the pipeline and its steps."""

import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import torch

from lwdna.__main__ import main

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "tiny.yaml"

PROJECT = (
    *("Snakefile", "config.yaml", "data/versions.csv"),
    *("lwdna", "rules", "config", "envs", "paper", "profiles", "report"),
)
"""What a run needs of the project, beside its environment."""

FRESH_PROCESS = {
    **{name: value for name, value in os.environ.items() if name != "LOCAL_RANK"},
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, Path(__file__).parent))),
    "OMP_NUM_THREADS": "1",
}
"""The environment of a test's own process, which may start others by Lightning Fabric."""


def copy_project(folder):
    """Copy what a run needs into a folder, to change something there."""
    for name in PROJECT:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def run_python(*arguments, folder=None, **environment):
    """Run Python to its end in a fresh process, which must not fail: what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**FRESH_PROCESS, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(folder, *arguments, config=TINY):
    """Start Snakemake in a process group of its own, as a shell would; see `finish`."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--configfile", str(config), "--directory", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "2"]
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `finish`
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    process.log = log
    return process


def finish(process):
    """Wait for a process of `start` and return what it printed."""
    process.wait(timeout=900)
    with process.log as log:
        log.seek(0)
        return log.read()


def snakemake(folder, *arguments, config=TINY):
    """Run Snakemake to its end: exit status and output."""
    process = start(folder, *arguments, config=config)
    output = finish(process)
    return process.returncode, output


def planned(output):
    """The number of jobs by rule that a dry run says it would run.

    It is read line by line, not as `lwdna plan` does, which it is there to check.
    """
    lines = output.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]
    jobs = {line.split()[0]: int(line.split()[1]) for line in lines if line.strip()}
    assert jobs.pop("total") == sum(jobs.values())
    return jobs


def lwdna(*arguments, cwd="."):
    """Run the command line to its end, in this process: exit status and what it said.

    Processes of its own, as the pipeline starts them, would wait for PyTorch each time.
    """
    root, threads = logging.getLogger(), torch.get_num_threads()
    handlers, level = list(root.handlers), root.level
    words = ["lwdna", *map(str, arguments)]
    said, status = (io.StringIO(), io.StringIO()), 0
    root.handlers.clear()
    try:
        with (
            chdir(cwd),
            patch.object(sys, "argv", words),
            redirect_stdout(said[0]),
            redirect_stderr(said[1]),
        ):
            main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(False)
        torch.set_num_threads(threads)
    return status, "".join(stream.getvalue() for stream in said)
