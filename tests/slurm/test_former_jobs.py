"""A run ends what an earlier one has left in SLURM's queue, and only then looks at what there is.

The queue is a file, and the commands of SLURM are scripts that read and write it.
"""

import re
import stat
import time

import pytest
import yaml
from running import ROOT, TINY, finish, planned, snakemake, start

RUN = "lwdna_01234567-89ab-cdef-0123-456789abcdef"
COLOUR = "results/data/photographs/colour.h5"
GRAY = "results/data/photographs/gray.h5"
"""What the former job makes, and what is made of that."""


@pytest.fixture
def folder(tmp_path):
    """Where the workflow works, as yet empty."""
    folder = tmp_path / "a run"
    folder.mkdir()
    return folder


class Queue:
    """A queue; the job in it, once there is one, was left by an earlier run in a folder."""

    def __init__(self, tmp_path, folder):
        self.file, self.cancelled = tmp_path / "queue", tmp_path / "cancelled"
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        self._folder = folder
        self.file.touch()
        self._tool("squeue", f'cat "{self.file}"')

    def hold_job(self, on_cancel="end"):
        """Let there be a job: what happens when it is cancelled is a script; ``end`` ends it."""
        self.file.write_text(f"7|{RUN}|{self._folder}\n")
        end = f'end() {{ : > "{self.file}"; }}'
        self._tool("scancel", f'{end}\ncd "{self._folder}"\necho "$*" >> "{self.cancelled}"')
        with (self.bin / "scancel").open("a") as script:
            script.write(f"{on_cancel}\n")

    def _tool(self, name, does):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def queue(tmp_path, folder, monkeypatch):
    """An empty queue, which runs of the workflow take for SLURM's."""
    queue = Queue(tmp_path, folder)
    monkeypatch.setenv("PATH", str(queue.bin), prepend=":")
    return queue


def module(folder):
    """The options for a workflow that has this one as a module, and an onstart of its own."""
    path = folder / "Snakefile"
    path.write_text(
        f"configfile: {str(TINY)!r}\n"
        "module lwdna:\n"
        f"    snakefile: {str(ROOT / 'Snakefile')!r}\n"
        "    config: config\n"
        "use rule * from lwdna\n"
        'onstart: print("begun")\n'
    )
    return ("--snakefile", path)


@pytest.mark.parametrize("as_module", [False, True])
def test_a_former_job_may_take_its_product_away_when_it_is_cancelled(folder, queue, as_module):
    """It has just written it: what is cancelled has failed, and its Snakemake cleans up."""
    options = module(folder) if as_module else ()
    status, output = snakemake(folder, COLOUR, *options)
    assert status == 0 and ("begun" in output) == as_module, output
    before = (folder / COLOUR).read_bytes()
    # It ends some time after it was cancelled, as a training that saves its state.
    queue.hold_job(f"(sleep 3; rm {COLOUR}; end) > /dev/null 2>&1 &")
    status, output = snakemake(folder, GRAY, *options)
    assert status == 0, output
    assert queue.cancelled.read_text() == "7\n" and "left 1 job(s) in the queue (7)" in output
    assert planned(output) == {"crop": 1, "gray": 1}
    assert (folder / COLOUR).read_bytes() == before and (folder / GRAY).exists()


LOOKS = ["--dry-run", "--dag", "--summary", "--lint", "--list-rules", "--unlock", "--report r.zip"]


@pytest.mark.parametrize("look", LOOKS)
def test_who_only_looks_ends_nothing(folder, queue, look):
    queue.hold_job()
    _, output = snakemake(folder, *look.split())
    assert "Traceback" not in output
    assert not queue.cancelled.exists() and not (folder / ".snakemake/lwdna.lock").exists()


@pytest.mark.parametrize("mode", ["remote", "subprocess"])
def test_the_snakemake_of_a_job_ends_nothing(folder, queue, mode):
    queue.hold_job()
    status, output = snakemake(folder, COLOUR, "--mode", mode)
    assert status == 0 and (folder / COLOUR).exists(), output
    assert not queue.cancelled.exists() and not (folder / ".snakemake/lwdna.lock").exists()


def test_a_second_run_is_refused_while_the_first_waits_for_former_jobs(folder, queue):
    queue.hold_job(on_cancel="")
    first = start(folder, COLOUR)
    while first.poll() is None and not queue.cancelled.exists():
        time.sleep(0.01)
    status, output = snakemake(folder, COLOUR)
    assert status == 1 and re.search(rf"Another run \(process {first.pid} on", output), output
    assert queue.cancelled.read_text() == "7\n" and not (folder / "results").exists()
    queue.file.write_text("")
    output = finish(first)
    assert first.returncode == 0 and (folder / COLOUR).exists(), output


def test_a_download_that_comes_while_a_run_begins_is_a_sentence(folder, queue, tmp_path):
    """Whether there is a rule to download it was decided before the folder was locked."""
    config = yaml.safe_load(TINY.read_text())
    config["datasets"]["more"] = {"kind": "tiny-imagenet", "archive": "tiny-imagenet-200.zip"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    queue.hold_job("touch tiny-imagenet-200.zip; end")
    status, output = snakemake(folder, COLOUR, config=tmp_path / "config.yaml")
    assert status == 1 and "just made or removed tiny-imagenet-200.zip; start again" in output
    assert not (folder / "results").exists()
    status, output = snakemake(folder, COLOUR, config=tmp_path / "config.yaml")
    assert status == 0, output
