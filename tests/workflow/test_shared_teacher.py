"""A teacher that another experiment trains: what it must share, and what its student reads."""

import copy
from types import SimpleNamespace

import pytest
import yaml
from running import ROOT, TINY

from lwdna.config.check import check
from lwdna.errors import ConfigError
from lwdna.workflow.run import Run


def checked(folder=".", own=None, **changes):
    """A configuration in which the experiment 'student' learns from the teacher of 'digits'."""
    config = yaml.safe_load(TINY.read_text())
    config["datasets"]["others"] = {"kind": "digits", "train_fraction": 0.5, "seed": 1}
    experiments = config["experiments"]
    if own is not None:
        experiments["digits"]["network"] = own
    student = copy.deepcopy(experiments["digits"]) | {"teacher": {"experiment": "digits"}}
    experiments["student"] = student | changes
    return check(config, ROOT / "config/schema.yaml", folder)


def test_a_teacher_may_be_shared():
    assert checked()["experiments"]["student"]["teacher"] == {"experiment": "digits"}


TASK = yaml.safe_load(TINY.read_text())["experiments"]["digits"]["task"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": "others"}, "'digits', which learns from 'digits', but .* from 'others'"),
        ({"task": TASK | {"pad": 4}}, "has another task.pad: 2, but this experiment 4"),
        ({"task": TASK | {"std": [1, 1, 1]}}, r"another task.std: \[0.35, .* \[1, 1, 1\]; correct"),
        ({"teacher": {"experiment": "denoising"}}, "'denoising', which trains none"),
        ({"teacher": {"experiment": "digit"}}, ".experiment names 'digit', .* 'digits'"),
    ],
)
def test_what_a_teacher_must_share(changes, words):
    with pytest.raises(ConfigError, match=f"experiments.student.teacher.*{words}"):
        checked(**changes)


def test_the_teachers_sources_are_inputs_of_what_learns_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("large", "small"):
        (tmp_path / f"{name}.py").write_text("import parts\ndef make(width=1.0): ...\n")
    (tmp_path / "parts.py").write_text("")
    own = {"name": "large.py:make", "input": [3, 32, 32]}
    run = Run(checked(tmp_path, own, network=own | {"name": "small.py:make"}))

    def sources(method, experiment="student"):
        return run.train_sources(SimpleNamespace(experiment=experiment, method=method, seed="0"))

    assert sources("baseline") == ["small.py", "parts.py"]
    assert sources("lw-dna") == ["small.py", "parts.py", "large.py"]
    assert sources("teacher", "digits") == sources("lw-dna", "digits") == ["large.py", "parts.py"]
