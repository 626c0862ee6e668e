"""Trackers on networks that another experiment trains: what they must share, and what rules ask."""

from types import SimpleNamespace

import pytest
import yaml
from running import ROOT, TINY

from lwdna.config.check import check
from lwdna.data.versions import read_versions
from lwdna.errors import ConfigError
from lwdna.workflow import paths
from lwdna.workflow.references import References
from lwdna.workflow.run import Run
from lwdna.workflow.sources import Sources
from lwdna.workflow.targets import Targets


def given():
    return yaml.safe_load(TINY.read_text())


def checked(config=None, **changes):
    """The tiny configuration, with changes to the experiment that follows objects."""
    config = given() if config is None else config
    config["experiments"]["tracking"] |= changes
    return check(config, ROOT / "config/schema.yaml")


PART = given()["datasets"]["motion"]["test"][0]


def of(**wildcards):
    return SimpleNamespace(experiment="tracking", method="lw-dna", seed="0", **wildcards)


def test_a_tracker_has_the_network_of_its_backbone():
    config = checked()
    section = config["experiments"]["tracking"]
    assert section["network"] == config["experiments"]["digits"]["network"]
    assert section["label"] == "MobileNetV1 x0.125" and section["count_batch_norm"]


def test_a_tracker_starts_from_the_network_of_its_method_and_seed():
    run = Run(checked())
    weights = "results/runs/digits/lw-dna/seed0/weights.safetensors"
    assert run.backbone(of()) == weights
    assert run.train_start(of()) == ["--backbone", weights]
    assert run.shrunk(of()) == []
    digits = SimpleNamespace(experiment="digits", method="lw-dna", seed="0")
    assert run.backbone(digits) == []
    assert run.following(follows=True) == ["tracking"]
    assert run.boxes(of()) == ["results/runs/tracking/lw-dna/seed0/boxes/motion.zip"]
    inputs = SimpleNamespace(weights=["results/runs/tracking/lw-dna/seed0/weights.safetensors"])
    inputs.boxes = run.boxes(of())
    assert run.found_boxes(of(), inputs) == ["--boxes", *inputs.weights, "motion", *inputs.boxes]


def test_seeds_given_for_all_are_those_of_trackers_too():
    """The default's tracker has seeds of its own, which its backbone is trained at as well."""
    config = given()
    config["experiments"]["tracking"]["seeds"], config["seeds"] = [0], [4, 5]
    run = Run(checked(config))
    assert run.backbone(of()) == "results/runs/digits/lw-dna/seed0/weights.safetensors"


@pytest.mark.parametrize("method", given()["experiments"]["digits"]["methods"])
def test_trackers_on_networks_of_any_method_have_no_search_of_their_own(method):
    run = Run(checked(methods=[method]))
    targets = Targets(run, References(run))
    made = [*targets.measured(), *targets.records(), *targets.searched()]
    assert not [path for path in made if "tracking" in path]
    assert paths.SUCCESS.at(experiment="tracking", format="png") in targets.figures()


def test_figures_of_networks_show_no_trackers():
    run = Run(checked())
    targets = Targets(run, References(run))
    assert not [path for path in targets.histories() if "tracking" in path]
    assert not [path for path in targets.kept_channels() if "tracking" in path]
    assert paths.SUCCESS.at(experiment="tracking", format="png") in targets.figures()
    assert targets.submissions() == []


def test_what_only_a_server_measures_is_packed():
    config = given()
    config["datasets"]["got"] = {"kind": "sequences", "test": [{"layout": "got10k", "folder": "g"}]}
    config["datasets"]["val"] = {
        "kind": "sequences",
        "test": [{"layout": "got10k", "folder": "g", "split": "val"}],
    }
    run = Run(checked(config, test=["motion", "got", "val"]))
    targets = Targets(run, References(run))
    assert targets.submissions() == [
        f"results/runs/tracking/{method}/submission/got.zip" for method in ("baseline", "lw-dna")
    ]
    assert run.submitted(of(dataset="got")) == ["results/runs/tracking/lw-dna/seed0/boxes/got.zip"]


def test_sets_are_given_to_the_step_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = given()
    config["datasets"]["otb"] = {"kind": "sequences", "test": [{"layout": "otb100", "folder": "o"}]}
    sources = Sources(checked(config)["datasets"], read_versions())
    wanted = SimpleNamespace(dataset="otb", split="test")
    words = ["--kind", "sequences", "--split", "test", "--set"]
    assert sources.sets(wanted) == [*words, '{"folder": "o", "layout": "otb100"}']
    assert sources.sets_content(wanted) == ""
    (tmp_path / "o/Car4").mkdir(parents=True)
    known = sources.sets_content(wanted)
    (tmp_path / "o/Car5").mkdir()
    assert sources.sets_content(wanted) != known != ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": {"experiment": "digit"}}, "names 'digit', .* did you mean 'digits'"),
        ({"backbone": {"experiment": "tracking"}}, "is 'tracking', which trains no network"),
        ({"methods": ["baseline", "random"]}, "'digits', which has no random, methods of this"),
        ({"network": {"name": "ResNet20"}}, "has 'network', which tracking does not take"),
        ({"shrink": {"flops_ratio": 0.9}}, "has 'shrink', which tracking does not take"),
        ({"test": ["photographs"]}, "of kind photographs, which does not serve tracking"),
        ({"train": "digits"}, "of kind digits, which does not serve tracking"),
        ({"convention": "denoising"}, "is 'denoising', which is not for tracking"),
        (
            {"task": {"kind": "tracking", "tracker": {}}},
            "lacks 'taps' at experiments.tracking.task",
        ),
    ],
)
def test_what_a_tracker_cannot_be(changes, words):
    with pytest.raises(ConfigError, match=words):
        checked(**changes)


def test_a_backbone_is_for_what_follows_objects():
    config = given()
    config["experiments"]["denoising"]["backbone"] = {"experiment": "digits"}
    with pytest.raises(ConfigError, match=r"has a backbone, which denoising does not take"):
        checked(config)
    config = given()
    del config["experiments"]["tracking"]["backbone"]
    with pytest.raises(ConfigError, match="tracking lacks 'backbone'"):
        checked(config)
    config = given()
    del config["experiments"]["digits"]["network"]
    with pytest.raises(ConfigError, match=r"experiments\.digits lacks 'network'"):
        checked(config)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ([PART], "has .'camera', 'coffee'. in both training and test"),
        ("folder", "must be a list of sets"),
        (["coffee"], "must be a list of sets, each with a 'layout'"),
        ([{"folder": "here"}], "must be a list of sets, each with a 'layout'"),
        ([{"layout": "lasott"}], "did you mean 'lasot'"),
        ([{**PART, "photograph": []}], "no key 'photograph' .* did you mean 'photographs'"),
    ],
)
def test_sets_that_cannot_be_a_dataset(train, words):
    config = given()
    config["datasets"]["motion"]["train"] = train
    with pytest.raises(ConfigError, match=words):
        checked(config)


def test_nothing_is_tested_on_that_another_dataset_trains_on():
    config = given()
    scenes = ["china", "coffee"]
    config["datasets"]["others"] = {"kind": "sequences", "test": [{**PART, "photographs": scenes}]}
    with pytest.raises(ConfigError, match="names 'others', of which china is trained on"):
        checked(config, test=["motion", "others"])


def test_photographs_are_named_not_made_of_sets():
    config = given()
    config["datasets"]["photographs"]["train"] = [PART]
    with pytest.raises(ConfigError, match="must be a list of names"):
        checked(config)
