"""A training writes into its weights all that it takes to apply them."""

import json

import numpy as np
import pytest
from running import lwdna as run

import lwdna
from lwdna.data.images import write_image
from lwdna.data.stores import Store
from lwdna.io.checksummed_csv import read_csv

TASK = {"kind": "classification", "mean": [0.3] * 3, "std": [0.3] * 3, "pad": 2, "flip": False}
PROTOCOL = {
    "epochs": 1,
    "batch_size": 30,
    "optimizer": {"kind": "sgd", "lr": 0.05},
    "schedule": {"kind": "cosine"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    data = ("--train", folder / "train.h5", "--test", folder / "test.h5")
    assert run("digits", *data, "--train-fraction", "0.05")[0] == 0
    status, text = run(
        *("train", "--network", json.dumps({"name": "ResNet8", "dataset": "digits", "width": 0.5})),
        *("--task", json.dumps(TASK), "--protocol", json.dumps(PROTOCOL), *data),
        *("--checkpoints", folder / "checkpoints", "--history", folder / "history.csv"),
        *("--seed", "4", "--description", "mine baseline 4", "--output", folder / "w.safetensors"),
    )
    assert status == 0, text
    return folder


def test_weights_say_what_they_are_for(trained):
    model = lwdna.load(trained / "w.safetensors")
    noted = model.provenance.trained
    assert noted.task == TASK and noted.classes == [str(digit) for digit in range(10)]
    assert noted.takes == {
        **{"channels": 3, "range": [0, 255], "size": [32, 32]},
        **{name: TASK[name] for name in ("mean", "std")},
    }
    source = {"by": "lwdna train", "version": lwdna.__version__, "run": "mine baseline 4"}
    images = str(trained / "train.h5")
    assert noted.source == {**source, "seed": 4, "images": images}
    status, text = run("info", trained / "w.safetensors")
    assert status == 0 and "trained for classification: mean [0.3, 0.3, 0.3]" in text
    assert "run mine baseline 4, seed 4" in text and "classes 0, 1, 2, 3" in text


def test_and_are_applied_without_another_word(trained, tmp_path):
    images = Store(trained / "test.h5")
    write_image(tmp_path / "x.png", images[7])
    arguments = ("apply", trained / "w.safetensors", tmp_path / "x.png", "--output", tmp_path)
    status, text = run(*arguments)
    assert status == 0, text
    found = read_csv(tmp_path / "classes.csv").splitlines()
    guesses = lwdna.Predictor.load(trained / "w.safetensors")(images[7])
    assert len(found) == 6 and found[1].startswith(f"x.png,1,{guesses[0].name},")
    assert np.isclose(sum(guess.probability for guess in guesses), 1)
    for option in (["--reference", tmp_path], ["--degrade"], ["--convention", "denoising"]):
        status, text = run(*arguments, *option)
        assert status == 1 and "The network classifies" in text
    status, text = run(*arguments, "--tile", "16")
    assert status == 1 and "leave --tile out" in text
