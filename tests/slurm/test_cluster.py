"""What the workflow does for a cluster, without one."""

import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from running import ROOT, finish, snakemake, start

from lwdna.config.methods import SEARCHES
from lwdna.errors import LwdnaError
from lwdna.workflow import cluster

TINY = Path(__file__).parent / "tiny.yaml"

# Like Snakemake in a job: it notes a SIGTERM and waits for a shell, which waits for the work.
SNAKEMAKE = """
import signal, subprocess, sys
from lwdna.workflow.cluster import relay_signals
relay_signals()
signal.signal(signal.SIGTERM, lambda *_: None)
work = '''
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("at work", flush=True)
time.sleep(60)
'''
shell = ["bash", "-c", 'trap : TERM USR1; "$@"', "-", sys.executable, "-c", work]
sys.exit(subprocess.run(shell).returncode)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_snakemake_reaches_the_work(number):
    command = [sys.executable, "-c", SNAKEMAKE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == 7


def test_a_job_passes_a_signal_on_to_its_training(tmp_path):
    """Only Snakemake is told, in the mode that it has in a job; the training saves its state."""
    settings = yaml.safe_load(TINY.read_text())
    settings["protocols"]["digits"]["epochs"] = 40
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    target = "results/runs/digits/baseline/seed0/history.csv"
    job = start(tmp_path, target, "--mode", "remote", "--no-hooks", config=config)
    while job.poll() is None and not any(tmp_path.glob("results/checkpoints/**/*.safetensors")):
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    output = finish(job)
    assert job.returncode == 1 and "stopped by a signal; saved" in output
    assert not (tmp_path / target).exists()
    status, output = snakemake(tmp_path, target, config=config)
    assert status == 0 and "0 epochs and 0 steps are done" not in output
    assert len((tmp_path / target).read_text().splitlines()) == 1 + 40


def test_srun_is_left_alone(tmp_path):
    """It would kill the work at once; SLURM signals the work by itself."""
    (tmp_path / "srun").symlink_to("/bin/sleep")
    work = "import subprocess, sys\nfrom lwdna.workflow.cluster import _below\n"
    work += "process = subprocess.Popen(sys.argv[1:])\nprint(len(_below()))\nprocess.kill()\n"
    for name, seen in (("/bin/sleep", "1"), (tmp_path / "srun", "0")):
        command = [sys.executable, "-c", work, name, "60"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == seen


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue to fill: lines of `squeue`. `scancel` removes the jobs that are not stuck."""
    file = tmp_path / "queue"
    tools = {
        "squeue": f'#!/bin/sh\ncat "{file}" || {{ echo "no controller" >&2; exit 1; }}\n',
        "scancel": f'#!/bin/sh\nfor n; do sed -i "/^$n|.*stuck$/!{{/^$n|/d}}" "{file}"; done\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in tools.items():
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    return file


RUN = "lwdna_01234567-89ab-cdef-0123-456789abcdef"


def test_only_jobs_of_the_workflow_in_this_folder_are_cancelled(queue, tmp_path, caplog):
    (tmp_path / "other").mkdir()
    others = [
        f"2|{RUN}|{tmp_path}/other",
        f"3|lwdna_main|{tmp_path}",
        f"4|01234567-89ab-cdef-0123-456789abcdef|{tmp_path}",
    ]
    queue.write_text("\n".join([f"1|{RUN}|{tmp_path}", *others, f"5|{RUN}|{tmp_path}/./", ""]))
    cluster.end_former_jobs(tmp_path, alone=True)
    assert queue.read_text().splitlines() == others
    assert "left 2 job(s) in the queue (1, 5)" in caplog.text


def test_jobs_that_do_not_end_are_a_sentence(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE_S", 0)
    folder = tmp_path / "stuck"
    folder.mkdir()
    queue.write_text(f"7|{RUN}|{folder}\n")
    with pytest.raises(LwdnaError, match=r"jobs 7 of an earlier run .* do not end"):
        cluster.end_former_jobs(folder, alone=True)


def test_jobs_that_may_be_of_another_run_are_left_alone(queue, tmp_path):
    (tmp_path / "here").mkdir()
    queue.write_text(f"7|{RUN}|{tmp_path / 'here'}\n")
    with pytest.raises(LwdnaError, match=r"no locks .* \(scancel 7\), and start again"):
        cluster.end_former_jobs(tmp_path / "here", alone=False)
    assert queue.read_text().startswith("7|")


def test_a_slurm_that_does_not_answer_stops_nobody(queue, tmp_path, monkeypatch):
    assert not queue.exists()  # as where the commands are installed and there is no cluster
    cluster.end_former_jobs(tmp_path, alone=True)
    monkeypatch.setenv("PATH", str(tmp_path))  # and where they are not
    cluster.end_former_jobs(tmp_path, alone=True)


def test_the_profile_carries_what_it_replaces():
    default, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    # A limit on GPUs would be one for the whole cluster.
    assert default.pop("resources") == {"gpu": 1} and "resources" not in slurm
    assert default.items() <= slurm.items()
    # The processes of one training can only find each other on one machine.
    assert slurm["set-resources"]["train"]["nodes"] == 1


def test_the_profile_names_rules_that_exist_and_rules_name_no_cluster():
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    # A search is a rule in a loop, with the name of its rival.
    rules = {*re.findall(r"^rule (\w+):", text, flags=re.MULTILINE), *SEARCHES}
    assert set(profile["set-resources"]) <= rules
    assert not re.search("slurm|sbatch|partition", text)
    assert cluster.JOB_NAME.fullmatch(f"{profile['slurm-jobname-prefix']}_{RUN.split('_')[1]}")
