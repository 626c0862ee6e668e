"""Tracking as a task of the training loop: what is learned, measured, and gone on with."""

from copy import deepcopy
from dataclasses import asdict

import pytest
import torch
from conftest import small_settings

import lwdna
from lwdna.data.sequence_sets import lay_out
from lwdna.errors import ConfigError
from lwdna.io.tensors import digest
from lwdna.tasks.task import task_for
from lwdna.tasks.trees import every, mapped
from lwdna.tracking.dimp import load
from lwdna.training.loop import train

SECTION = {
    "kind": "tracking",
    "tracker": asdict(small_settings(channels=8)),
    "samples_per_epoch": 5,
    "test_samples": 3,
}
MOTION = {
    "layout": "synthetic",
    "videos": 3,
    "motion": {"frames": 24, "height": 80, "width": 100, "smallest": 12.0, "largest": 20.0},
}
TRAINED, TESTED = ["chelsea", "china", "rocket"], ["camera", "coffee"]
PROTOCOL = {
    "epochs": 2,
    "batch_size": 2,
    "optimizer": {"kind": "adam", "lr": 1e-3},
    "groups": [{"parameters": "backbone.*", "lr": 0.1}],
    "schedule": {"kind": "step", "milestones": [1], "gamma": 0.2},
    "checkpoint_minutes": 0,
}


@pytest.fixture
def videos(tmp_path):
    """The path of a listing of motion over photographs, by their names."""

    def listing(*names):
        path = tmp_path / f"{'-'.join(names)}.json"
        lay_out([{**MOTION, "photographs": names}], path, split="train")
        return path

    return listing


def network():
    torch.manual_seed(0)
    backbone = lwdna.build("ResNet14", width=0.5)
    return lwdna.tracking.build(backbone, **SECTION["tracker"])


def test_a_training_that_was_killed_goes_on_to_the_same_bits(videos, tmp_path):
    task = task_for(SECTION)
    data = task.train_data(videos(*TRAINED), seed=4)
    tests = task.test_data(videos(*TESTED), seed=5)
    run = {"task": SECTION, "protocol": PROTOCOL, "seed": 3, "accelerator": "cpu"}
    whole, parts, again = network(), network(), network()
    start = digest(whole.state_dict())
    rows = train(whole, data, tests, checkpoint_dir=tmp_path / "whole", **run)
    assert rows[1]["test_found"] is not None and rows[1]["test_iou_error"] > 0

    class Broken(type(data)):
        def __getitem__(self, at):
            if at[0] == 1:
                raise RuntimeError("killed")
            return super().__getitem__(at)

    broken = task.train_data(videos(*TRAINED), seed=4)
    broken.__class__ = Broken
    with pytest.raises(RuntimeError, match="killed"):
        train(parts, broken, tests, checkpoint_dir=tmp_path / "parts", **run)
    assert train(again, data, tests, checkpoint_dir=tmp_path / "parts", **run) == rows
    assert digest(again.state_dict()) == digest(whole.state_dict()) != start


def test_samples_are_a_function_of_seed_epoch_and_index(videos):
    task, path = task_for(SECTION), videos(*TRAINED)
    one, two = (task.train_data(path, seed=4) for _ in range(2))
    for data in (one, two):
        assert len(data) == 5
    same = [torch.equal(a, b) for a, b in zip(one[1, 2][0], two[1, 2][0], strict=True)]
    assert all(same)
    assert not torch.equal(one[1, 2][0].train_images, one[0, 2][0].train_images)
    tests = task.test_data(path, seed=4)
    assert len(tests) == 3
    assert torch.equal(tests[1][0].test_images, one[0, 1][0].test_images)


def test_the_section_says_how_samples_are_made(videos):
    section = SECTION | {"sampling": {"train_frames": 2, "test_frames": 1, "proposals": 4}}
    inputs, target = task_for(section).train_data(videos(*TRAINED), seed=4)[0, 0]
    assert [len(part) for part in inputs] == [2, 2, 1, 1]
    assert target["iou"].shape == (1, 4)
    with pytest.raises(ConfigError, match="no setting 'frames'"):
        task_for(SECTION | {"sampling": {"frames": 2}}).train_data(videos(*TRAINED), seed=4)


def test_measures_of_what_is_known():
    """A peak at the object in one of two test frames, and proposals judged 0.1 too well."""
    task = task_for(SECTION)
    boxes = torch.tensor([[[20.0, 30, 12, 8], [50, 40, 8, 12]]])
    places = network().places(boxes).round().long()[0]
    scores = torch.zeros(1, 6, 2, 19, 19)
    (x, y), (u, v) = places.tolist()
    scores[0, -1, 0, y, x] = 1
    scores[0, -1, 1, v - 6, u] = 1
    iou = torch.full((1, 2, 4), 0.5)
    output = {"scores": scores, "iou": 2 * (iou + 0.1) - 1, "stride": torch.tensor([4.0])}
    found = task.metrics(output, {"boxes": boxes, "iou": iou})
    assert found["found"].item() == 50
    assert found["iou_error"].item() == pytest.approx(0.1, abs=1e-6)


def test_a_batch_without_a_meaning_is_learned_from():
    task = task_for(SECTION)
    inputs, target = task.random_batch({}, 4, (1, 3, 72, 72))
    model = network()
    loss = task.loss(model(*inputs), target)
    loss.backward()
    assert torch.isfinite(loss)
    half = mapped(torch.Tensor.detach, every(model(*inputs), 0, 2))
    assert half["scores"].shape == (2, 6, 3, 19, 19)


def test_networks_that_do_not_fit():
    task = task_for(SECTION)
    task.check_fits(network(), None, None)
    with pytest.raises(ConfigError, match=r"ResNet is none; make one by lwdna\.tracking\.build"):
        task.check_fits(lwdna.build("ResNet14"), None, None)
    other = task_for(SECTION | {"tracker": asdict(small_settings(channels=16))})
    with pytest.raises(ConfigError, match="has 8 as its 'channels', and the task 16"):
        other.check_fits(network(), None, None)


def test_photographs_that_are_trained_on(videos):
    task = task_for(SECTION)
    train_data = task.train_data(videos(*TRAINED), seed=0)
    task.check_tests(train_data, task.test_data(videos(*TESTED)))
    with pytest.raises(ConfigError, match="photograph 'china' is trained on"):
        task.check_tests(train_data, task.test_data(videos("coffee", "china")))


def test_a_tracker_is_made_on_a_trained_backbone(tmp_path):
    task = task_for(SECTION)
    backbone = lwdna.build("ResNet14", width=0.5)
    weights = digest(backbone.state_dict())
    one, two, other = (task.model_on(deepcopy(backbone), seed=s) for s in (1, 1, 2))
    assert digest(one.state_dict()) == digest(two.state_dict()) != digest(other.state_dict())
    assert digest(other.backbone.network.state_dict()) == weights
    task.write(one, tmp_path / "tracker.safetensors")
    read = load(tmp_path / "tracker.safetensors")
    assert digest(read.state_dict()) == digest(one.state_dict())


def test_a_task_that_trains_networks_has_no_backbone():
    with pytest.raises(ConfigError, match="'denoising' trains no model on a backbone"):
        task_for({"kind": "denoising"}).model_on(network(), seed=0)
