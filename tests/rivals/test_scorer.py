"""A rival that only scores channels: one file and one line make it a method, and a criterion."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from pages import block_of, with_line
from running import ROOT, run_python
from torch import nn

import lwdna
from lwdna.config.methods import METHODS, PRUNINGS, SCORERS, SEARCHES, SHRINKAGES
from lwdna.errors import ConfigError
from lwdna.networks.weights import read_provenance

PAGE = (ROOT / "docs/extending.md").read_text()
FILE = block_of(PAGE, "lwdna/rivals/every_other.py")
LINE = block_of(PAGE, "lwdna/config/methods.py", "METHODS")
NETWORK = """
from torch import nn


def make(width=1):
    n = int(8 * width)
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU(), nn.Conv2d(n, n, 3), nn.ReLU(),
                         nn.Conv2d(n, 4, 1))
"""


def every_other(graph, model, loss_fn, settings):
    scope = {}
    exec(FILE, scope)
    return scope["score"](graph, model, loss_fn, settings)


def wide():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1))


def shrink(criterion, **settings):
    model, example = wide(), torch.empty(1, 3, 8, 8)
    flops, _ = lwdna.complexity(model, example)
    return lwdna.shrink(
        model, example, None, target_flops=flops / 2, criterion=criterion, **settings
    )


def test_a_function_decides_what_stays():
    small = shrink(every_other)
    assert small.flops <= small.flops_before / 2
    assert small.kept["0"] == [0, 2, 4, 6, 8, 10, 12, 14][: len(small.kept["0"])]
    assert len(small.kept["0"]) > 4


def test_the_file_of_the_network_names_the_function(tmp_path):
    shrink(every_other).save(tmp_path / "a.safetensors")
    noted = read_provenance(tmp_path / "a.safetensors").shrinkage.settings
    assert noted["criterion"] == f"{__name__}:every_other" and noted["rho"] == 0.2


def test_a_function_gets_a_copy_and_randomness_of_the_seed():
    def drawn(graph, model, loss_fn, settings):
        nn.init.zeros_(model[0].weight)
        return torch.rand(graph.elements).numpy()

    first, again, other = (shrink(drawn, seed=seed, start="generated") for seed in (0, 0, 1))
    assert first.kept == again.kept != other.kept
    assert first.model[0].weight.abs().max() > 0


@pytest.mark.parametrize(
    ("scores", "what"),
    [(lambda n: np.ones(3), r"of shape \(3,\)"), (lambda n: np.full(n, np.nan), "not all finite")],
    ids=["few", "nan"],
)
def test_scores_that_are_none_are_refused(scores, what):
    with pytest.raises(ConfigError, match=rf"gave scores .*{what}; .* each of the \d+ elements"):
        shrink(lambda graph, *given: scores(graph.elements))


def test_a_file_and_a_line_are_a_method_a_criterion_and_a_shrinkage(tmp_path):
    """In a copy of the package, where nothing else changes."""
    shutil.copytree(ROOT / "lwdna", tmp_path / "lwdna")
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "lwdna/rivals/every_other.py").write_text(FILE)
    methods = tmp_path / "lwdna/config/methods.py"
    methods.write_text(with_line(methods.read_text(), "METHODS", LINE))
    (tmp_path / "net.py").write_text(NETWORK)

    run = partial(run_python, folder=tmp_path, PYTHONPATH=str(tmp_path))
    run(
        *("-m", "lwdna", "shrink", "net.py:make", "--input", "1x3x8x8", "--flops-ratio", "1"),
        *("--criterion", "every-other", "--output", "small.safetensors"),
    )
    provenance = read_provenance(tmp_path / "small.safetensors")
    assert provenance.shrinkage.flops_after <= provenance.shrinkage.flops_before
    assert provenance.shrinkage.settings["criterion"] == "lwdna.rivals.every_other:score"
    assert [index % 2 for index in provenance.kept["0"]].count(0) == 8
    said = run(
        "-c",
        "from lwdna.config.methods import COMPARABLE, shrink_settings\n"
        "from lwdna.config.read import read_rules\n"
        "print('every-other' in COMPARABLE, shrink_settings({'shrink': {}}, 'every-other'))\n"
        "print(read_rules()['$defs']['experiment']['properties']['methods']['items']['enum'][-1])",
    )
    assert said.split("\n")[:2] == ["True {'criterion': 'every-other'}", "every-other"]


@pytest.mark.parametrize("name", [*SCORERS, *PRUNINGS, *SEARCHES])
def test_every_home_is_there(name):
    assert callable(SHRINKAGES[name].load())


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_has_what_the_command_and_the_rule_need(name):
    rival = SEARCHES[name].load()
    fields = rival.Settings.__dataclass_fields__
    assert {"target_flops", "batch_norm"} <= set(fields) and rival.help and callable(rival.run)
    assert rival.Settings.__dataclass_params__.frozen
    assert SEARCHES[name].about and METHODS[name].colour != "#888888"
