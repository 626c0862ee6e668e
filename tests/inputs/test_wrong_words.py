"""Every option of every command, wrong in every way: one sentence, and nothing is left behind."""

import os
from pathlib import Path

import pytest
from outcomes import ALL, command
from right_commands import LEFT_OUT, RIGHT, lay_out
from wrong_values import drawn
from wrong_words import linked, make_foreign_files, paths_in, wrong_lines

from lwdna.__main__ import COMMANDS

SEED = 20210620
SHARE = 5
"""Wrong lines of each command that are tried where not all are."""


def test_every_command_has_a_right_line():
    assert sorted([*RIGHT, *LEFT_OUT]) == sorted(COMMANDS), (
        "A command is new or gone: give a right line of it in RIGHT, or say in LEFT_OUT why not."
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What every right line writes, by command and place in RIGHT; and the folder of it all."""
    folder, before = tmp_path_factory.mktemp("inputs"), Path.cwd()
    os.chdir(folder)
    written = {}
    try:
        lay_out(folder)
        for name, lines in RIGHT.items():
            for number, line in enumerate(lines):
                new = {path for path in paths_in(name, line) if not Path(path).exists()}
                outcome = command(name, *line)
                assert outcome.kind == "silence", (name, outcome)
                written[name, number] = new
        read = {p for n, lines in RIGHT.items() for line in lines for p in paths_in(n, line)}
        make_foreign_files(
            sorted(path for path in read if Path(path).is_file() and "/" not in path)
        )
        yield folder, written
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", RIGHT)
def test_wrong_lines_are_refused(made, name, tmp_path):
    folder, written = made
    problems = []
    for number, line in enumerate(RIGHT[name]):
        os.chdir(folder)
        cases = list(wrong_lines(name, line, written[name, number]))
        for index, case in enumerate(drawn(cases, None if ALL else SHARE, SEED)):
            kind, named, words, must = case
            here = tmp_path / f"{number}-{index}"
            linked(folder, here, written[name, number])
            os.chdir(here)
            before = files_in(here)
            outcome = command(name, *words)
            problem = outcome.problem(*filter(None, [named]))
            if not must and outcome.kind == "silence":
                problem = None
            if outcome.kind == "sentence" and (left := files_in(here) - before):
                problem = f"{problem or 'a sentence'}, and it left {sorted(left)}"
            if problem:
                problems.append(f"{kind} for {named}: {problem}")
            os.chdir(folder)
    assert not problems, "\n".join(problems)


def files_in(folder):
    """The files in a folder that have the name of a product: no locks, no states of trainings."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"lock", "checkpoint.safetensors"}
    }
