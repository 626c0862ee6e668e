"""A new kind of dataset is one file and one line, for labelled images and for others."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from pages import with_line
from running import ROOT, TINY, copy_project, lwdna

from lwdna.config.check import check
from lwdna.data.catalog import DATASET_KINDS
from lwdna.data.images import find_images
from lwdna.data.stores import Store
from lwdna.errors import ConfigError

PAGE = (ROOT / "docs/datasets.md").read_text().split("## A kind of your own")[1].split("\n## ")[0]
ARRAYS, ARRAYS_LINE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
"""Labelled images, as the page says to teach them."""

NOISE = '''"""Images of noise."""
import numpy as np
from lwdna.data.images import write_image

def lay_out(source, output, *, split, seed, count):
    """Write some images, others for another seed or split."""
    draw = np.random.default_rng([seed, split == "test"])
    for index in range(count):
        image = draw.integers(0, 256, (100, 96, 3), dtype=np.uint8)
        write_image(output / f"{index}.png", image)
'''
NOISE_LINE = """\
    "noise": DatasetKind("noise:lay_out", "", "generated", "images", needs=("count", "seed")),
"""
SHUFFLED = {
    "kind": "noise",
    "seed": 3,
    "count": 2,
    "crop": {"size": 96, "step": 80, "threshold": 12},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with two more kinds of datasets, and a configuration with both."""
    copy = tmp_path_factory.mktemp("project")
    copy_project(copy)
    (copy / "lwdna/data/arrays.py").write_text(ARRAYS)
    (copy / "lwdna/data/noise.py").write_text(NOISE)
    catalog = copy / "lwdna/data/catalog.py"
    lines = ARRAYS_LINE + NOISE_LINE
    catalog.write_text(with_line(catalog.read_text(), "DATASET_KINDS", lines))
    config = yaml.safe_load(TINY.read_text())
    config["datasets"] = {
        "digits": {"kind": "arrays", "train": "my arrays/train", "test": "my arrays/test"},
        "photographs": SHUFFLED,
    }
    del config["experiments"]["super-resolution"]
    (copy / "mine.yaml").write_text(yaml.safe_dump(config))
    for split, count in (("train", 2), ("test", 1)):
        for label, name in enumerate(("dark", "light")):
            (copy / f"my arrays/{split}/{name}").mkdir(parents=True)
            for index in range(count):
                pixels = np.full((32, 32, 3), 200 * label + index, np.uint8)
                np.save(copy / f"my arrays/{split}/{name}/{index}.npy", pixels)
    return copy


def run(project, *words):
    """Run a module in the copy, and return what it printed."""
    env = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        check=False,
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_rules_need_no_change_for_a_new_kind(project):
    status, said = run(project, "snakemake", "-n", "-p", "--configfile", "mine.yaml")
    assert status == 0, said
    commands = [line.split(" -m lwdna ")[1] for line in said.splitlines() if " -m lwdna " in line]
    for split in ("train", "test"):
        assert (
            f"--log results/logs/pack/digits-{split}.log pack --kind arrays --split {split} "
            f"--output results/data/digits/{split}.h5 -- 'my arrays/{split}'"
        ) in commands
        assert (
            f"--log results/logs/images/photographs-{split}.log images "
            f"--output results/images/photographs/{split} --kind noise --split {split} "
            """--options '{"count": 2, "seed": 3}'"""
        ) in commands
    status, said = run(project, "lwdna", "plan", "--configfile", "mine.yaml")
    assert status == 0 and "not known of digits, photographs" in said, said


def test_a_new_kind_of_labelled_images_is_packed(project):
    words = ("--kind", "arrays", "--output", "a.h5", "--", "my arrays/train")
    status, said = run(project, "lwdna", "pack", *words)
    assert status == 0 and "To normalise the images" in said, said
    store = Store(project / "a.h5")
    assert store.labels.tolist() == [0, 0, 1, 1] and list(store.classes) == ["dark", "light"]
    assert [int(store[index].max()) for index in range(4)] == [0, 1, 200, 201]
    store.close()
    status, said = run(project, "lwdna", "pack", "--list", *words)
    assert status == 1 and "Images of kind arrays are always packed" in said


def test_a_new_kind_of_other_images_is_laid_out(project):
    words = ("lwdna", "images", "--kind", "noise", "--output", "noise")
    status, said = run(project, *words, "--options", '{"seed": 3, "count": 3}')
    assert status == 0, said
    assert [path.name for path in find_images(project / "noise")] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("pack", "--kind", "digits", "data"),
            "kind digits is made of nothing, but given was data",
        ),
        (("pack", "--kind", "digits"), "lacks 'train_fraction'"),
        (("pack", "--kind", "digits", "--options", '{"seed": "x"}'), "has 'x' at seed"),
        (("pack", "--options", '{"seed": 1}', "data"), "kind imagefolder takes no 'seed'"),
        (("pack",), "made of one folder or archive, but given was nothing"),
        (("images",), "kind photographs is made of the names of images, but given was nothing"),
        (("images", "--folder", "a", "b"), "one folder or archive, but given was a b"),
    ],
)
def test_what_a_kind_is_not_made_of_is_refused(tmp_path, words, sentence):
    status, said = lwdna(words[0], "--output", "made", *words[1:], cwd=tmp_path)
    assert status == 1 and sentence in said and "Traceback" not in said, said
    assert list(tmp_path.iterdir()) == []


def tiny(**dataset):
    config = yaml.safe_load(TINY.read_text())
    config["datasets"]["digits"] = dataset
    return config


@pytest.mark.parametrize(
    ("dataset", "key"),
    [
        ({"kind": "imagefolder", "train": "a", "test": "b", "train_fraction": 0.1}, "fraction"),
        ({"kind": "digits", "train_fraction": 0.1, "crop": SHUFFLED["crop"]}, "crop"),
        ({"kind": "tiny-imagenet", "archive": "a.zip", "packed": False}, "packed"),
    ],
)
def test_a_key_of_another_kind_is_refused(dataset, key):
    with pytest.raises(ConfigError, match=f"of kind {dataset['kind']} takes no '.*{key}'"):
        check(tiny(**dataset))


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="did you mean 'imagefolder'"):
        check(tiny(kind="imagefoldr"))


@pytest.mark.parametrize("name", DATASET_KINDS)
def test_every_home_is_there(name):
    assert callable(DATASET_KINDS[name].make)
