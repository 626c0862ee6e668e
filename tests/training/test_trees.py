"""Inputs, targets and outputs that are trees of tensors, and groups of parameters."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from lwdna.errors import ConfigError, DataError
from lwdna.io.tensors import digest
from lwdna.tasks import kinds
from lwdna.tasks.task import Task, task_for
from lwdna.tasks.trees import batch_length, call, every, leaves, mapped
from lwdna.training.devices import make_fabric
from lwdna.training.loop import train
from lwdna.training.protocol import Protocol, set_rate
from lwdna.training.sampler import batch_losses
from lwdna.training.step import Learner

Pair = namedtuple("Pair", ["first", "second"])
PROTOCOL = {
    "epochs": 2,
    "batch_size": 6,
    "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9},
    "schedule": {"kind": "step", "milestones": [1], "gamma": 0.1},
}


def test_a_tree_keeps_its_shape():
    one, two = torch.arange(4.0), torch.arange(8.0).reshape(4, 2)
    tree = {"a": (one, [two]), "b": Pair(one, "a name"), "c": None}
    doubled = mapped(lambda x: 2 * x, tree)
    assert isinstance(doubled["b"], Pair) and doubled["b"].second == "a name"
    assert torch.equal(doubled["a"][1][0], 2 * two) and doubled["c"] is None
    assert [leaf.shape for leaf in leaves(tree)] == [(4,), (4, 2), (4,)]
    assert batch_length(tree) == 4
    assert every(tree, 1, 3)["b"].first.tolist() == [1]
    with pytest.raises(DataError, match=r"lengths \[3, 4\]"):
        batch_length([one, torch.zeros(3)])
    with pytest.raises(DataError, match=r"lengths \[\]"):
        batch_length({"a": None})


def test_a_network_takes_arguments_and_keywords():
    class Both(nn.Module):
        def forward(self, template, search):
            return template - search

    one, two = torch.ones(2), torch.full((2,), 3.0)
    assert call(Both(), [one, two]).tolist() == [-2, -2]
    assert call(Both(), {"search": one, "template": two}).tolist() == [2, 2]
    assert call(nn.Identity(), one) is one


class Images(torch.utils.data.Dataset):
    """Images and labels; as trees, (template, search) and {"class", "weight"}."""

    def __init__(self, nested):
        generator = torch.Generator().manual_seed(5)
        self.images = torch.randn(13, 3, 4, 4, generator=generator)
        self.labels = torch.randint(0, 4, (13,), generator=generator).tolist()
        self.nested = nested

    def __len__(self):
        return 13

    def __getitem__(self, key):
        index = key[1] if isinstance(key, tuple) else key
        image, label = self.images[index], self.labels[index]
        if not self.nested:
            return image, label
        return (image, torch.tensor([float(index)])), {"class": label, "weight": 1.0}


class Network(nn.Module):
    """Takes one image, or an image and a number; gives logits, or a dictionary of them."""

    def __init__(self, nested):
        super().__init__()
        self.nested = nested
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
            self.head = nn.Linear(20, 4)

    def forward(self, image, *others):
        logits = self.head(self.backbone(image).flatten(1))
        return {"logits": logits, "others": others} if self.nested else logits


@dataclass(frozen=True)
class Nested(Task):
    """Classification, in trees."""

    metric_names = ("top1_error", "top5_error")

    def plain(self):
        return task_for("classification")

    def loss(self, output, target, teacher_output=None):
        return functional.cross_entropy(output["logits"], target["class"])

    def metrics(self, output, target):
        assert len(target["weight"]) == len(output["others"][0])
        assert not output["logits"].requires_grad
        return self.plain().metrics(output["logits"], target["class"])

    def evaluate_batch(self, model, inputs, targets, **options):
        output = call(model, inputs)
        sums = {name: float(value) for name, value in self.metrics(output, targets).items()}
        return {**sums, "loss": float(self.loss(output, targets)) * batch_length(inputs)}

    def train_data(self, path, *, seed):
        raise NotImplementedError

    test_data = random_batch = train_data


@pytest.fixture
def nested_kind(monkeypatch):
    about = kinds.KINDS["classification"]
    known = type("Known", (), {**vars(about), "make": Nested})()
    monkeypatch.setitem(kinds.KINDS, "nested", known)


@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2}, {"channels_last": True}, {"precision": "bf16-mixed"}]
)
def test_trees_are_trained_to_the_bits_of_plain_tensors(tmp_path, nested_kind, changes):
    found = []
    for kind, nested in (("classification", False), ("nested", True)):
        model, data = Network(nested), Images(nested)
        rows = train(
            model,
            data,
            data,
            task=kind,
            protocol=PROTOCOL | changes,
            seed=3,
            checkpoint_dir=tmp_path / kind,
            accelerator="cpu",
        )
        loss = float(batch_losses(kind, data, 4, 1)(model).detach())
        found.append((digest(model.state_dict()), rows, loss))
    assert found[0] == found[1]
    assert found[0][1][-1]["test_top1_error"] is not None


def learner(**changes):
    protocol = Protocol.read(PROTOCOL | changes)
    model = Network(nested=False)
    return Learner(make_fabric("cpu", 1, "32-true"), protocol, task_for("classification"), model)


def moved(learner, rate):
    """How far a first step takes each parameter."""
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    set_rate(learner.optimizer, rate)
    data = Images(nested=False)
    learner.step(data.images, torch.tensor(data.labels), len(data))
    return {name: p.detach() - before[name] for name, p in learner.model.named_parameters()}


def test_groups_have_rates_of_their_own():
    groups = [{"parameters": "backbone.1.*", "lr": 0}, {"parameters": "backbone.*", "lr": 0.25}]
    plain, own = moved(learner(), 0.5), moved(learner(groups=groups), 0.5)
    for name, step in plain.items():
        factor = 1.0 if name.startswith("head") else 0.0 if ".1." in name else 0.25
        torch.testing.assert_close(own[name], factor * step, rtol=1e-4, atol=1e-7)
        assert step.abs().sum() > 0


@pytest.mark.parametrize("groups", [[], [{"parameters": "backbone.*", "lr": 0.25}]])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_frozen_parameters_stay(kind, groups):
    """Not even weight decay moves them, and the optimiser keeps nothing of them."""
    optimizer = {"kind": kind, "lr": 0.05, "weight_decay": 0.5}
    if kind == "sgd":
        optimizer["momentum"] = 0.9
    made = learner(groups=groups, optimizer=optimizer)
    made.model.backbone.requires_grad_(False)
    steps = moved(made, 0.5)
    assert [name for name, step in steps.items() if step.any()] == ["head.weight", "head.bias"]
    kept = {id(parameter) for parameter in made.optimizer.state}
    assert kept == {id(made.model.head.weight), id(made.model.head.bias)}


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_training_in_groups_goes_on_to_the_same_bits(tmp_path, kind):
    """The state of the optimiser finds its parameters again, whose order the groups change."""
    settings = {
        "task": "classification",
        "protocol": PROTOCOL
        | {
            "optimizer": {"kind": kind, "lr": 0.01},
            "groups": [{"parameters": "head.*", "lr": 3}],
            "checkpoint_minutes": 0,
        },
        "seed": 3,
        "accelerator": "cpu",
    }
    if kind == "sgd":
        settings["protocol"]["optimizer"]["momentum"] = 0.9

    class Broken(Images):
        asked = 0

        def __getitem__(self, key):
            self.asked += 1
            if self.asked > 20:  # in the second epoch
                raise RuntimeError("killed")
            return super().__getitem__(key)

    whole, parts = Network(nested=False), Network(nested=False)
    rows = train(whole, Images(False), None, checkpoint_dir=tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="killed"):
        train(parts, Broken(False), None, checkpoint_dir=tmp_path / "parts", **settings)
    again = Network(nested=False)
    assert train(again, Images(False), None, checkpoint_dir=tmp_path / "parts", **settings) == rows
    assert digest(again.state_dict()) == digest(whole.state_dict())
    assert rows[0]["lr"] == 0.01


def test_no_groups_are_no_other_training():
    plain, none = (Protocol.read(PROTOCOL | changes) for changes in ({}, {"groups": []}))
    assert plain.science(with_teacher=False) == none.science(with_teacher=False)
    assert "groups" not in plain.science(with_teacher=True)
    groups = [{"parameters": "head.*", "lr": 2}]
    some = Protocol.read(PROTOCOL | {"groups": groups})
    assert some.science(with_teacher=False)["groups"] == groups


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ([{"parameters": "neck.*", "lr": 1}], r"'neck\.\*' .* has no parameter .* backbone\.0"),
        (
            [{"parameters": "head.*", "lr": 1}, {"parameters": "head.bias", "lr": 2}],
            "no earlier group has",
        ),
        ([{"parameters": "head.*", "lr": -1}], "'head.*' .* is -1; it must be a finite"),
        ([{"parameters": "head.*", "rate": 1}], "must have 'parameters'"),
    ],
)
def test_groups_that_cannot_be(groups, sentence):
    with pytest.raises(ConfigError, match=sentence):
        learner(groups=groups)
