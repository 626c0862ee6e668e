"""A network of the user's own in an experiment: what is refused, and what the steps are given."""

import json
from types import SimpleNamespace

import pytest
import yaml
from running import ROOT, TINY

from lwdna.config.check import check
from lwdna.config.methods import TEACHER
from lwdna.errors import ConfigError
from lwdna.workflow.run import Run
from lwdna.workflow.targets import Targets

SOURCE = """
raise SystemExit("this file was imported")
def wide(classes, width=1.0): ...
def narrow(classes=10): ...
"""
OWN = {"name": "net.py:wide", "input": [3, 32, 32], "options": {"classes": 10}}


def experiment(tmp_path, network, **changes):
    """The checked section of an experiment, and the configuration that it is in."""
    (tmp_path / "net.py").write_text(SOURCE)
    config = yaml.safe_load(TINY.read_text())
    section = config["experiments"]["digits"]
    section["network"] = network
    for key, value in changes.items():
        section[key] = value
    checked = check(config, ROOT / "config/schema.yaml", tmp_path)
    return checked["experiments"]["digits"], checked


def without(key, **changes):
    return {k: v for k, v in (OWN | changes).items() if k != key}


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        (without("input"), {}, r"network lacks 'input', .* such as \[3, 32, 32\]"),
        (OWN | {"input": [32, 32]}, {}, "network.input"),
        (OWN | {"dataset": "digits"}, {}, "'net.py:wide' is your own; leave it out"),
        (OWN | {"name": "nte.py:wide"}, {}, "There is no file 'nte.py'"),
        (OWN | {"name": "net.py:wdie"}, {}, "has no function 'wdie'; did you mean 'wide'"),
        (OWN | {"name": "net.py"}, {}, "does not say which function"),
        (without("options"), {}, r"it is wide\(classes, width=1.0\) \(missing a required"),
        (OWN | {"options": {"classes": 3, "deep": 2}}, {}, "unexpected keyword argument 'deep'"),
        (
            OWN | {"options": {"classes": 3, "width": 3}},
            {},
            "options has 'width', a key of the network",
        ),
        (
            OWN | {"name": "net.py:narrow", "width": 0.5},
            {},
            "digits.network.width is 0.5, but 'net.py:narrow' has no argument 'width', so that it "
            "can only be made wider",
        ),
        (OWN | {"name": "net.py:narrow"}, {"teacher": {"width": 0.5}}, "teacher.width is 0.5"),
        (
            OWN | {"name": "net.py:narrow"},
            {"shrink": {"widen": 0.5, "flops_ratio": 0.9}},
            "shrink.widen",
        ),
    ],
)
def test_refused_before_anything_is_imported(tmp_path, network, changes, words):
    with pytest.raises(ConfigError, match=words):
        experiment(tmp_path, network, **changes)


def test_without_a_width_it_is_widened_all_the_same(tmp_path):
    for name in ("net.py:narrow", "net.py:wide"):
        section, _ = experiment(tmp_path, OWN | {"name": name}, shrink={"flops_ratio": 0.9})
        assert section["shrink"]["widen"] == section["teacher"]["width"] == 2


def test_what_steps_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section, config = experiment(tmp_path, OWN)
    assert section["label"] == "wide"
    run = Run(config)

    def of(method):
        return SimpleNamespace(experiment="digits", method=method, seed="0", shrinkage=method)

    own = ["--network", "net.py:wide", "--input", "1x3x32x32"]
    assert run.wide_network(of("lw-dna"))[-2:] == own[2:]
    shown = SimpleNamespace(test=["x.h5"])
    assert run.test_sets(of("lw-dna"), shown) == ["--test", "digits", "x.h5", *own]
    start = run.train_start(of("lw-dna"))
    assert start[:1] + start[2:4] == ["--weights", *own[:2]]
    assert start[-2:] == ["--teacher-network", "net.py:wide"]
    start = run.train_start(of("baseline"))
    assert json.loads(start[1]) == OWN | {"width": 1} and len(start) == 2
    assert run.own_sources(of("lw-dna")) == ["net.py"]
    assert Targets(run, None).strip_titles(of("lw-dna"))[-2:] == own[:2]


@pytest.mark.parametrize("groups", [None, "whole", "positions"])
def test_a_teacher_is_widened_as_the_network_that_is_shrunk(tmp_path, groups):
    shrink = {"flops_ratio": 0.9} | ({"groups": groups} if groups else {})
    _, config = experiment(tmp_path, OWN | {"name": "net.py:narrow"}, shrink=shrink)
    run = Run(config)
    teacher = SimpleNamespace(experiment="digits", method=TEACHER, seed="0")
    network = json.loads(run.train_start(teacher)[1])
    assert network["width"] == 2 and network["input"] == [3, 32, 32]
    assert network.get("groups", "whole") == (groups or "whole")
    words = run.shrink_options(SimpleNamespace(experiment="digits", shrinkage="lw-dna"))
    # Without a word, so that what was shrunk before there were two ways is not shrunk again.
    assert ("--groups" in words) == (groups is not None)


def test_a_network_by_its_name_has_no_sources(tmp_path):
    config = check(yaml.safe_load(TINY.read_text()), ROOT / "config/schema.yaml")
    wildcards = SimpleNamespace(experiment="digits", method="lw-dna", seed="0")
    assert Run(config).own_sources(wildcards) == Run(config).own_network(wildcards) == []
