"""Agreement of criteria: the measures on hand-made networks, the table and the figure."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from lwdna.results.agreement import Kept, compare, plot_agreement, to_markdown, write_agreement
from lwdna.steps.agreement import main

EXPERIMENTS = {"e": {"label": "Net | 1"}}


def kept(**layers):
    return Kept({name: np.array(list(mask)) == "1" for name, mask in layers.items()})


SHAPE = kept(a="1100", b="1110", c="1000", whole="11")


def row(frame, first, second):
    (found,) = frame[(frame["first"] == first) & (frame["second"] == second)].to_dict("records")
    return found


def test_equal_networks_agree_wholly():
    frame = compare({("e", "lw-dna", 0): SHAPE, ("e", "random", 0): SHAPE}, EXPERIMENTS)
    found = row(frame, "lw-dna", "random")
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["overlap"] == pytest.approx(1)
    assert found["seeds"] == 1
    # By layer 1, 2.25 and 0.25 channels would be common; 6 are kept by each.
    assert found["overlap_by_chance"] == pytest.approx(3.5 / (12 - 3.5))


def test_opposite_shapes_and_disjoint_channels():
    other = kept(a="0011", b="0001", c="0111", whole="11")
    frame = compare({("e", "lw-dna", 0): SHAPE, ("e", "random", 0): other}, EXPERIMENTS)
    found = row(frame, "lw-dna", "random")
    assert found["rank_correlation"] == pytest.approx(-1)
    assert found["overlap"] == 0


def test_a_criterion_is_compared_with_itself_over_seeds_by_shape_alone():
    frame = compare({("e", "dhp", seed): SHAPE for seed in range(3)}, EXPERIMENTS)
    found = row(frame, "dhp", "dhp")
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["seeds"] == 3
    assert pd.isna(found["overlap"])


def test_a_uniform_shape_has_no_order():
    even = kept(a="1100", b="1100", c="1100", whole="11")
    frame = compare({("e", "lw-dna", 0): SHAPE, ("e", "uniform", 0): even}, EXPERIMENTS)
    found = row(frame, "lw-dna", "uniform")
    assert pd.isna(found["rank_correlation"])
    assert found["overlap"] == pytest.approx(5 / 7)


def test_unwidened_networks_are_not_compared():
    assert compare({("e", "width-1", 0): SHAPE}, EXPERIMENTS).empty


@pytest.mark.parametrize("way", ["l1", "autoslim"])
def test_what_has_no_latent_vectors_is_compared_by_its_shape(way):
    """Its network may have another width than the widened one."""
    narrow = kept(a="10", b="110", c="1000000", whole="1")
    frame = compare({("e", "lw-dna", 0): SHAPE, ("e", way, 0): narrow}, EXPERIMENTS)
    found = row(frame, "lw-dna", way)
    assert found["rank_correlation"] == pytest.approx(1) and found["seeds"] == 1
    assert pd.isna(found["overlap"]) and pd.isna(found["overlap_by_chance"])


def test_the_table_names_methods_and_escapes(tmp_path):
    networks = {("e", way, seed): SHAPE for way in ("lw-dna", "uniform") for seed in (0, 1)}
    frame = compare(networks, EXPERIMENTS)
    text = to_markdown(frame, "Small scale.")
    assert "**Small scale.**" in text
    assert "Net \\| 1 | LW-DNA | Uniform | 2 | 1.00 | 1.00 |" in text
    assert "| LW-DNA | itself, other seeds | 2 | 1.00 | - | - |" in text
    paths = {kind: tmp_path / f"a.{kind}" for kind in ("csv", "markdown", "html", "latex")}
    write_agreement(frame, "Small scale.", **paths)
    first = {kind: path.read_bytes() for kind, path in paths.items()}
    write_agreement(frame, "Small scale.", **paths)
    assert first == {kind: path.read_bytes() for kind, path in paths.items()}
    assert "Not run" in to_markdown(compare({}, EXPERIMENTS))


def test_the_figure_is_repeatable(tmp_path):
    networks = {("e", way, seed): SHAPE for way in ("lw-dna", "dhp") for seed in (0, 1)}
    for name in ("a", "b"):
        outputs = [tmp_path / f"{name}.{kind}" for kind in ("png", "svg")]
        plot_agreement(networks, outputs, experiments=EXPERIMENTS, scale="Small scale.")
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    svg = (tmp_path / "a.svg").read_text()
    assert "Net | 1" in svg and "Small scale." in svg and "DHP" in svg


def test_layers_have_the_numbers_that_they_have_in_the_network(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    network = kept(rgb="111", a="1100", held="11", b="1110", out="1")
    plot_agreement({("e", "dhp", 0): network}, [tmp_path / "a.png"], experiments=EXPERIMENTS)
    (axes,) = figures[0].axes
    assert list(axes.lines[0].get_xdata()) == [2, 4]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4"]


def test_masks_are_made_of_the_indices_kept():
    found = Kept.of({"a": [0, 3], "b": [1]}, {"a": 4, "b": 2})
    assert found.channels["a"].tolist() == [True, False, False, True]
    assert found.channels["b"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("labels", "experiments", "sentence"),
    [
        ({}, EXPERIMENTS, "--labels has nothing for 'a.safetensors'"),
        ({"a.safetensors": {"experiment": "e", "method": "dhp"}}, {}, "'--labels': The JSON lacks"),
        (
            {"a.safetensors": {"experiment": "e", "method": "d", "seed": "x"}},
            {},
            "has 'x' at a.saf",
        ),
        ({}, {"e": "Net"}, "'--experiments': The JSON has 'Net' at e"),
    ],
)
def test_wrong_labels_on_the_command_line_are_refused(tmp_path, labels, experiments, sentence):
    options = {"labels": json.dumps(labels), "experiments": json.dumps(experiments)}
    options |= {kind: str(tmp_path / kind) for kind in ("csv", "markdown", "html", "latex")}
    options["output"] = str(tmp_path / "a.png")
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    outcome = CliRunner().invoke(main, ["a.safetensors", *words])
    assert outcome.exit_code and sentence in f"{outcome.output} {outcome.exception}"
    assert not list(tmp_path.iterdir())
