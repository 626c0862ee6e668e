"""Names with spaces, quotes, newlines and more: they work, or are refused with a sentence."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from running import ROOT, TINY, lwdna, snakemake

HARM = "$(touch harm) `touch harm` ; touch harm & | > harm '\" \\ {x} {} %s *?[a]~#! \t é漢"
"""What a shell, a format string, a pattern or a path could take for something else."""


def config_with(change):
    config = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    change(config)
    return config


def run(folder, config, *arguments):
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return snakemake(folder, *arguments, config=path)


def unharmed(*folders):
    return not [path for folder in folders for path in folder.rglob("harm")]


@pytest.mark.parametrize("key", ["a b", "a'b", "a\nb", "$(touch harm)", "-a", "é", "..", "a" * 101])
@pytest.mark.parametrize("section", ["datasets", "protocols", "experiments"])
def test_keys_that_become_paths_are_plain(section, key):
    from lwdna.config.check import check
    from lwdna.errors import ConfigError

    config = config_with(lambda c: c[section].update({key: {}}))
    with pytest.raises(ConfigError, match=rf"has the name .* at {section}; give text of letters"):
        check(config, ROOT / "config/schema.yaml")


def photograph(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")


NAMES = [
    "$(touch harm).png",
    "a b'c\"d.png",
    "new\nline.png",
    "-n.png",
    "{x}.png",
    "é漢.png",
    "`touch harm`.png",
    f"{'l' * 240}.png",
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The code in a folder whose name is a trap for shells."""
    folder = tmp_path_factory.mktemp("c") / "$(touch harm) a'b\"c `touch harm`\n-é"
    left_out = shutil.ignore_patterns(".*", "results", "tests", "__pycache__", "docs")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


def test_a_run_in_odd_folders_with_odd_labels_and_images(tmp_path, clone):
    """The code, the working directory, the data sets, the images, labels and the scale."""
    folder = tmp_path / HARM.replace("/", "") / "new\nline"
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        photograph(folder / "-my $(touch harm) images'" / name, seed)
        photograph(folder / "classes; touch harm" / f"-{seed} $(touch harm)\n" / name, seed)
    crop = {"size": 32, "step": 32, "threshold": 4}
    odd = {"kind": "images", "train": "-my $(touch harm) images'", "crop": crop}
    classes = {"kind": "imagefolder", "train": "classes; touch harm"}
    config = config_with(lambda c: c["datasets"].update(odd=odd, classes=classes))
    (folder / "c $(touch harm).yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", clone / "Snakefile"]
    command += ["--configfile", folder / "c $(touch harm).yaml", "--directory", folder]
    command += ["--workflow-profile", clone / "profiles/default", "--cores", "2", "--"]
    targets = ["results/data/odd/gray.h5", "results/data/classes/train.h5"]
    done = subprocess.run(
        [*command, *targets], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert unharmed(tmp_path, clone.parent)
    from lwdna.data.stores import Store

    assert set(Store(folder / targets[0]).sources()) == set(NAMES)
    assert len(Store(folder / targets[1]).classes) == len(NAMES)


def test_a_clone_that_cannot_work_says_so(tmp_path, clone):
    shutil.copytree(clone, tmp_path / "a:b")
    clone = tmp_path / "a:b"
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", clone / "Snakefile"]
    done = subprocess.run(
        [*command, "--directory", tmp_path, "--workflow-profile", "none", "--cores", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "colon or a brace" in said and "Traceback" not in said, said


def test_make_in_an_odd_folder(tmp_path):
    """What make would run, with a stand-in for Python and for the environment."""
    clone = tmp_path / "$(touch harm) `touch harm`"
    (clone / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, clone)
    for name in ("snakemake", "python"):
        program = clone / ".venv/bin" / name
        program.write_text('#!/bin/sh\necho "$@" >> called\n')
        program.chmod(0o755)
    (clone / ".venv/ready").touch()
    done = subprocess.run(
        ["make", "-C", clone, "complexity"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "complexity_columns" in (clone / "called").read_text() and unharmed(tmp_path)


def test_image_names_that_are_no_text_are_refused(tmp_path):
    try:
        photograph(tmp_path / os.fsdecode(b"\xff.png"), 0)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    status, output = lwdna(
        *("crop", tmp_path, "--output", tmp_path / "x.h5"),
        *("--size", 32, "--step", 32, "--threshold", 4),
    )
    assert status == 1 and "is not UTF-8; rename it" in output and "Traceback" not in output
