"""Kills at bad moments and bad input: recovered to the same bits, or refused in one sentence."""

import os
import re
import shutil
import signal
import time

import h5py
import numpy as np
import pytest
import yaml
from damage import needs_mount, small_disk
from PIL import Image
from running import ROOT, TINY, finish, lwdna, snakemake, start

from lwdna.config.check import check
from lwdna.errors import ConfigError

TASK = '{"kind": "denoising", "sigma": 70, "patch_size": 16, "samples_per_epoch": 16}'
PROTOCOL = (
    '{"epochs": 1, "batch_size": 8, "optimizer": {"kind": "adam", "lr": 0.001},'
    ' "schedule": {"kind": "cosine"}}'
)


def contents(folder, patterns):
    """Names and bytes of the files of a run that must not depend on what happened on the way."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in patterns
        for path in folder.glob(pattern)
    }


KILLS = {
    # What is removed from a finished run, what is then asked for, and at the sight of which
    # half-done file everything is killed.
    "crop": (
        "data/photographs/colour.h5",
        "data/photographs/colour.h5",
        "data/photographs/.colour.*.tmp.h5",
    ),
    "gray store": (
        "data/photographs/gray.h5",
        "data/photographs/gray.h5",
        "data/photographs/.gray.*.tmp.h5",
    ),
    "training epoch": (
        "[rc]*/digits/baseline/seed0",
        "runs/digits/baseline/seed0/weights.safetensors",
        "checkpoints/digits/baseline/seed0/*/checkpoint.safetensors",
    ),
    "checkpoint write": (
        "[rc]*/denoising/lw-dna/seed0",
        "runs/denoising/lw-dna/seed0/weights.safetensors",
        "checkpoints/denoising/lw-dna/seed0/*/.checkpoint.*.tmp.safetensors",
    ),
    "table": ("tables/table1.*", "tables/table1.md", "tables/.table1.*.tmp.*"),
}


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_run_again_by_the_same_command(copy, moment):
    removed, target, sight = KILLS[moment]
    products = ["results/data/*/*.h5", "results/runs/**/*.*", "results/tables/*"]
    before = contents(copy, products)
    for path in list((copy / "results").glob(removed)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    process = start(copy, f"results/{target}")
    while process.poll() is None and not any((copy / "results").glob(sight)):
        time.sleep(0.0002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    output = finish(process)
    assert process.returncode == -signal.SIGKILL, f"never saw {sight}: {output}"
    assert not (copy / "results" / target).exists()
    status, output = snakemake(copy, f"results/{target}")
    assert status == 0, output
    status, output = snakemake(copy)
    assert status == 0, output
    assert contents(copy, products) == before
    assert not list((copy / "results").rglob(".*.tmp*")), "leftovers"
    assert "Nothing to be done" in snakemake(copy, "-n")[1]


def test_an_orphan_of_a_killed_run_does_not_have_the_last_word(copy, tmp_path):
    """Only Snakemake dies; the training it started lives on, and the settings change."""
    for name in ("runs", "checkpoints"):
        shutil.rmtree(copy / f"results/{name}/digits/baseline/seed0")
    target = "results/runs/digits/baseline/seed0/history.csv"
    config = yaml.safe_load(TINY.read_text())
    config["protocols"]["classification"]["epochs"] = 30
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(config))
    first = start(copy, target, config=tmp_path / "long.yaml")
    sight = "checkpoints/digits/baseline/seed0/*/checkpoint.safetensors"
    while first.poll() is None and not any((copy / "results").glob(sight)):
        time.sleep(0.001)
    os.kill(first.pid, signal.SIGKILL)
    status, output = snakemake(copy, target)
    finish(first)
    assert status == 0 and "waiting until it ends" in output
    assert len((copy / target).read_text().splitlines()) == 1 + 3


def test_two_runs_in_one_folder_are_refused(copy):
    shutil.rmtree(copy / "results/runs/digits/teacher")
    shutil.rmtree(copy / "results/checkpoints/digits/teacher")
    target = "results/runs/digits/teacher/seed0/weights.safetensors"
    first = start(copy, target)
    while first.poll() is None and not (copy / "results/checkpoints/digits/teacher").exists():
        time.sleep(0.01)
    status, output = snakemake(copy, target)
    finish(first)
    assert status != 0 and "Another run" in output and "Traceback" not in output
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(sedes=[1]), "no key 'sedes' at the top level: did you mean 'seeds'?"),
        (
            lambda c: c["protocols"]["restoration"]["optimizer"].update(kind="adm"),
            "did you mean 'adam'?",
        ),
        (lambda c: c["protocols"]["restoration"].update(epochs="many"), "has 'many' at protocols"),
        (
            lambda c: c["protocols"]["restoration"]["optimizer"].update(lr=float("nan")),
            "nan at protocols.restoration.optimizer.lr; give a finite number",
        ),
        (lambda c: c["experiments"]["digits"].update(train="digit"), "did you mean 'digits'?"),
        (lambda c: c["experiments"]["digits"].update(protocol="x"), "allowed: 'classification'"),
        (lambda c: c["experiments"]["digits"].pop("teacher"), "baseline-kd but no 'teacher'"),
        (lambda c: c["experiments"]["digits"].update(tables=[2]), "which is for denoising"),
        (lambda c: c["datasets"]["photographs"].pop("test"), "lacks 'test'"),
        (lambda c: c["experiments"].update({"../x": {}}), "give text of letters, digits"),
        (lambda c: c.update({5: 1}), "no key '5' at the top level"),
        (lambda c: c["experiments"]["digits"]["network"].pop("dataset"), "lacks 'dataset'"),
        (
            lambda c: c["experiments"]["digits"]["network"].update(name="MobileNetV11"),
            "experiments.digits.network.name names 'MobileNetV11', which does not exist: did you",
        ),
        (
            lambda c: c["experiments"]["digits"]["network"].update(name="net.py:make_network"),
            "experiments.digits.network lacks 'input', which a network of your own needs",
        ),
        (
            lambda c: c["experiments"]["digits"]["network"].update(input=[3, 32, 32]),
            "network.input is not for 'MobileNetV1', but for networks of your own: leave it out",
        ),
        (
            lambda c: c["experiments"]["digits"]["network"].update(options={"width": 2}),
            "digits.network.options has 'width', a key of the network",
        ),
        (
            lambda c: c["experiments"]["digits"]["network"].update(dataset="cifar-10"),
            "did you mean 'cifar10'?",
        ),
        (
            lambda c: c["experiments"]["digits"]["network"].update(name="EDSR"),
            "is 'EDSR', which does not serve classification",
        ),
        (
            lambda c: c["experiments"]["denoising"]["network"].update(name="ResNet56"),
            "is 'ResNet56', which does not serve denoising",
        ),
        (
            lambda c: c["experiments"]["denoising"]["network"].update(dataset="digits"),
            "network.dataset is not for denoising: leave it out",
        ),
        (
            lambda c: c["experiments"]["denoising"].update(convention="sr-div2k"),
            "convention is 'sr-div2k', which is not for denoising",
        ),
        (lambda c: c["datasets"]["photographs"].update(test=["chelsea"]), "both training and test"),
        (
            lambda c: c["datasets"]["photographs"].update(
                train=["motorcycle_left"], test=["motorcycle_right"]
            ),
            "both training and test",
        ),
        (lambda c: c["experiments"]["denoising"].update(test=["digits"]), "does not serve"),
        (
            lambda c: c["experiments"]["super-resolution"]["network"]["options"].update(scale=2),
            "must be that of the task, 4",
        ),
        (
            lambda c: c["experiments"]["digits"].update(
                paper={"dataset": "cifar10", "network": "Resnet56"}
            ),
            "did you mean 'cifar10 / ResNet56'",
        ),
        (lambda c: c["protocols"]["restoration"]["schedule"].pop("gamma"), "lacks 'gamma'"),
        (
            lambda c: c["experiments"]["digits"]["shrink"].update(target_flops=1, flops_ratio=0.5),
            "experiments.digits.shrink must have either 'target_flops' or 'flops_ratio'",
        ),
        (
            lambda c: c["experiments"]["digits"]["dhp"].update(target_flops=1, flops_ratio=0.5),
            "experiments.digits.dhp must have either 'target_flops' or 'flops_ratio'",
        ),
        (
            lambda c: c["experiments"]["digits"].pop("dhp"),
            "experiments.digits has the method dhp-kd but no section 'dhp'",
        ),
        (
            lambda c: c["experiments"]["digits"]["methods"].append("mutualnet"),
            "experiments.digits has the method mutualnet but no section 'mutualnet'",
        ),
        (
            lambda c: c["experiments"]["denoising"].update(
                methods=["mutualnet"], mutualnet={"sizes": [32]}
            ),
            "experiments.denoising has the method mutualnet, but denoising has no distillation",
        ),
        (
            lambda c: (
                c["protocols"]["classification"].update(compile=True),
                c["experiments"]["digits"].update(
                    methods=["autoslim"], autoslim={"protocol": "classification"}
                ),
            ),
            "trains parts of the network by autoslim, but protocol 'classification' compiles",
        ),
        (
            lambda c: (
                c["protocols"]["classification"].update(compile=True),
                c["experiments"]["digits"].update(methods=["mutualnet"], mutualnet={"sizes": [32]}),
            ),
            "trains parts of the network by mutualnet, but protocol 'classification' compiles",
        ),
        (
            lambda c: c["experiments"]["digits"].update(strip={}),
            "experiments.digits.strip cannot be: classification restores no images",
        ),
        (
            lambda c: c["experiments"]["denoising"].update(strip={"center": [1, 2]}),
            "no key 'center' at experiments.denoising.strip: did you mean 'centre'",
        ),
        (
            lambda c: c["experiments"]["digits"].update(test=["digits", "digits"]),
            "'digits' twice; give a list",
        ),
        (
            lambda c: c["experiments"]["digits"]["methods"].append("from-scratch"),
            "experiments.digits.methods has from-scratch, which is lw-dna itself where shrink has "
            "start: fresh: leave it out",
        ),
        (
            lambda c: c["experiments"]["digits"]["shrink"].update(start="generated"),
            "experiments.digits.methods has generated, which is lw-dna itself",
        ),
        (
            lambda c: c["experiments"]["digits"]["shrink"].update(start="frsh"),
            "did you mean 'fresh'?",
        ),
    ],
)
def test_bad_configurations(change, sentence):
    config = yaml.safe_load(TINY.read_text())
    change(config)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        check(config, ROOT / "config/schema.yaml")


def test_a_bad_configuration_is_refused_before_anything_runs(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(TINY.read_text().replace("\nseeds:", "\nsedes:"))
    status, output = snakemake(tmp_path, config=path)
    assert status != 0 and "no key 'sedes' at the top level: did you mean 'seeds'?" in output
    assert "Traceback" not in output and not (tmp_path / "results").exists()


def refused(status, output, sentence):
    """Exit status 1, one sentence, no traceback."""
    errors = [line for line in output.splitlines() if " ERROR " in line]
    assert status == 1 and len(errors) == 1 and "Traceback" not in output, output
    assert re.search(sentence, errors[0]), errors[0]


def photograph(path, size=96):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)


def crop(folder, output):
    sizes = ("--size", 48, "--step", 24, "--threshold", 4)
    return lwdna("crop", folder, "--output", output, *sizes)


def test_corrupt_image(tmp_path):
    photograph(tmp_path / "a.png")
    photograph(tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data[: len(data) // 2])
    refused(*crop(tmp_path, tmp_path / "out.h5"), r"b\.png")
    assert not (tmp_path / "out.h5").exists()


def test_empty_folder(tmp_path):
    refused(*crop(tmp_path, tmp_path / "out.h5"), "image")


def test_image_too_small(tmp_path):
    photograph(tmp_path / "small.png", 32)
    refused(*crop(tmp_path, tmp_path / "out.h5"), r"small\.png.*32")


def test_unwritable_output(tmp_path):
    (tmp_path / "images").mkdir()
    photograph(tmp_path / "images/a.png")
    (tmp_path / "file").write_text("in the way")
    refused(*crop(tmp_path / "images", tmp_path / "file/out.h5"), "Cannot write")


@needs_mount
def test_full_disk(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abcdefgh":
        photograph(tmp_path / f"images/{name}.png", 256)
    small = tmp_path / "small"
    small.mkdir()
    with small_disk(small, "256k"):
        refused(*crop(tmp_path / "images", small / "out.h5"), "Cannot write.*space")
        assert list(small.iterdir()) == []


@pytest.fixture
def store(tmp_path):
    (tmp_path / "images").mkdir()
    photograph(tmp_path / "images/a.png")
    assert crop(tmp_path / "images", tmp_path / "colour.h5")[0] == 0
    assert lwdna("gray", tmp_path / "colour.h5", "--output", tmp_path / "gray.h5")[0] == 0
    return tmp_path / "gray.h5"


def train(folder, store, *more):
    return lwdna(
        *("train", "--task", TASK, "--protocol", PROTOCOL, "--train", store),
        *("--test", folder / "images", "--checkpoints", folder / "checkpoints"),
        *("--history", folder / "history.csv", "--output", folder / "weights.safetensors"),
        *(more or ("--network", '{"name": "DnCNN", "options": {"blocks": 1, "channels": 4}}')),
    )


def test_truncated_store(tmp_path, store):
    store.write_bytes(store.read_bytes()[:-5000])
    refused(*train(tmp_path, store), r"gray\.h5.*delete")


def test_foreign_store(tmp_path, store):
    with h5py.File(store, "w") as file:
        file["something"] = [1, 2, 3]
    refused(*train(tmp_path, store), r"gray\.h5.*not a store")


def test_wrong_weights(tmp_path, store):
    status, output = train(tmp_path, store)
    assert status == 0, output
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b'\\"DnCNN\\"', b'\\"U-Net\\"'))
    refused(
        *lwdna(
            *("evaluate", weights, "--task", TASK, "--test", "images", tmp_path / "images"),
            *("--output", tmp_path / "metrics.csv"),
        ),
        r"weights\.safetensors",
    )
    assert not (tmp_path / "metrics.csv").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, store):
    protocol = PROTOCOL.replace("0.001", "1e30").replace('"epochs": 1', '"epochs": 4')
    status, output = lwdna(
        *("train", "--task", TASK, "--protocol", protocol, "--train", store),
        *("--test", tmp_path / "images", "--checkpoints", tmp_path / "checkpoints"),
        *("--history", tmp_path / "history.csv", "--output", tmp_path / "weights.safetensors"),
        *("--network", '{"name": "DnCNN", "options": {"blocks": 1, "channels": 4}}'),
    )
    refused(status, output, "(?i)epoch.*(nan|inf|finite)")
    assert not (tmp_path / "weights.safetensors").exists()


def test_images_of_another_kind_than_the_network_was_built_for(tmp_path):
    stores = (tmp_path / "train.h5", tmp_path / "test.h5")
    status, output = lwdna(
        *("digits", "--train", stores[0], "--test", stores[1], "--train-fraction", 0.05)
    )
    assert status == 0, output
    task = (
        '{"kind": "classification", "mean": [0, 0, 0], "std": [1, 1, 1], "pad": 0, "flip": false}'
    )
    refused(
        *lwdna(
            *("train", "--task", task, "--protocol", PROTOCOL, "--train", stores[0]),
            *("--test", stores[1], "--checkpoints", tmp_path / "checkpoints"),
            *("--history", tmp_path / "history.csv", "--output", tmp_path / "w.safetensors"),
            *("--network", '{"name": "MobileNetV1", "dataset": "tiny-imagenet"}'),
        ),
        "takes images of 64 x 64 in 200 classes, but there are images of 32 x 32 in 10 classes",
    )


def test_a_log_that_cannot_be_written(tmp_path):
    status, output = lwdna("--log", tmp_path / "missing/x.log", "complexity", "DnCNN")
    assert status == 1 and "Cannot write the log" in output and "Traceback" not in output


def shrink(folder, *arguments):
    output = ("--output", folder / "small.safetensors")
    return lwdna("shrink", *arguments, *output, "--criterion", "magnitude")


def test_unreachable_target(tmp_path):
    refused(
        *shrink(tmp_path, "ResNet8", "--target-flops", 1000),
        r"between [\d,]+ and [\d,]+ FLOPs",
    )


def test_unknown_network(tmp_path):
    refused(*shrink(tmp_path, "MobilNetV1", "--flops-ratio", 1), "did you mean 'MobileNetV1'")


def test_usage_errors_have_a_status_of_their_own(tmp_path):
    status, output = shrink(tmp_path, "ResNet8")
    assert status == 2 and "--target-flops or --flops-ratio" in output


@pytest.mark.parametrize("options", ["not json", "[1]", '{"blocks'])
def test_options_that_are_no_json(tmp_path, options):
    status, output = shrink(tmp_path, "EDSR", "--options", options, "--flops-ratio", 1)
    assert status == 2 and "JSON" in output


def test_tables_and_figures_with_odd_labels(copy):
    """Labels that a shell, a format string, HTML or matplotlib could take for something else."""
    config = yaml.safe_load(TINY.read_text())
    config["scale"] = "$(touch harm) {x} '\" $a$ $\\frac$\n-second"
    for experiment in config["experiments"].values():
        experiment["label"] = "--output=harm $x^2$ $\\frac$\n<script>|`touch harm`"
    (copy / "odd.yaml").write_text(yaml.safe_dump(config))
    targets = ["tables/table2.html", "figures/training-logs.png", "figures/remaining-channels.svg"]
    status, output = snakemake(
        copy, "--", *(f"results/{name}" for name in targets), config=copy / "odd.yaml"
    )
    assert status == 0, output
    assert not list(copy.rglob("*harm*"))
    html = (copy / "results/tables/table2.html").read_text(encoding="utf-8")
    assert "<script>" not in html and "touch harm" in html and "$(touch harm) {x}" in html


def test_the_workflow_has_no_lint():
    status, output = snakemake(ROOT, "--lint")
    assert status == 0, output
