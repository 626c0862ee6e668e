"""What rules ask of a run, without Snakemake."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from running import ROOT, TINY

from lwdna.config.check import check
from lwdna.data.versions import read_versions
from lwdna.workflow import words
from lwdna.workflow.references import References
from lwdna.workflow.replicas import Replicas
from lwdna.workflow.reported import Reported
from lwdna.workflow.run import Run, runs_of
from lwdna.workflow.sources import Sources, pattern
from lwdna.workflow.targets import Targets


def read(path=ROOT / "config/paper.yaml", change=lambda config: None):
    """A configuration, changed and checked."""
    config = yaml.safe_load(path.read_text())
    change(config)
    return check(config)


PAPER = read()


def of(**wildcards):
    """What Snakemake gives to the functions of a rule."""
    return SimpleNamespace(**wildcards)


@pytest.mark.parametrize(
    ("experiment", "train", "test"),
    [
        ("cifar10-resnet56", "data/cifar10/train.h5", ["data/cifar10/test.h5"]),
        ("unet", "data/div2k/gray.h5", ["images/bsd68/test", "images/div2k-valid/test"]),
        (
            "edsr",
            "data/div2k/colour.h5",
            [f"images/{x}/test" for x in ("set5", "set14", "b100", "urban100", "div2k-valid")],
        ),
    ],
)
def test_what_is_trained_and_tested_on_follows_from_the_task(experiment, train, test):
    run, wildcards = Run(PAPER), of(experiment=experiment)
    assert run.train_images(wildcards) == f"results/{train}"
    assert run.test_images(wildcards) == [f"results/{path}" for path in test]
    assert run.first_test(wildcards) == f"results/{test[0]}"
    said = run.test_sets(wildcards, of(test=["a b"] * len(test)))
    assert said[::3] == ["--test"] * len(test) and said[2::3] == ["a b"] * len(test)
    assert said[1::3] == PAPER["experiments"][experiment]["test"]


EXPERIMENT = "tiny-imagenet-mobilenetv1"
ABLATION = f"{EXPERIMENT}-rho0.1-tau0.4"


@pytest.mark.parametrize(
    ("experiment", "method", "shrunk", "teacher"),
    [
        (EXPERIMENT, "baseline", None, None),
        (EXPERIMENT, "teacher", None, None),
        (EXPERIMENT, "baseline-kd", None, EXPERIMENT),
        (EXPERIMENT, "dhp-kd", "dhp", EXPERIMENT),
        (EXPERIMENT, "no-kd", "lw-dna", None),
        (ABLATION, "lw-dna", "lw-dna", EXPERIMENT),
        ("dncnn", "lw-dna", "lw-dna", None),
    ],
)
def test_what_a_training_starts_from_follows_from_the_method(experiment, method, shrunk, teacher):
    run, wildcards = Run(PAPER), of(experiment=experiment, method=method, seed="1")
    inputs = run.shrunk(wildcards), run.teacher(wildcards)
    network = f"results/shrink/{experiment}/{shrunk}/seed1/network.safetensors"
    weights = f"results/runs/{teacher}/teacher/seed1/weights.safetensors"
    assert inputs == (network if shrunk else [], weights if teacher else [])
    said = run.train_start(wildcards)
    assert (network in said) == bool(shrunk) and (weights in said) == bool(teacher)
    if not shrunk:
        width = json.loads(said[said.index("--network") + 1])["width"]
        assert width == (2 if method == "teacher" else 1)


def test_the_steps_of_a_training_follow_from_the_method():
    run = Run(PAPER)
    said = {
        method: run.train_start(
            of(experiment="imagenet-resnet50-mutualnet", method=method, seed="1")
        )
        for method in ("mutualnet", "baseline")
    }
    asked = json.loads(said["mutualnet"][said["mutualnet"].index("--steps") + 1])
    assert asked["kind"] == "mutualnet" and asked["sizes"] == [224, 192, 160, 128]
    assert said["mutualnet"][:2] == said["baseline"] and "--steps" not in said["baseline"]


def test_the_memory_of_shrinkage_follows_from_its_work():
    run = Run(PAPER)
    experiments = ("imagenet-resnet50", "dncnn", "cifar10-resnet56")
    asked = [run.shrink_memory(of(experiment=name), 1) for name in experiments]
    assert asked == [24000, 8000, 1000 + 150 * 64]
    assert [run.shrink_memory(of(experiment="dncnn"), n) for n in (2, 3, 4)] == [
        16000,
        24000,
        24000,
    ]


def test_gpus_are_those_that_a_job_was_given():
    assert words.devices(None, {"gpu": 2}) == ["--accelerator", "gpu", "--devices", "2"]
    assert words.devices(None, {"gpu": 0}) == ["--accelerator", "cpu", "--devices", "1"]
    assert words.accelerator(None, {}) == ["--accelerator", "cpu"]


def test_only_settings_that_are_given_become_options():
    assert words.options({"batch_size": 4, "other": 1}, ("batch_size", "rho")) == [
        *("--batch-size", "4")
    ]


def test_runs_are_read_off_their_paths():
    found = json.loads(
        runs_of(
            [
                "results/runs/a/lw-dna/seed3/history.csv",
                "results/shrink/a.b/uniform/seed0/channels.csv",
            ]
        )
    )
    assert list(found.values()) == [
        {"experiment": "a", "method": "lw-dna", "seed": 3},
        {"experiment": "a.b", "method": "uniform", "seed": 0},
    ]


# Targets.


def targets(config):
    run = Run(config)
    return Targets(run, References(run))


def test_a_filter_leaves_rules_but_no_results():
    whole = targets(PAPER)
    part = targets(read(change=lambda c: c.update(only={"experiments": ["dncnn"]})))
    assert part.histories() == [p for p in whole.histories() if "/dncnn/" in p] != []
    assert part.channel_counts() == [p for p in whole.channel_counts() if "/dncnn/" in p] != []
    assert set(part.run.experiments) == set(whole.run.experiments)
    assert whole.compared() and part.agreement() == part.kept_channels() == []
    figures = {path.split("/")[-1] for path in part.figures()}
    stems = ("training-logs", "remaining-channels", "strip-dncnn")
    assert figures == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg", "pdf")}


def test_the_report_shows_what_is_made():
    whole = targets(PAPER)
    reported = Reported(whole)
    parts = reported.files()
    made = {*whole.tables(), *whole.widths(), *whole.agreement(), *whole.figures()}
    animations = {path for path in parts["figures"] if path.endswith((".gif", ".webp"))}
    assert {path for paths in parts.values() for path in paths} - animations <= made
    assert len(animations) == len([*whole.searched(), *whole.followed()]) > 0
    shown = {path for path in parts["figures"] if path.endswith(".png")}
    assert shown == {path for path in made if path.endswith(".png")}
    words = reported.words(of())
    assert words[:4] == [
        "--table", "1", "results/tables/table1.csv", "results/tables/table1.md"
    ]  # fmt: skip
    assert words.count("--table") == 5 and "results/tables/table3-paper.md" in words
    given = {word for word in words if word.startswith("results/")}
    assert given == {path for paths in parts.values() for path in paths}


def test_a_table_is_made_of_its_experiments():
    found = targets(PAPER)
    three = [name for name, e in PAPER["experiments"].items() if 3 in e["tables"]]
    assert found.of_table(of(table="table3")) == three and len(three) == 4
    assert list(json.loads(found.table_experiments(of(table="table3")))) == three
    assert len(found.table_metrics(of(table="table3"))) == 3 + 4
    assert found.table_paper(of(table="table4")) == []
    assert found.table_paper(of(table="table1")) == str(ROOT / "paper/table1.csv")


def test_shrinkages_of_another_width_are_not_compared():
    def widen(config):
        config["experiments"]["digits"]["dhp"]["widen"] = 3

    kept = targets(read(TINY)).kept_channels()
    others = targets(read(TINY, widen)).kept_channels()
    assert {path.split("/")[3] for path in kept} == {"autoslim", "dhp", "l1", "lw-dna", "uniform"}
    assert others == [path for path in kept if "/dhp/" not in path]


def test_a_search_is_drawn_for_its_first_seed():
    found = targets(read(TINY, lambda c: c.update(seeds=[5, 6])))
    assert found.searched() == ["digits"]
    drawn = found.drawn_search(of(experiment="digits"))
    assert drawn == "results/shrink/digits/dhp/seed5/latents.h5"
    said = found.histogram_options(of(experiment="digits"))
    assert " ".join(said) == "--layers 1 --layers 3 --epochs 0 --epochs 1 --epochs 2"


def test_a_strip_shows_both_networks_and_the_part_that_is_asked_for():
    def choose(config):
        config["experiments"]["dncnn"]["strip"] = {"image": "a b.png", "centre": [3, 4]}

    found, wildcards = targets(read(change=choose)), of(experiment="dncnn")
    inputs = found.strip_networks(wildcards)
    said = ["--weights", "Baseline", inputs[0], "--weights", "LW-DNA", inputs[1]]
    assert len(inputs) == 2 and found.strip_titles(wildcards) == said
    part = " ".join(found.strip_part(wildcards))
    assert "--image a b.png" in part and part.endswith("--centre 3 4")
    assert found.strip_part(of(experiment="edsr")) == []


def test_references_are_measured_once_for_each_test_set_and_convention():
    found = targets(PAPER).references
    names = ["dncnn", "unet", "edsr", "srresnet", "cifar10-resnet56"]
    where = found.of(names)
    assert set(where) == set(names) - {"cifar10-resnet56"}
    assert where["dncnn"] == where["unet"] and where["edsr"] == where["srresnet"]
    assert len(found.files(names)) == 2 + 5
    assert {name.split("-")[0] for name in found.settings} == {"noisy", "bicubic", "box"}
    for key in found.settings:
        assert json.loads(found.task(of(reference=key)))["kind"] in (
            "denoising",
            "super-resolution",
            "tracking",
        )
        assert found.convention(of(reference=key)) in key


# Sources.


def test_what_is_there_is_no_download(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = "data/cifar-10-python.tar.gz"
    assert archive in Sources(PAPER["datasets"], read_versions()).downloads
    (tmp_path / "data").mkdir()
    (tmp_path / archive).touch()
    found = Sources(PAPER["datasets"], read_versions())
    assert archive not in found.downloads and found.changed() == []
    (tmp_path / archive).unlink()
    assert found.changed() == [archive]
    (tmp_path / archive).touch()
    assert found.file(of(dataset="cifar10", split="train")) == archive
    # By hand, and not there: for the step to explain.
    assert found.file(of(dataset="set5", split="test")) == []


def test_a_change_of_a_folder_is_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = Sources(PAPER["datasets"], {})
    wildcards = of(dataset="set5", split="test")
    assert sources.listing(wildcards) == ""
    (tmp_path / "data/Set5").mkdir(parents=True)
    (tmp_path / "data/Set5/a.png").write_bytes(b"1")
    first = sources.listing(wildcards)
    assert first and first == sources.listing(wildcards)
    (tmp_path / "data/Set5/b.png").write_bytes(b"2")
    assert sources.listing(wildcards) != first


def test_a_pattern_of_no_names_matches_nothing():
    assert not re.fullmatch(pattern([]), "") and not re.fullmatch(pattern([]), "a")
    assert re.fullmatch(pattern(["a.b", "c"]), "a.b")
    assert not re.fullmatch(pattern(["a.b"]), "aXb")


# Replicas.


def test_networks_shrunk_again_are_in_the_tables_of_the_paper():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config |= yaml.safe_load((ROOT / "config/complexity.yaml").read_text())
    found = Replicas(check(config))
    assert [len(found.of_table(number)) for number in (1, 2, 3)] == [16, 2, 1]
    assert len(found.tables()) == 3
    said = found.options(of(replica="dncnn"))
    assert said[0] == "DnCNN" and said[-6:] == ["--seeds", "0", "--seeds", "1", "--seeds", "2"]
    assert Replicas(PAPER).tables() == []
