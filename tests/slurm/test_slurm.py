"""The profile on a real SLURM: killed in many ways, the tables are those of a quiet local run."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import cluster as slurm
import pytest
from running import ROOT, planned, snakemake

TINY = Path(__file__).parent / "tiny.yaml"
TARGETS = ("results/tables/table1.csv",)
PRODUCTS = ("tables/*", "runs/*/*/*.*", "runs/*/*/*/*.*", "shrink/**/*.*", "data/**/*.*")

pytestmark = pytest.mark.skipif(
    "LWDNA_TEST_SLURM" not in os.environ, reason="brings up a SLURM: run 'make test-slurm'"
)


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes with a GPU each, which is none."""
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    with slurm.cluster() as made:
        yield made


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The folder of a run on this machine, by the default profile, that nobody disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    status, output = snakemake(folder, *TARGETS, config=TINY)
    assert status == 0, output
    return folder


class Run:
    """A run of the workflow on a cluster, by the profile that users have."""

    def __init__(self, folder, cluster):
        self.folder, self.cluster, self.log = folder, cluster, folder / "output"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--configfile", str(TINY), "--directory", str(folder), *TARGETS]
        command += ["--workflow-profile", str(ROOT / "profiles/slurm")]
        # Only for speed: seconds between looks at the queue, and no accounting to ask.
        command += ["--slurm-init-seconds-before-status-checks", "2"]
        command += ["--slurm-status-command", "squeue", "--latency-wait", "10"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=cluster.environment,
                start_new_session=True,
            )

    def training(self, method, besides=None):
        """Wait until a training has just saved its state: number and node of its job."""
        folder = self.folder / f"results/checkpoints/digits/{method}/seed0"

        def saved():
            # Not `*.safetensors`, which is also what is only half written.
            return {
                path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoint.safetensors")
            }

        def running():
            assert self.process.poll() is None, self.log.read_text()
            jobs = self.cluster.jobs().items()
            found = [
                (n, node) for n, (name, node) in jobs if name == comment(method) and n != besides
            ]
            # Not what the job before has saved at its end.
            return [job for job in found if saved() != at_first.setdefault(job, saved())]

        at_first = {}
        return slurm.wait_for(running, f"a checkpoint of {method}", 900)[0]

    def finish(self):
        """Wait for the end of the run and return what it printed."""
        self.process.wait(timeout=1800)
        return self.log.read_text()

    def said(self, method):
        """What a training said in all its jobs, which SLURM's logs keep."""
        logs = self.folder / f".snakemake/slurm_logs/rule_train/digits_{method}_0"
        paths = sorted(logs.iterdir(), key=lambda path: int(path.stem))
        return "".join(path.read_text() for path in paths)


def comment(method):
    """What the job of a training is called in the queue."""
    return f"rule_train_wildcards_digits_{method}_0"


def contents(folder):
    """Names and bytes of the products of a run."""
    results = folder / "results"
    return {
        str(path.relative_to(results)): path.read_bytes()
        for pattern in PRODUCTS
        for path in sorted(results.glob(pattern))
        if path.is_file()
    }


def test_killed_in_four_ways(cluster, quiet, tmp_path, record_property):
    def note(text):
        record_property("slurm", text)

    run = Run(tmp_path, cluster)
    try:
        # The signal that SLURM sends when the time of a job is nearly up.
        job, node = run.training("baseline")
        cluster.command("scancel", "--signal=USR1", job)
        note(f"baseline, job {job} on {node}: scancel --signal=USR1")

        job, node = run.training("teacher")
        victims = [p for p in cluster.on_node(node) if p.cmdline()[1:3] == ["-m", "lwdna"]]
        [victim] = [p for p in victims if p.environ().get("SLURM_JOB_ID") == job]
        victim.kill()
        note(f"teacher, job {job} on {node}: SIGKILL to the process that trains")

        job, node = run.training("lw-dna")
        run.process.kill()
        run.process.wait()
        note(f"lw-dna, job {job} on {node}: SIGKILL to Snakemake, which is then started again")
        run = Run(tmp_path, cluster)

        again, node = run.training("lw-dna", besides=job)
        cluster.kill_node(node)
        note(f"lw-dna, job {again} on {node}: SIGKILL to slurmd and to all that ran on the node")
        slurm.wait_for(lambda: cluster.states()[node].startswith("down"), f"{node} to be down")
        # SLURM lets a job of a lost node wait for some minutes, unless it is told not to.
        with suppress(subprocess.CalledProcessError):  # it has started already
            cluster.command("scontrol", "update", f"JobId={again}", "StartTime=now")
        output = run.finish()
    finally:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
    assert run.process.returncode == 0, output
    assert re.search(rf"left \d job\(s\) in the queue \(.*\b{job}\b", output)

    for method, starts in (("baseline", 2), ("teacher", 2), ("lw-dna", 2)):
        said = run.said(method)
        assert "A GPU was asked for" in said
        done = re.findall(r"(\d+) epochs and (\d+) steps are done", said)
        done = [(int(epochs), int(steps)) for epochs, steps in done]
        note(f"{method}: epochs and steps done at each start: {done}")
        assert len(done) >= starts and done[0] == (0, 0) < done[1] and done == sorted(done)
        # What failed was submitted again with more memory; a new run of Snakemake starts anew.
        wanted = ["16000M", "16000M" if method == "lw-dna" else "32000M"]
        assert cluster.requests(comment(method))[:2] == wanted
    assert "stopped by a signal" in run.said("baseline")
    assert "Restarts=1" in cluster.command("scontrol", "show", "job", again)

    here, there = contents(quiet), contents(tmp_path)
    for name in sorted(here | there):
        same = here.get(name) == there.get(name)
        size = len(here.get(name, b""))
        note(f"{'equal' if same else 'DIFFERENT':>9} {size:>9,} bytes  {name}")
    assert here == there


FORMER_JOB = """\
#!/bin/bash
# As Snakemake in a job that has just written its product: cancelled, it has failed and cleans up.
trap 'sleep 5; rm results/runs/digits/baseline/metrics.csv; exit 1' TERM
touch begun
sleep 600 &
wait
"""


def test_a_new_run_plans_after_the_end_of_former_jobs(cluster, quiet, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(quiet, folder, symlinks=True)
    for path in (folder / "results/tables").iterdir():
        path.unlink()
    script = tmp_path / "job"
    script.write_text(FORMER_JOB)
    name = "--job-name=lwdna_01234567-89ab-cdef-0123-456789abcdef"
    words = ("--parsable", "--mem=100", f"--chdir={folder}", f"--output={tmp_path}/said", name)
    job = cluster.command("sbatch", *words, script)
    slurm.wait_for((folder / "begun").exists, "the job of an earlier run")
    run = Run(folder, cluster)
    output = run.finish()
    assert run.process.returncode == 0, output
    assert f"left 1 job(s) in the queue ({job})" in output
    assert planned(output)["evaluate"] == 1
    assert contents(quiet) == contents(folder)
