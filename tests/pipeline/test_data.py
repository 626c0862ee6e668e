"""Datasets through the workflow: downloaded, had by hand, zipped, and of images of any size."""

import csv
import hashlib
import io
import json
import multiprocessing
import re
import shutil
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import running
import yaml
from PIL import Image
from running import ROOT, TINY, lwdna, planned, snakemake


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
        # One with a checksum, one without.
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
    assert status == 0, output
    assert set(planned(output)) == {"images", "pack"}, output
    for name in server.files:
        path = project / "data" / name
        path.write_bytes(path.read_bytes() + b"x")
    status, output = snakemake(project, *TARGETS, config=config)
    assert status != 0 and "Traceback" not in output
    for name in server.files:
        assert re.search(rf"'data/{name}' has .* is expected; it is damaged or another", output)
    assert len(server.asked) == asked


def test_what_is_had_by_hand_is_asked_for(project, tmp_path):
    config = configured(tmp_path, downloading)
    status, output = snakemake(project, "results/images/set5/test", config=config)
    assert status != 0 and "'data/Set5' does not exist" in output
    assert "put the 5 images of benchmark/Set5/HR there" in output
    assert "Traceback" not in output
    status, output = snakemake(project, "-n", "results/images/set5/test", config=config)
    assert status == 0 and "Before this can run: 'data/Set5' does not exist" in output


def test_nothing_runs_before_all_images_are_there(project, tmp_path):
    config = configured(tmp_path, downloading)
    targets = ("results/images/photographs/test", "results/images/set5/test")
    status, output = snakemake(project, *targets, config=config)
    assert status != 0 and "'data/Set5' does not exist" in output and "Traceback" not in output
    assert not (project / "results").exists()
    status, output = snakemake(project, targets[0], config=config)
    assert status == 0, output


def large(folder, names=("train", "test")):
    """Images of many sizes in ten classes, two or one of each."""
    rng = np.random.default_rng(0)
    for split, count in zip(names, (2, 1), strict=True):
        for number in range(10):
            for index in range(count):
                path = folder / split / str(number) / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image(rng, *rng.integers(36, 60, 2), "JPEG"))


def test_an_image_added_to_a_class_is_noticed(tmp_path):
    large(tmp_path / "images")

    def change(config):
        config["datasets"]["large"] = {
            "kind": "imagefolder",
            "train": "images/train",
            "test": "images/test",
            "packed": False,
        }
        experiment = config["experiments"]["digits"] | {"train": "large", "test": ["large"]}
        experiment["task"] |= {"crop": 32, "resize": 36}
        del experiment["task"]["pad"]
        config["experiments"] = {"large": experiment}

    config = configured(tmp_path, change)
    target = "results/data/large/train.h5"
    status, output = snakemake(tmp_path, target, config=config)
    assert status == 0, output
    with h5py.File(tmp_path / target) as file:
        assert len(file["source"]) == 20 and "images" not in file
    assert "Nothing to be done" in snakemake(tmp_path, target, "-n", config=config)[1]
    (tmp_path / "images/train/3/new.jpg").write_bytes(image(np.random.default_rng(1), 40, 40))
    status, output = snakemake(tmp_path, target, "-n", config=config)
    assert status == 0 and set(planned(output)) == {"pack"}, output


TASK = json.dumps(
    {"kind": "classification", "mean": [0.5] * 3, "std": [0.2] * 3, "flip": True}
    | {"crop": 32, "resize": 36}
)
PROTOCOL = json.dumps(
    {"epochs": 1, "batch_size": 4, "workers": 1, "schedule": {"kind": "cosine"}}
    | {"optimizer": {"kind": "sgd", "lr": 0.1}}
)


def pack(folder, split):
    output = ("--output", folder / f"{split}.h5")
    status, said = lwdna("pack", folder / split, "--list", *output)
    assert status == 0, said


def train(folder):
    return lwdna(
        *("train", "--task", TASK, "--protocol", PROTOCOL, "--train", folder / "train.h5"),
        *("--test", folder / "test.h5", "--checkpoints", folder / "checkpoints"),
        *("--history", folder / "history.csv", "--output", folder / "weights.safetensors"),
        *("--network", '{"name": "ResNet8", "dataset": "cifar10", "width": 0.25}'),
    )


@pytest.fixture
def listed(tmp_path):
    large(tmp_path)
    for split in ("train", "test"):
        pack(tmp_path, split)
    return tmp_path


def test_training_and_tests_on_images_of_any_size(listed):
    status, output = train(listed)
    assert status == 0, output
    metrics = ("--output", listed / "metrics.csv")
    test = ("--test", "large", listed / "test.h5")
    status, output = lwdna(
        "evaluate", listed / "weights.safetensors", "--task", TASK, *test, *metrics
    )
    assert status == 0, output
    frame = pd.read_csv(listed / "metrics.csv")
    history = pd.read_csv(listed / "history.csv")
    assert frame["images"].tolist() == [10]
    assert frame["top1_error_percent"].tolist() == history["test_top1_error"].tolist()


def refused(status, output, sentence):
    """One sentence, and no process that loads data is left behind."""
    errors = [line for line in output.splitlines() if " ERROR " in line]
    assert status == 1 and len(errors) == 1 and "Traceback" not in output, output
    assert sentence in errors[0]
    assert multiprocessing.active_children() == []


def test_an_image_cut_where_only_its_pixels_tell(listed):
    path = listed / "train/3/1.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    refused(*train(listed), "3/1.jpg' is damaged or truncated")
    assert not (listed / "weights.safetensors").exists()


def test_labels_that_would_mean_other_classes(listed):
    (listed / "test/9").rename(listed / "test/a")
    pack(listed, "test")
    refused(*train(listed), "'9' is not in both")


def become(dataset, **section):
    """Make another dataset of one."""
    dataset.clear()
    dataset.update(section)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d, t: d.update(archive="a.zip"), "of kind digits takes no 'archive'"),
        (lambda d, t: d.update(kind="cifar10"), "of kind cifar10 takes no 'train_fraction'"),
        (lambda d, t: become(d, kind="cifar10"), "lacks 'archive'"),
        (lambda d, t: become(d, kind="cifar10", archive="a", train="b"), "takes no 'train'"),
        (lambda d, t: become(d, kind="images", packed=False), "takes no 'packed'"),
        (lambda d, t: t.update(crop=32), "needs 'crop' and 'resize'"),
        (lambda d, t: t.update(crop=32, resize=36), "needs either 'pad' or 'crop'"),
        (lambda d, t: (t.pop("pad"), t.update(crop=32, resize=30)), "is 30, less than the crop"),
        (
            lambda d, t: become(d, kind="imagenet", train="a", test="b"),
            "lacks 'crop', but the images of 'digits' differ in size",
        ),
    ],
)
def test_datasets_that_cannot_be_are_refused(change, sentence):
    from lwdna.config.check import check
    from lwdna.errors import ConfigError

    config = yaml.safe_load(TINY.read_text())
    dataset = config["datasets"]["digits"]
    change(dataset, config["experiments"]["digits"]["task"])
    if dataset["kind"] == "images":
        config["experiments"] = {"denoising": config["experiments"]["denoising"]}
    with pytest.raises(ConfigError, match=sentence):
        check(config, ROOT / "config/schema.yaml")
