"""Datasets through the workflow: downloaded, had by hand, zipped, and of images of any size."""

import csv
import hashlib
import io
import json
import shutil
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import running
import yaml
from PIL import Image
from running import ROOT, TINY, lwdna, snakemake


def image(rng, height, width, form="PNG"):
    """A file of noise."""
    file = io.BytesIO()
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format=form)
    return file.getvalue()


def zipped(files):
    """An archive of files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def archives():
    """Miniatures of archives that are downloaded."""
    rng = np.random.default_rng(0)
    tiny = {
        f"tiny-imagenet-200/train/n{c}/images/{i}.JPEG": image(rng, 64, 64, "JPEG")
        for c in range(3)
        for i in range(2)
    }
    tiny |= {f"tiny-imagenet-200/val/images/val_{c}.JPEG": image(rng, 64, 64) for c in range(3)}
    lines = "".join(f"val_{c}.JPEG\tn{c}\t0\t0\t1\t1\n" for c in range(3))
    tiny["tiny-imagenet-200/val/val_annotations.txt"] = lines.encode()
    photographs = {f"DIV2K_valid_HR/080{n}.png": image(rng, 48, 64) for n in range(3)}
    return {
        "tiny-imagenet-200.zip": zipped(tiny),
        "DIV2K_valid_HR.zip": zipped(photographs),
    }


@pytest.fixture
def project(tmp_path, server, monkeypatch):
    """A copy of the project whose table names the local server."""
    folder = tmp_path / "a project"
    for name in ("config", "data", "envs", "lwdna", "paper", "profiles", "report", "rules"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    server.files = archives()
    table = folder / "data/versions.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for row in rows:
        content = server.files.get(row["name"])
        if content is None:
            continue
        row["url"] = f"{server.url}/{row['name']}"
        row["bytes"] = len(content)
        # One with a check sum, one without.
        known = row["name"].startswith("tiny")
        row["checksum"] = f"md5:{hashlib.md5(content).hexdigest()}" if known else ""
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(running, "ROOT", folder)
    return folder


def configured(tmp_path, change):
    config = yaml.safe_load(TINY.read_text())
    change(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "config.yaml"


def downloading(config):
    config["datasets"] |= {
        "tiny": {"kind": "tiny-imagenet", "archive": "data/tiny-imagenet-200.zip"},
        "valid": {"kind": "images", "test": "data/DIV2K_valid_HR.zip"},
        "set5": {"kind": "images", "test": "data/Set5"},
    }


TARGETS = ("results/data/tiny/test.h5", "results/images/valid/test")


def test_what_is_not_there_is_downloaded_once_and_checked_ever_after(project, tmp_path, server):
    config = configured(tmp_path, downloading)
    server.cuts = [100]
    status, output = snakemake(project, *TARGETS, config=config)
    assert status == 0, output
    with h5py.File(project / TARGETS[0]) as file:
        assert file["labels"][()].tolist() == [0, 1, 2]
    images = sorted(path.name for path in (project / TARGETS[1]).glob("*.png"))
    assert images == [f"080{n}.png" for n in range(3)]
    for name, content in server.files.items():
        assert (project / "data" / name).read_bytes() == content
    asked = len(server.asked)
    assert asked == 3
    status, output = snakemake(project, *TARGETS, config=config)
    assert status == 0 and "Nothing to be done" in output
    # What is there is never deleted to be downloaded again, not even by force.
    status, output = snakemake(project, *TARGETS, "-n", "--forceall", config=config)
    assert status == 0 and "rule download" not in output and "rule pack" in output
    for name, target in zip(server.files, TARGETS, strict=True):
        path = project / "data" / name
        path.write_bytes(path.read_bytes() + b"x")
        status, output = snakemake(project, target, config=config)
        assert status != 0 and "is expected; it is damaged or another file" in output
    assert len(server.asked) == asked


def test_what_is_had_by_hand_is_asked_for(project, tmp_path):
    config = configured(tmp_path, downloading)
    status, output = snakemake(project, "results/images/set5/test", config=config)
    assert status != 0 and "'data/Set5' does not exist" in output
    assert "put the 5 images of benchmark/Set5/HR there" in output
    assert "Traceback" not in output


def test_images_of_any_size_from_the_folder_to_the_table(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for number in range(10):
            for index in range(count):
                path = tmp_path / f"images/{split}/class {number}/{index}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image(rng, *rng.integers(30, 60, 2), "JPEG"))

    def change(config):
        config["datasets"]["large"] = {
            "kind": "imagefolder",
            "train": "images/train",
            "test": "images/val",
            "packed": False,
        }
        experiment = config["experiments"]["digits"]
        experiment |= {"train": "large", "test": ["large"], "methods": ["baseline"], "tables": [1]}
        experiment["network"] = {"name": "ResNet8", "dataset": "cifar10", "width": 0.25}
        experiment["task"] |= {"crop": 32, "resize": 36, "flip": True}
        del experiment["task"]["pad"], experiment["teacher"]
        config["protocols"]["classification"] |= {"epochs": 1, "workers": 1}

    config = configured(tmp_path, change)
    target = "results/runs/digits/baseline/metrics.csv"
    status, output = snakemake(tmp_path, target, config=config)
    assert status == 0, output
    metrics = pd.read_csv(tmp_path / target)
    assert metrics["images"].tolist() == [10]
    assert metrics["top1_error_percent"].between(0, 100).all()
    # Another image in a class is noticed by its folder.
    (tmp_path / "images/train/class 3/new.JPEG").write_bytes(image(rng, 40, 40, "JPEG"))
    status, output = snakemake(tmp_path, target, "-n", config=config)
    assert status == 0 and "rule pack" in output and "rule train" in output


TASK = json.dumps(
    {"kind": "classification", "mean": [0.5] * 3, "std": [0.2] * 3, "flip": True}
    | {"crop": 32, "resize": 36}
)
PROTOCOL = json.dumps(
    {"epochs": 1, "batch_size": 4, "workers": 1, "schedule": {"kind": "cosine"}}
    | {"optimizer": {"kind": "sgd", "lr": 0.1}}
)


def train(folder):
    return lwdna(
        *("train", "--task", TASK, "--protocol", PROTOCOL, "--train", folder / "train.h5"),
        *("--test", folder / "test.h5", "--checkpoints", folder / "checkpoints"),
        *("--history", folder / "history.csv", "--output", folder / "weights.safetensors"),
        *("--network", '{"name": "ResNet8", "dataset": "cifar10", "width": 0.25}'),
    )


def test_faults_of_listed_images_are_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(10):
            path = tmp_path / split / f"{number}" / "1.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(image(rng, 40, 50, "JPEG"))
        output = ("--output", tmp_path / f"{split}.h5")
        assert lwdna("pack", tmp_path / split, "--list", *output)[0] == 0
    # Cut where only reading its pixels tells, in a process that loads data.
    path = tmp_path / "train/3/1.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    status, output = train(tmp_path)
    errors = [line for line in output.splitlines() if " ERROR " in line]
    assert status == 1 and len(errors) == 1 and "Traceback" not in output, output
    assert "3/1.jpg' is damaged or truncated" in errors[0]
    # Labels that would mean other classes.
    (tmp_path / "test/9").rename(tmp_path / "test/a")
    assert lwdna("pack", tmp_path / "test", "--list", "--output", tmp_path / "test.h5")[0] == 0
    status, output = train(tmp_path)
    assert status == 1 and "'9' is not in both" in output and "Traceback" not in output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d, t: d.update(archive="a.zip"), "of kind digits takes no 'archive'"),
        (lambda d, t: d.update(kind="cifar10", train_fraction=0.1), "lacks 'archive'"),
        (lambda d, t: d.update(kind="cifar10", archive="a", train="b"), "takes no 'train'"),
        (lambda d, t: d.update(kind="images", packed=False), "takes no 'packed'"),
        (lambda d, t: t.update(crop=32), "needs 'crop' and 'resize'"),
        (lambda d, t: t.update(crop=32, resize=36), "needs either 'pad' or 'crop'"),
        (lambda d, t: (t.pop("pad"), t.update(crop=32, resize=30)), "is 30, less than the crop"),
        (
            lambda d, t: d.update(kind="imagenet", train="a", test="b"),
            "lacks 'crop', but the images of 'digits' differ in size",
        ),
    ],
)
def test_datasets_that_cannot_be_are_refused(change, sentence):
    from lwdna.config import check
    from lwdna.errors import ConfigError

    config = yaml.safe_load(TINY.read_text())
    dataset = config["datasets"]["digits"]
    change(dataset, config["experiments"]["digits"]["task"])
    if dataset["kind"] == "images":
        config["experiments"] = {"denoising": config["experiments"]["denoising"]}
    with pytest.raises(ConfigError, match=sentence):
        check(config, ROOT / "config/schema.yaml")
