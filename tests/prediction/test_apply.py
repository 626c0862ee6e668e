"""``lwdna apply`` does what ``evaluate`` measures, for pictures of any size and mode, or says why
not."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from running import lwdna as run

import lwdna
from lwdna.data.bicubic import imresize
from lwdna.data.folders import imagefolder
from lwdna.data.images import read_image, to_rgb, write_image
from lwdna.io.checksummed_csv import read_csv
from lwdna.networks.sealed import write_sealed
from lwdna.tasks.task import test_dataset as dataset_of
from lwdna.training.evaluation import evaluate

DENOISING = {"kind": "denoising", "sigma": 25}
ENLARGING = {"kind": "super-resolution", "scale": 4}
CLASSIFYING = {"kind": "classification", "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.2, 0.3]}
CROPPED = {**CLASSIFYING, "crop": 32, "resize": 36}
SIZES = {"gray.png": (61, 50), "colour.bmp": (47, 83), "palette.png": (64, 70)}


def draw(name, height, width, seed=0):
    """A smooth picture of a mode that its name says."""
    rng = np.random.default_rng([seed, height, width])
    small = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    modes = {"gray": lambda: picture.convert("L"), "palette": lambda: picture.quantize(60)}
    return modes.get(name.split(".")[0].split("-")[0], lambda: picture)()


@pytest.fixture
def pictures(tmp_path):
    """Three clean pictures, of different sizes and modes."""
    folder = tmp_path / "clean"
    folder.mkdir()
    for name, size in SIZES.items():
        draw(name, *size).save(folder / name)
    return folder


@pytest.fixture
def trained(tmp_path, scramble):
    """Weights of a tiny network, as if it had been trained for a task."""

    def make(task, name="trained", **options):
        network = {"denoising": "DnCNN", "super-resolution": "EDSR"}.get(task["kind"], "ResNet8")
        small = {"DnCNN": {"blocks": 2, "channels": 4}, "EDSR": {"blocks": 1, "channels": 4}}
        given = small.get(network, {"dataset": "digits", "width": 0.25})
        model = scramble(lwdna.build(network, **{**given, **options}))
        path = tmp_path / f"{name}.safetensors"
        classes = [f"class {n}" for n in range(10)] if network == "ResNet8" else None
        lwdna.save(model, path, task=task, classes=classes)
        return path

    return make


def rows_of(path):
    head, *rows = [line.split(",") for line in read_csv(path).splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def measured_by_evaluate(weights, task, folder, **how):
    return evaluate(lwdna.load(weights), dataset_of(task, folder), task=task, **how)


@pytest.mark.parametrize("tile", [(), ("--tile", "48")])
@pytest.mark.parametrize("task", [DENOISING, ENLARGING], ids=lambda task: task["kind"])
def test_restored_pictures_are_those_that_evaluate_measures(
    task, tile, pictures, trained, tmp_path
):
    weights = trained(task)
    gray = () if "scale" in task else ("--gray",)
    status, text = run(
        *("apply", weights, pictures, "--degrade", *gray, *tile, "--output", tmp_path / "out")
    )
    assert status == 0, text
    rows = rows_of(tmp_path / "out/psnr.csv")
    assert {row["image"] for row in rows} == set(SIZES)
    expected = measured_by_evaluate(weights, task, pictures)["psnr"]
    # Of tiles, a value may be rounded to the other side.
    found = np.mean([float(row["psnr_db"]) for row in rows])
    assert found == pytest.approx(expected, abs=1e-3 if tile else 1e-9)
    for name, size in SIZES.items():
        made = read_image(tmp_path / "out" / f"{name.split('.')[0]}.png")
        scale = task.get("scale", 1)
        assert made.shape[:2] == tuple(side // scale * scale for side in size)
        assert made.ndim == (3 if "scale" in task else 2)


def test_given_pictures_are_restored_as_they_are(pictures, trained, tmp_path):
    """Small pictures on the disk, compared with the large ones."""
    weights = trained(ENLARGING)
    small = tmp_path / "small"
    for path in pictures.iterdir():
        image = to_rgb(read_image(path))
        height, width = (side // 4 * 4 for side in image.shape[:2])
        write_image(small / f"{path.stem}.png", imresize(image[:height, :width], 1 / 4))
    status, text = run(
        *("apply", weights, small, "--reference", pictures, "--output", tmp_path / "out"),
        *("--convention", "sr-div2k"),
    )
    assert status == 0, text
    found = np.mean([float(row["psnr_db"]) for row in rows_of(tmp_path / "out/psnr.csv")])
    expected = measured_by_evaluate(weights, ENLARGING, pictures, convention="sr-div2k")
    assert found == pytest.approx(expected["psnr"], abs=1e-9)
    assert f"{expected['psnr']:.2f} dB, by 'sr-div2k'" in text


@pytest.mark.parametrize("task", [CLASSIFYING, CROPPED], ids=["one size", "crops"])
def test_classes_are_those_that_evaluate_measures(task, trained, tmp_path):
    weights = trained(task)
    folder = tmp_path / "classes"
    for number in range(10):
        for name, own_size in SIZES.items():
            size = own_size if "crop" in task else (32, 32)
            path = folder / f"class {number}" / f"{name.split('.')[0]}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(name, *size, seed=number).save(path)
    store = tmp_path / "test.h5"
    imagefolder(folder, store, split="test", packed="crop" not in task)
    found = sorted(folder.rglob("*.png"))
    status, text = run("apply", weights, *found, "--output", tmp_path / "out", "--top", "3")
    assert status == 0, text
    rows = rows_of(tmp_path / "out/classes.csv")
    assert len(rows) == 3 * len(found) and {row["rank"] for row in rows} == {"1", "2", "3"}
    best = {row["image"]: row["class"] for row in rows if row["rank"] == "1"}
    wrong = np.mean([best[path.name] != path.parent.name for path in found])
    expected = measured_by_evaluate(weights, task, store)["top1_error"]
    assert 100 * wrong == pytest.approx(expected)
    assert 0 < wrong < 1


REFUSED = {
    "weights that do not tell": ([], "does not say what it was trained for.* say it: --task"),
    "weights of others": ([], "is not a whole safetensors file .* converted by `lwdna import`"),
    "a tracker": ([], "is not a network saved by .* says lwdna-tracker, version 1"),
    "another task": (
        ["--task", json.dumps({"kind": "denoising", "sigma": 50})],
        "was trained for .*'sigma': 25.* leave that out",
    ),
    "colour for gray": ([], "colour.bmp' is in colour, but the network was trained on gray"),
    "a mask": ([], "mask.png' has values from 0 to 1, but the network takes the scale 0-255"),
    "two of one name": ([], "have the same name"),
    "no picture": ([], "damaged|not an image"),
    "no reference": (["--reference", "other"], "There is no picture 'palette' in the reference"),
    "another reference": (["--reference", "other.png"], "has 8 x 8 pixels, but what is restored"),
    "tiles too small": (["--tile", "16"], "Tiles of 16 pixels are too small"),
    "its own folder": (["--output", "pictures"], "would be written over"),
    "no convention": (["--convention", "sr-div2k"], "no convention 'sr-div2k'; give denoising"),
    "one in the place of another": (["--degrade"], "'palette-input.png' would be written twice"),
    "a file as folder": (["--output", "other.png"], "other.png' is a file|Not a directory"),
    "below a file": (["--output", "other.png/below"], "Cannot write 'other.png/below'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(case, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, said = REFUSED[case]
    weights = trained(DENOISING)
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw("gray", 40, 40).save(folder / "palette.png")
    write_image("other.png", np.zeros((8, 8), np.uint8))
    write_image("other/plaette.png", np.zeros((8, 8), np.uint8))
    if case == "weights that do not tell":
        lwdna.save(lwdna.build("DnCNN", blocks=2, channels=4), weights)
    elif case == "weights of others":
        torch.save(lwdna.load(weights).state_dict(), weights)
    elif case == "a tracker":
        write_sealed(weights, {"format": "lwdna-tracker", "version": 1}, {"x": torch.zeros(1)})
    elif case == "colour for gray":
        draw("colour", 40, 40).save(folder / "colour.bmp")
    elif case == "a mask":
        write_image(folder / "mask.png", np.eye(20, dtype=np.uint8))
    elif case == "two of one name":
        draw("gray", 40, 40).save(folder / "palette.bmp")
    elif case == "one in the place of another":
        draw("gray", 40, 40).save(folder / "palette-input.png")
    elif case == "no picture":
        (folder / "x.png").write_bytes(b"none")
    output = [] if "--output" in given else ["--output", "out"]
    status, text = run("apply", weights, "pictures", *given, *output)
    assert status in {1, 2}, text
    lines = [line for line in text.splitlines() if "ERROR" in line or line.startswith("Error")]
    assert len(lines) == 1 and "Traceback" not in text, text
    assert re.search(said, text), text
    assert not list(tmp_path.rglob("out/*")) and not (tmp_path / "pictures/psnr.csv").exists()


def test_a_picture_of_another_size_is_not_classified_unless_it_is_asked_for(trained, tmp_path):
    weights = trained(CLASSIFYING)
    path = tmp_path / "large.png"
    draw("colour", 50, 40).save(path)
    output = ("--output", tmp_path / "out")
    status, text = run("apply", weights, path, *output)
    assert status == 1 and "large.png' has 50 x 40 pixels, but the network takes 32 x 32" in text
    assert not list((tmp_path / "out").iterdir())
    status, text = run("apply", weights, path, *output, "--resize")
    assert status == 0 and len(rows_of(tmp_path / "out/classes.csv")) == 5


def test_weights_that_say_nothing_are_told(trained, tmp_path):
    """As those of earlier versions are."""
    weights = trained(CLASSIFYING)
    told = lwdna.Predictor.load(weights)
    silent = tmp_path / "silent.safetensors"
    model = lwdna.load(weights)
    model.provenance = type(model.provenance)(spec=model.provenance.spec)
    lwdna.save(model, silent)
    draw("gray", 32, 32).save(tmp_path / "x.png")
    names = tmp_path / "names.txt"
    output = ("--task", json.dumps(CLASSIFYING), "--output", tmp_path / "out")
    status, text = run("apply", silent, tmp_path / "x.png", *output)
    assert status == 0 and "do not name the classes" in text
    numbered = [row["class"] for row in rows_of(tmp_path / "out/classes.csv")]
    names.write_text("\n".join(f"class {number}" for number in range(10)) + "\n")
    status, text = run("apply", silent, tmp_path / "x.png", *output, "--classes", names)
    assert status == 0, text
    named = [row["class"] for row in rows_of(tmp_path / "out/classes.csv")]
    assert named == [guess.name for guess in told(tmp_path / "x.png")][:5]
    assert named == [f"class {number}" for number in numbered]
    names.write_text("one\ntwo\n")
    status, text = run("apply", silent, tmp_path / "x.png", *output, "--classes", names)
    assert status == 1 and "2 names of classes; give the names of all" in text


def test_a_picture_without_the_noise_of_the_training_is_warned_of(trained, tmp_path):
    weights = trained(DENOISING)
    draw("gray", 64, 64).save(tmp_path / "x.png")
    output = ("--output", tmp_path / "out")
    status, text = run("apply", weights, tmp_path / "x.png", *output)
    assert status == 0 and "noise looks like sigma" in text and "the network learned 25" in text
    status, text = run("apply", weights, tmp_path / "x.png", *output, "--degrade")
    assert status == 0 and "may come out badly" not in text
    noise = 25 * np.random.default_rng(0).standard_normal((64, 64))
    write_image(tmp_path / "x.png", (220 + noise).clip(0, 255).astype(np.uint8))
    status, text = run("apply", weights, tmp_path / "x.png", *output)
    assert status == 0 and "noise was cut off (" in text


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)
