"""A kind of task of one's own: one class and one entry, trained and measured like the others."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from pages import block_of
from running import ROOT, TINY
from running import lwdna as command
from torch import nn

import lwdna
from lwdna.config.check import check
from lwdna.data.images import write_image
from lwdna.errors import ConfigError
from lwdna.io.hdf5 import create_store
from lwdna.networks.weights import save
from lwdna.tasks.kinds import KINDS, Reference, TaskKind
from lwdna.tasks.task import Task, task_for
from lwdna.training.evaluation import evaluate
from lwdna.training.loop import train
from lwdna.workflow import paths
from lwdna.workflow.cost import Plan
from lwdna.workflow.references import References
from lwdna.workflow.run import Run
from lwdna.workflow.snakemake import DryRun, Job
from lwdna.workflow.targets import Targets

HOME = {"__name__": __name__}
exec(block_of((ROOT / "docs/extending.md").read_text(), "lwdna/tasks/inpainting.py"), HOME)


class Inpainting(HOME["Inpainting"]):
    """As a page adds it, with a reference and a measure of its own."""

    def reference(self):
        return nn.Identity()

    def summary(self, batches):
        return {**super().summary(batches), "worst": min(v["psnr"] for _, v in batches)}


KIND = TaskKind(
    "inpainting.Inpainting",
    keys=("hole", "patch_size"),
    takes=("samples_per_epoch",),
    tables=(2,),
    measures={"psnr": "psnr_db", "ssim": "ssim", "worst": "worst_psnr_db"},
    store="gray",
    tests="images",
    restores=True,
    conventions=("denoising-whole",),
    reference=Reference("holes", "Holes", "hole", "the input, left as it is"),
)
TASK = {"kind": "inpainting", "hole": 4, "patch_size": 12, "samples_per_epoch": 7}


@pytest.fixture(autouse=True)
def one_more_kind(monkeypatch):
    monkeypatch.setitem(sys.modules, "lwdna.tasks.inpainting", sys.modules[__name__])
    monkeypatch.setitem(KINDS, "inpainting", KIND)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    shape = (3, 24, 24, 1)
    with create_store(
        tmp_path / "gray.h5", images={"images": shape}, tables={}, attributes={}
    ) as w:
        for index in range(3):
            w.put("images", index, rng.integers(0, 256, shape[1:], dtype=np.uint8))
    for name in "ab":
        pixels = rng.integers(1, 256, (20, 18, 3), dtype=np.uint8)
        write_image(tmp_path / f"images/{name}.png", pixels)
    return tmp_path


def test_it_is_trained_and_measured(folder):
    task = task_for(TASK)
    images, tests = task.train_data(folder / "gray.h5", seed=1), task.test_data(folder / "images")
    model = nn.Conv2d(1, 1, 3, padding=1)
    before = model.weight.detach().clone()
    protocol = {
        "epochs": 1,
        "batch_size": 4,
        "optimizer": {"kind": "adam", "lr": 0.01},
        "schedule": {"kind": "cosine"},
    }
    (row,) = train(
        model,
        images,
        tests,
        task=TASK,
        protocol=protocol,
        seed=1,
        checkpoint_dir=folder / "run",
        accelerator="cpu",
    )
    assert len(images) == 7 and not torch.equal(model.weight, before)
    result = evaluate(model, tests, task=TASK)
    assert row["test_psnr"] == result["psnr"] and row["test_loss"] == result["loss"]
    each = [evaluate(model, [pair], task=TASK)["psnr"] for pair in tests]
    assert result["worst"] == min(each) < result["psnr"] and result["n"] == 2
    blank = evaluate(task.reference(), tests, task=task)
    hole = [clean[:, 8:12, 7:11].sum() / clean.numel() for _, clean in tests]
    assert blank["loss"] == pytest.approx(float(sum(hole)) / 2, rel=1e-5)


def test_another_hole_is_another_training(folder):
    """Where a whole section is given, the result depends on all of it."""
    settings = {
        "protocol": {
            "epochs": 1,
            "batch_size": 7,
            "optimizer": {"kind": "sgd", "lr": 0.0001},
            "schedule": {"kind": "cosine"},
        },
        "seed": 1,
        "checkpoint_dir": folder / "run",
        "keyed": True,
        "accelerator": "cpu",
    }
    for hole in (4, 6):
        task = TASK | {"hole": hole}
        images = task_for(task).train_data(folder / "gray.h5", seed=1)
        train(nn.Conv2d(1, 1, 1), images, None, task=task, **settings)
    assert len([path for path in (folder / "run").iterdir() if path.is_dir()]) == 2


def test_a_strip_numbers_images_without_names(folder):
    save(lwdna.build("DnCNN", blocks=1, channels=2), folder / "net.safetensors")
    words = ("--weights", "Net", "net.safetensors", "--task", json.dumps(TASK), "--test", "images")
    status, said = command("strip", *words, "--image", "2", "--output", "a.svg", cwd=folder)
    assert status == 0, said
    picture = (folder / "a.svg").read_text()
    assert "whole image '2'" in picture and "<!-- Holes -->" in picture
    status, said = command("strip", *words, "--image", "3", "--output", "b.svg", cwd=folder)
    assert status == 1 and "There is no test image '3'" in said and "Traceback" not in said


def configured():
    """A configuration, and the experiment of it that learns to fill holes."""
    config = yaml.safe_load(TINY.read_text())
    experiment = config["experiments"]["denoising"]
    experiment["task"] = dict(TASK)
    return config, experiment


def test_a_configuration_and_a_run_know_it():
    """Its keys need not be described in the schema."""
    config, experiment = configured()
    run = Run(check(config))
    wildcards = type("Wildcards", (), {"experiment": "denoising"})
    assert run.train_images(wildcards) == "results/data/photographs/gray.h5"
    assert run.test_images(wildcards) == ["results/images/photographs/test"]
    assert run.first_convention(wildcards) == []
    assert "holes-hole4-denoising-whole" in References(run).settings
    del experiment["task"]["hole"]
    with pytest.raises(ConfigError, match="of kind inpainting lacks 'hole'"):
        check(config)
    experiment["task"]["hole"], experiment["tables"] = 4, [4]
    with pytest.raises(ConfigError, match="Table 4, which is for super-resolution"):
        check(config)
    experiment["tables"], experiment["task"]["whole"] = [2], 4
    with pytest.raises(ConfigError, match=r"no key 'whole' .* did you mean 'hole'"):
        check(config)


def test_without_a_table_of_the_paper_it_has_its_own(monkeypatch):
    monkeypatch.setitem(KINDS, "inpainting", replace(KIND, tables=()))
    monkeypatch.setitem(paths.TABLES, "inpainting", "inpainting")
    config, experiment = configured()
    tables = experiment.pop("tables")
    run = Run(check(config))
    assert run.experiments["denoising"]["tables"] == ["inpainting"]
    targets = Targets(run, References(run))
    wildcards = type("Wildcards", (), {"table": "inpainting"})
    assert targets.of_table(wildcards) == ["denoising"] and targets.table_paper(wildcards) == []
    assert targets.table_name(wildcards) == "inpainting"
    own = [f"results/tables/inpainting.{ending}" for ending in ("csv", "md", "html", "tex")]
    assert targets.tables()[-4:] == own and len(targets.tables()) == 36
    others = Run(check(yaml.safe_load(TINY.read_text())))
    assert not set(own) & set(Targets(others, References(others)).tables())
    experiment["tables"] = tables
    with pytest.raises(ConfigError, match="Table 2, which is for denoising;"):
        check(config)
    experiment["tables"], experiment["paper"] = ["inpainting"], {"network": "DnCNN"}
    with pytest.raises(ConfigError, match="paper cannot be: the paper has no inpainting;"):
        check(config)
    del experiment["tables"], experiment["paper"]
    experiment["task"] = {"kind": "denoising", "sigma": 70, "patch_size": 12}
    with pytest.raises(ConfigError, match="denoising lacks 'tables': denoising is shown in 2;"):
        check(config)


def test_a_plan_takes_the_size_of_the_network_where_a_task_has_no_patches():
    config = check(configured()[0])
    task, jobs = config["experiments"]["denoising"]["task"], []
    for size in (128, 64, None):
        task.pop("patch_size")
        task |= {} if size is None else {"patch_size": size}
        job = Job("evaluate", {"experiment": "denoising", "method": "baseline"})
        jobs.append(Plan(config, DryRun([job])).frame(lambda _: 1.0)["tests_hours"].max())
    assert jobs[0] > 0 and jobs == pytest.approx(3 * jobs[:1])


@pytest.mark.parametrize("hole", [0, 2.5, "big"])
def test_what_its_key_may_hold_is_its_own_to_say(folder, hole):
    with pytest.raises(ConfigError, match=f"^hole is {hole}; it must be a whole number above 0"):
        task_for(TASK | {"hole": hole}).train_data(folder / "gray.h5", seed=0)


@pytest.mark.parametrize("name", KINDS)
def test_every_home_is_there_and_follows_what_its_line_measures(name):
    home = KINDS[name].make
    assert issubclass(home, Task)
    # What follows is measured in whole videos, not by what its training tells of a batch.
    assert KINDS[name].follows or set(home.metric_names) <= set(KINDS[name].measures)
