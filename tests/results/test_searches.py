"""The ways of searches are drawn, of those experiments alone that have them."""

import pandas as pd
from matplotlib.axes import Axes
from test_figures import check_png, texts

from lwdna.results.searches import plot_searches

EXPERIMENTS = {"digits": {"label": "ResNet14"}, "noise": {"label": "DnCNN"}}


def records():
    rows = []
    for seed in range(2):
        key = {"experiment": "digits", "method": "autoslim", "seed": seed}
        rows += [key | {"flops": 2e6 - 1e5 * n, "error": 4.0 + n + seed} for n in range(6)]
        key = {"experiment": "noise", "method": "metapruning", "seed": seed}
        rows += [key | {"iteration": n, "best": 9.0 - n, "mean": 12.0 + seed} for n in range(3)]
    return pd.DataFrame(rows)


def drawn(monkeypatch):
    """The titles and lines of what is drawn from now on."""
    found = []
    plot = Axes.plot

    def noted(axes, x, y, *arguments, **options):
        found.append((axes.get_title(loc="left"), list(x), list(y)))
        return plot(axes, x, y, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", noted)
    return found


def test_removals_and_iterations_are_drawn(tmp_path, monkeypatch):
    found = drawn(monkeypatch)
    outputs = [tmp_path / "a.png", tmp_path / "a.svg"]
    plot_searches(records(), outputs, experiments=EXPERIMENTS, scale="At small scale.")
    removals = [line for line in found if line[0] == "ResNet14: AutoSlim"]
    assert [line[2] for line in removals] == [[4.0, 5, 6, 7, 8, 9], [5.0, 6, 7, 8, 9, 10]]
    assert removals[0][1][:2] == [2.0, 1.9]  # MFLOPs
    iterations = [line[1:] for line in found if line[0] == "DnCNN: MetaPruning"]
    assert iterations == [([0, 1, 2], [12.5] * 3), ([0, 1, 2], [9.0, 8.0, 7.0])]
    check_png(outputs[0])
    assert {"At small scale.", "MetaPruning: best so far", "MFLOPs"} <= texts(outputs[1])
    again = [tmp_path / "b.png", tmp_path / "b.svg"]
    plot_searches(records(), again, experiments=EXPERIMENTS, scale="At small scale.")
    assert [p.read_bytes() for p in outputs] == [p.read_bytes() for p in again]


def test_only_what_was_run_is_named(tmp_path):
    slimming = records()[records()["method"].eq("autoslim").to_list()]
    plot_searches(slimming, [tmp_path / "a.svg"], experiments=EXPERIMENTS)
    assert not {text for text in texts(tmp_path / "a.svg") if text.startswith("MetaPruning: best")}
    plot_searches(pd.DataFrame(), [tmp_path / "b.svg"], experiments={})
    assert "not run" in texts(tmp_path / "b.svg")
