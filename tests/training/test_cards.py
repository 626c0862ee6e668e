"""GPUs of a workstation are dealt out to jobs side by side."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import FRESH_PROCESS

from lwdna.errors import ConfigError, LwdnaError
from lwdna.training import cards
from lwdna.training.cards import PLACES, VISIBLE, dealt

JOB = """
import logging, os, sys
from lwdna.training.cards import VISIBLE, dealt
logging.basicConfig(format="%(message)s")
with dealt(sys.argv[1], int(sys.argv[2])):
    print(os.environ[VISIBLE], flush=True)
    sys.stdin.read()
"""
"""Has cards until its standard input ends."""


class Jobs:
    """Processes that have cards, of a pool of four fake ones, and ended with the test."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack

    def start(self, devices=1, *, places=4, visible="0,1,2,3", accelerator="gpu", **environment):
        process = self.stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", JOB, accelerator, str(devices)],
                env={
                    **FRESH_PROCESS,
                    "TMPDIR": str(self.folder),
                    "PATH": str(self.folder),  # without nvidia-smi
                    PLACES: str(places),
                    VISIBLE: visible,
                    **environment,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        self.stack.callback(process.kill)
        return process


@pytest.fixture
def jobs(tmp_path):
    with ExitStack() as stack:
        yield Jobs(tmp_path, stack)


def has(process):
    """What a job says next: the cards that it has, or that it waits."""
    return process.stdout.readline().strip()


def end(process):
    process.stdin.close()
    assert process.wait(timeout=600) == 0


def test_four_jobs_have_four_cards_and_a_killed_one_frees_its_own(jobs):
    four = [jobs.start() for _ in range(4)]
    owned = {has(process): process for process in four}
    assert sorted(owned) == ["0", "1", "2", "3"]
    fifth = jobs.start()
    assert "Other jobs have the GPUs of this machine (0, 1, 2, 3); waiting until 1" in has(fifth)
    owned["2"].kill()
    assert has(fifth) == "2"


def test_a_job_of_two_cards_gets_two_or_none(jobs):
    pair = jobs.start(2)
    assert has(pair) == "0,1"
    one = jobs.start()
    assert has(one) == "2"
    second = jobs.start(2)
    assert "waiting until 2 of them" in has(second)
    # It has not taken the one that is left.
    other = jobs.start()
    assert has(other) == "3"
    end(pair)
    assert has(second) == "0,1"


@pytest.mark.parametrize(
    ("places", "cards", "shares"), [(4, "7", 4), (8, "0,1,2,3", 2), (3, "0,1", 2), (0, "0,1", 1)]
)
def test_a_card_has_as_many_places_as_it_takes(jobs, places, cards, shares):
    pool = cards.split(",")
    started = [jobs.start(places=places, visible=cards) for _ in range(len(pool) * shares)]
    # Dealt out evenly, whatever the order.
    assert sorted(has(process) for process in started) == sorted(pool * shares)
    assert "waiting" in has(jobs.start(places=places, visible=cards))


def test_a_whole_card_is_not_given_to_a_run_that_shares(jobs):
    assert has(jobs.start(visible="0", places=1)) == "0"
    sharing = jobs.start(visible="0", places=2)
    assert "waiting" in has(sharing)


def test_only_what_was_visible_before_is_dealt_out(jobs):
    part = {"visible": "3,5,-1,1", "places": 2}  # CUDA sees nothing from what is no card on
    assert [has(jobs.start(**part)) for _ in range(2)] == ["3", "5"]
    assert "(3, 5)" in has(jobs.start(**part))
    assert has(jobs.start()) == "0"


@pytest.mark.parametrize(
    "changes",
    [
        {"places": ""},  # no workflow, or a cluster
        {"accelerator": "cpu"},
        {"LOCAL_RANK": "1"},
        {"visible": ""},
    ],
    ids=str,
)
def test_nothing_is_dealt_out_where_nobody_asks(jobs, changes):
    alike = changes.get("visible", "0,1,2,3")
    for process in [jobs.start(3, **changes) for _ in range(2)]:
        assert has(process) == alike
    assert not list(jobs.folder.iterdir())


def test_more_cards_than_there_are_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(PLACES, "4")
    monkeypatch.setenv(VISIBLE, "0,1")
    said = r"given 3 GPUs, but this machine has 2 for it \(0, 1\)"
    with pytest.raises(ConfigError, match=said), dealt("gpu", 3):
        pass


def test_what_was_visible_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(cards.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(PLACES, "1")
    monkeypatch.setenv(VISIBLE, "4,6")
    with dealt("gpu", 1):
        assert os.environ[VISIBLE] == "4"
    assert os.environ[VISIBLE] == "4,6"


def test_a_folder_of_someone_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cards.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(PLACES, "1")
    monkeypatch.setenv(VISIBLE, "0")
    (tmp_path / f"lwdna-gpus-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(LwdnaError, match="another user's, or no folder"), dealt("gpu", 1):
        pass


def test_no_step_takes_a_gpu_but_one_that_it_was_dealt():
    """They would all take the first one."""
    steps = Path(cards.__file__).parents[1] / "steps"
    found = {path.name for path in steps.glob("*.py") if "pick_accelerator(" in path.read_text()}
    assert found == {"_device.py"}


LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)
  MIG 1g.5gb      Device  0: (UUID: MIG-bbbb-1)
  MIG 1g.5gb      Device  1: (UUID: MIG-bbbb-2)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-cccc-1)
"""


@pytest.mark.parametrize(
    ("visible", "words", "names"),
    [
        (None, ["MIG-bbbb-1", "MIG-bbbb-2", "GPU-cccc-1"], None),
        ("1", ["1"], ["GPU-cccc-1"]),
        ("1,0", ["1", "0"], ["GPU-cccc-1", "MIG-bbbb-1"]),
        ("GPU-cc,1,MIG-bbbb-2", ["GPU-cc", "MIG-bbbb-2"], ["GPU-cccc-1", "MIG-bbbb-2"]),
        ("5", ["5"], ["5"]),
    ],
)
def test_cards_are_known_by_their_uuid(monkeypatch, visible, words, names):
    """So that runs that name them otherwise do not take the same one."""
    monkeypatch.setattr(
        cards.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=LISTED, returncode=0)
    )
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    found = cards._pool()
    assert [card.word for card in found] == words
    assert [card.name for card in found] == (names or words)
