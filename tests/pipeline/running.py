"""The means to start runs of the pipeline and its steps."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "tiny.yaml"


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
