"""The setting multiple_of, from an experiment to a network."""

import json
from types import SimpleNamespace

import pytest
import yaml
from running import ROOT, TINY, lwdna

from lwdna.config.check import check
from lwdna.errors import ConfigError
from lwdna.workflow.run import Run


def checked(tmp_path, **shrink):
    config = yaml.safe_load(TINY.read_text())
    config["experiments"]["digits"]["shrink"] |= shrink
    return check(config, ROOT / "config/schema.yaml", tmp_path)


def options(config):
    return Run(config).shrink_options(SimpleNamespace(experiment="digits", shrinkage="lw-dna"))


def test_an_experiment_hands_it_on(tmp_path):
    given = options(checked(tmp_path, multiple_of=8))
    assert given[given.index("--multiple-of") + 1] == "8"


def test_left_out_it_changes_no_command(tmp_path):
    """What was shrunk before it existed is not shrunk again."""
    assert "--multiple-of" not in options(checked(tmp_path))


@pytest.mark.parametrize("value", [0, 2.5, "eight"])
def test_what_is_no_multiple(tmp_path, value):
    with pytest.raises(ConfigError, match="multiple_of"):
        checked(tmp_path, multiple_of=value)


def test_the_option(tmp_path):
    path = tmp_path / "small.safetensors"
    network = ("shrink", "ResNet8", "--flops-ratio", 0.6, "--criterion", "magnitude")
    status, output = lwdna(*network, "--multiple-of", 8, "--output", path)
    assert status == 0, output
    summary = json.loads(path.with_suffix(".json").read_text())
    flops = summary["flops"]
    assert flops["after"] <= 0.6 * flops["baseline"]
    assert flops["percent_of_baseline"] == round(100 * flops["after"] / flops["baseline"], 2)
    for layer in summary["layers"].values():
        assert layer["after"] % 8 == 0 or layer["after"] == layer["before"]
    assert f"% of the baseline's {flops['baseline']:,})" in output
