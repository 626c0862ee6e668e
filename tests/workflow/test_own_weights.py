"""Weights of the user's own, to start or learn from: what is refused, what steps are given."""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from running import ROOT, TINY
from running import lwdna as run

import lwdna
from lwdna.config.check import check
from lwdna.errors import ConfigError
from lwdna.workflow.run import TEACHER, Run

NETWORK = {"name": "ResNet8", "dataset": "digits", "width": 0.5}
TASK = {"kind": "classification", "mean": [0.3] * 3, "std": [0.3] * 3, "pad": 2, "flip": False}
PROTOCOL = {"epochs": 1, "batch_size": 30, "schedule": {"kind": "cosine"}}


def experiment(folder, **changes):
    """The checked configuration with an experiment of these changes, some weights beside it."""
    (folder / "mine.safetensors").touch()
    (folder / "theirs.pth").touch()
    config = yaml.safe_load(TINY.read_text())
    config["experiments"]["digits"] |= changes
    return check(config, ROOT / "config/schema.yaml", folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"weights": "none.safetensors"},
            "weights names the file 'none.safetensors', which is not",
        ),
        ({"weights": "theirs.pth"}, "weights is 'theirs.pth', .* convert it by `lwdna import`"),
        ({"teacher": {"weights": "theirs.pth"}}, "teacher.weights is 'theirs.pth'"),
        ({"weights": "mine.safetensors", "methods": ["lw-dna"]}, "no method trains one"),
        ({"teacher": {"weights": "mine.safetensors", "width": 2}}, "teacher"),
    ],
)
def test_what_is_refused(changes, words, tmp_path):
    with pytest.raises(ConfigError, match=f"experiments.digits.*{words}"):
        experiment(tmp_path, **changes)


def test_what_training_is_given(tmp_path):
    plain = Run(experiment(tmp_path))
    (tmp_path / "w").mkdir()
    (tmp_path / "w/teacher.safetensors").touch()
    teacher = {"weights": "w/teacher.safetensors"}
    own = Run(experiment(tmp_path, weights="mine.safetensors", teacher=teacher))

    def ask(run, method):
        about = SimpleNamespace(experiment="digits", method=method, seed="0")
        return run.initial(about), run.teacher(about), run.train_start(about)

    initial, teacher, start = ask(own, "baseline")
    assert (initial, teacher) == ("mine.safetensors", [])
    assert start == [*ask(plain, "baseline")[2], "--initial", "mine.safetensors"]
    initial, teacher, start = ask(own, "lw-dna")
    assert (initial, teacher) == ([], "w/teacher.safetensors")
    assert start[-2:] == ["--teacher", "w/teacher.safetensors"] and "--initial" not in start
    assert ask(plain, TEACHER)[0] == []


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    given = ("--train", folder / "train.h5", "--test", folder / "test.h5")
    assert run("digits", *given, "--train-fraction", "0.05")[0] == 0
    return given


def train(data, folder, *start, lr=1e-9):
    optimizer = {"optimizer": {"kind": "sgd", "lr": lr}}
    status, text = run(
        *("train", *start, "--task", json.dumps(TASK), *data),
        *("--protocol", json.dumps({**PROTOCOL, **optimizer})),
        *("--checkpoints", folder / "checkpoints", "--history", folder / "history.csv"),
        *("--output", folder / "trained.safetensors"),
    )
    return status, text


def test_training_starts_from_given_weights(data, tmp_path):
    given = lwdna.build(NETWORK["name"], dataset="digits", width=0.5)
    lwdna.save(given, tmp_path / "mine.safetensors")
    named = ("--network", json.dumps(NETWORK), "--initial", tmp_path / "mine.safetensors")
    status, text = train(data, tmp_path, *named)
    assert status == 0, text
    trained = lwdna.load(tmp_path / "trained.safetensors")
    for name, weight in given.named_parameters():
        torch.testing.assert_close(trained.get_parameter(name), weight, rtol=0, atol=1e-5)
    other = ("--network", json.dumps({**NETWORK, "width": 1}), *named[2:])
    status, text = train(data, tmp_path, *other)
    assert status == 1 and "mine.safetensors' does not fit ResNet" in text, text
    assert train(data, tmp_path, "--weights", named[3], "--initial", named[3])[0] == 2


def test_a_teacher_of_other_images_is_refused(data, tmp_path):
    lwdna.save(lwdna.build("ResNet8", dataset="cifar100"), tmp_path / "teacher.safetensors")
    named = ("--network", json.dumps(NETWORK), "--teacher", tmp_path / "teacher.safetensors")
    status, text = train(data, tmp_path, *named)
    assert status == 1 and "teacher.safetensors' cannot be learned from: ResNet8 for cifar" in text
    assert not (tmp_path / "trained.safetensors").exists()
