"""The constants by which images are normalised: those of a store, and of the paper's data sets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from lwdna.data.classification import ClassificationTrain
from lwdna.data.folders import imagefolder_store
from lwdna.data.normalisation import normalisation_of
from lwdna.data.stores import Store
from lwdna.errors import DataError
from lwdna.steps import digits, pack

PAPER = Path(__file__).parents[2] / "config/paper.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in two classes, of which red is darker and varies less."""
    rng = np.random.default_rng(0)
    for name in ("cat/1", "cat/2", "dog/1"):
        path = tmp_path / f"images/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, (64, 128, 256), (8, 6, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "images"


def test_what_is_normalised_by_them_has_mean_0_and_standard_deviation_1(folder: Path) -> None:
    imagefolder_store(folder, folder.parent / "a.h5")
    mean, std = normalisation_of(folder.parent / "a.h5")
    assert mean[0] < mean[1] < mean[2] and std[0] < std[1] < std[2]
    images = ClassificationTrain(
        Store(folder.parent / "a.h5"), mean=mean, std=std, flip=False, seed=0
    )
    pixels = np.stack([images[0, index][0].numpy() for index in range(3)])
    assert pixels.mean((0, 2, 3)) == pytest.approx(np.zeros(3), abs=1e-5)
    assert pixels.std((0, 2, 3)) == pytest.approx(np.ones(3), abs=1e-5)


def test_images_of_one_value_have_no_spread(tmp_path: Path) -> None:
    path = tmp_path / "one/class/1.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4), (51, 102, 255)).save(path)
    imagefolder_store(tmp_path / "one", tmp_path / "a.h5")
    mean, std = normalisation_of(tmp_path / "a.h5")
    assert mean == pytest.approx([0.2, 0.4, 1]) and std == [0, 0, 0]


def test_packing_says_them_of_training_images(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = folder.parent / "a.h5"
    with caplog.at_level(logging.INFO):
        for split in ("train", "test"):
            arguments = [str(folder), "--split", split, "--output", str(output)]
            assert CliRunner().invoke(pack.main, arguments).exit_code == 0
        listed = [str(folder), "--list", "--output", str(folder.parent / "b.h5")]
        assert CliRunner().invoke(pack.main, listed).exit_code == 0
    (said,) = [r.getMessage() for r in caplog.records if "To normalise" in r.getMessage()]
    mean, std = normalisation_of(output)
    assert f"mean: [{mean[0]:.4f}, " in said and f"{std[2]:.4f}]" in said


def test_the_digits_say_them_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        paths = [str(tmp_path / f"{name}.h5") for name in ("a", "b")]
        arguments = ["--train", paths[0], "--test", paths[1], "--train-fraction", "0.05"]
        assert CliRunner().invoke(digits.main, arguments).exit_code == 0
    assert f"of '{paths[0]}': mean: [" in caplog.text


def test_a_store_that_is_damaged_is_refused(folder: Path) -> None:
    output = folder.parent / "a.h5"
    imagefolder_store(folder, output)
    content = bytearray(output.read_bytes())
    content[content.find(Store(output)[0].tobytes())] ^= 1
    output.write_bytes(bytes(content))
    with pytest.raises(DataError, match="changed since"):
        normalisation_of(output)


def test_each_data_set_of_the_paper_has_constants_of_its_own() -> None:
    experiments = yaml.safe_load(PAPER.read_text())["experiments"].values()
    constants: dict[str, set[tuple[float, ...]]] = {}
    for experiment in experiments:
        task = experiment["task"]
        if task["kind"] == "classification":
            found = constants.setdefault(experiment["train"], set())
            found.add((*task["mean"], *task["std"]))
    assert set(constants) == {"cifar10", "cifar100", "tiny-imagenet", "imagenet"}
    assert all(len(found) == 1 for found in constants.values())
    assert len(set.union(*constants.values())) == 4
    assert constants["cifar100"] == {(0.5071, 0.4865, 0.4409, 0.2673, 0.2564, 0.2762)}
