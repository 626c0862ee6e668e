"""The grammar of results/ and its inverse."""

import re
from itertools import combinations

import pytest
from running import ROOT, snakemake

from lwdna.workflow import paths
from lwdna.workflow.paths import PLACES, Place

VALUES = {
    "seed": 7,
    "split": "test",
    "table": "table3",
    "number": 3,
    "format": "svg",
    "record": "latents.h5",
    "job": "train/a/b/seed7",
}
"""Of wildcards that are no names."""


def values_of(place, name):
    return {wildcard: VALUES.get(wildcard, name) for wildcard in place.wildcards}


@pytest.mark.parametrize("name", ["a", "x-rho0.1-tau0.45", "strip-a.b", "seed1", "test"])
@pytest.mark.parametrize("place", PLACES)
def test_a_path_is_read_back(place, name):
    values = values_of(PLACES[place], name)
    path = PLACES[place].at(**values)
    assert paths.read(path) == (place, {key: str(value) for key, value in values.items()})
    assert paths.read(f"some/where/{path}") == paths.read(path)


def test_no_path_is_of_two_places():
    for (_, one), (_, other) in combinations(PLACES.items(), 2):
        assert other.read(one.at(**values_of(one, "a"))) is None, (one, other)
        assert one.read(other.at(**values_of(other, "a"))) is None, (one, other)


@pytest.mark.parametrize(
    "path",
    [
        "results/runs/a/baseline/seedx/weights.safetensors",
        "results/runs/a/b/baseline/seed0/weights.safetensors",
        "results/tables/table6.csv",
        "results/figures/strip-a.eps",
        "data/DIV2K_train_HR.zip",
    ],
)
def test_what_is_no_path_of_results_is_refused(path):
    with pytest.raises(ValueError, match="no path of results/"):
        paths.read(path)


def test_wildcards_may_be_filled_in_one_after_the_other():
    found = paths.WEIGHTS.where(method="baseline")
    assert found == "results/runs/{experiment}/baseline/seed{seed}/weights.safetensors"
    assert found.at(experiment="a", seed=0) == paths.WEIGHTS.at(
        experiment="a", method="baseline", seed=0
    )
    for wrong in ({"experiment": "a"}, {"experiment": "a", "seed": 0, "split": "test"}):
        with pytest.raises(KeyError):
            found.at(**wrong)
    with pytest.raises(KeyError):
        found.where(method="lw-dna")


def test_a_wildcard_twice_is_the_same_twice():
    place = Place("results/{experiment}/{experiment}.csv")
    assert place.read("results/a/a.csv") == {"experiment": "a"}
    assert place.read("results/a/b.csv") is None


@pytest.mark.parametrize("name", ["config/paper.yaml", "config/complexity.yaml"])
def test_every_path_of_a_dry_run_is_of_a_place(name, tmp_path):
    targets = ["--", "all", "complexity_columns"] if "complexity" in name else []
    status, output = snakemake(tmp_path, "-n", "-p", *targets, config=ROOT / name)
    assert status == 0, output
    found = set(re.findall(r"results/[\w./-]*\w", output))
    read = {path: paths.read(path) for path in found}
    assert {PLACES[place].at(**wildcards) for place, wildcards in read.values()} == found
    wanted = set(PLACES) - {"BENCHMARK", "LIVE_HISTORY", "SUMMARY"}  # which no command names
    elsewhere = (
        {"SUBMISSION", "WIDTHS"} if targets else {"REPLICA", "REPLICA_CHANNELS", "REPLICATION"}
    )
    assert {place for place, _ in read.values()} == wanted - elsewhere
