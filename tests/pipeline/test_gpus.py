"""Trainings of a workstation share out its GPUs: fake ones, of which only the numbers are there."""

import re
import subprocess
import sys
import time

import pytest
import yaml
from running import FRESH_PROCESS, TINY, finish, lwdna, start

from lwdna.training.cards import PLACES, VISIBLE

HOLD = """
import sys
from lwdna.training.cards import dealt
with dealt("gpu", 2):
    print("has two", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The environment of a machine with four GPUs, which this process has, too."""
    environment = {"TMPDIR": str(tmp_path), VISIBLE: "0,1,2,3"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def others(fake):
    """Jobs of another run, which have all of them."""
    command = [sys.executable, "-c", HOLD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**FRESH_PROCESS, **fake, PLACES: "4"}
    started = []
    for _ in range(2):
        started.append(subprocess.Popen(command, env=environment, **pipes))
        assert started[-1].stdout.readline() == "has two\n"
    yield started
    for process in started:
        process.kill()
        process.communicate()


def said(log):
    return log.read_text() if log.exists() else ""


def test_trainings_wait_for_a_gpu_and_take_that_of_a_killed_process(others, tmp_path):
    config = yaml.safe_load(TINY.read_text())
    digits = config["experiments"]["digits"]
    config |= {"experiments": {"digits": {**digits, "methods": ["baseline"]}}, "seeds": [0, 1]}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config))
    runs = "results/{}/digits/baseline"
    process = start(
        *(tmp_path, "--set-resources", "train:gpu=1", "--resources", "gpu=4"),
        *("--", runs.format("runs") + "/metrics.csv"),
        config=tmp_path / "two.yaml",
    )
    logs = [tmp_path / runs.format("logs/train") / f"seed{seed}.log" for seed in (0, 1)]
    while not all("waiting until 1" in said(log) for log in logs) and process.poll() is None:
        time.sleep(0.5)
    # What they have done so far is nothing.
    assert not any("epoch" in said(log) for log in logs)
    others[1].kill()
    assert finish(process) and process.returncode == 0
    had = [re.search(r"has GPU (\d) of 0, 1, 2, 3", said(log))[1] for log in logs]
    assert set(had) <= {"2", "3"}

    # Their histories are found where they are, and drawn.
    status, text = lwdna("training-logs", "--output", "logs.svg", cwd=tmp_path)
    assert status == 0, text
    assert "digits (n=2)" in (tmp_path / "logs.svg").read_text()
