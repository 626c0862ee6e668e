"""A step that a signal ends is said to be so, and its log is not lost when it runs again."""

import logging
import os
import subprocess
import sys

import pytest
from running import ROOT

from lwdna.io import logs
from lwdna.workflow.ended import sentence_of

DIED = "CalledProcessError in file \"x\", line 1:\nCommand 'set -e; python' "


@pytest.mark.parametrize(
    ("said", "signal"),
    [
        ("died with <Signals.SIGKILL: 9>.", "SIGKILL: by the system where memory is full"),
        ("returned non-zero exit status 137.", "SIGKILL: by the system where memory is full"),
        ("died with <Signals.SIGTERM: 15>.", "SIGTERM: by a scheduler"),
        ("returned non-zero exit status 130.", "SIGINT: by Ctrl-C"),
        ("died with <Signals.SIGUSR2: 12>.", "SIGUSR2: from outside"),
    ],
)
def test_a_signal_is_a_sentence(said, signal):
    sentence = sentence_of(DIED + said)
    assert signal in sentence and "\n" not in sentence
    assert sentence.endswith("Run the same command again: it goes on from what there is.")


@pytest.mark.parametrize("status", [1, 2, 70, 127, 128, 193, 199])
def test_an_error_of_its_own_is_none(status):
    assert sentence_of(f"{DIED}returned non-zero exit status {status}.") is None


SNAKEFILE = """
import sys
sys.path.insert(0, {root!r})
from lwdna.workflow.ended import say_signals
say_signals()
say_signals()

rule killed:
    output: "made"
    shell: "kill -9 $$"
"""


def test_snakemake_says_it_once_beside_its_own_error(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and said.count("was ended by the signal SIGKILL") == 1, said


@pytest.fixture
def restore():
    """The handlers of the root logger, which a step sets, as they were."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def say(log, words):
    logs.setup(str(log))
    logging.getLogger("step").info(words)


def test_a_log_that_snakemake_removes_is_written_on(tmp_path, monkeypatch, restore):
    monkeypatch.setenv(logs.KEEP, "1")
    log = tmp_path / "step.log"
    for number in range(3):
        log.unlink(missing_ok=True)  # as Snakemake does before the job
        say(log, f"run {number}")
    lines = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert lines[0] == "run 0" and [lines[2], lines[4]] == ["run 1", "run 2"]
    assert all(line.startswith("Run again on ") for line in (lines[1], lines[3]))


def test_a_log_that_the_user_names_has_no_second_name(tmp_path, monkeypatch, restore):
    monkeypatch.delenv(logs.KEEP, raising=False)
    say(tmp_path / "mine.log", "hello")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.log"]


def test_a_log_is_written_where_there_are_no_hard_links(tmp_path, monkeypatch, restore):
    monkeypatch.setenv(logs.KEEP, "1")

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    say(tmp_path / "step.log", "hello")
    assert (tmp_path / "step.log").read_text().endswith("hello\n")


def test_another_file_in_the_place_of_a_log_is_kept(tmp_path, monkeypatch, restore):
    monkeypatch.setenv(logs.KEEP, "1")
    log = tmp_path / "step.log"
    say(log, "first")
    log.unlink()
    log.write_text("someone else\n")
    say(log, "second")
    assert log.read_text().startswith("someone else\n") and log.read_text().endswith("second\n")
    assert (tmp_path / ".step.log").samefile(log)
