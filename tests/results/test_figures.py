"""Figures are written whole, twice the same, not blank, and say what was not run."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from lwdna.config.methods import METHODS, Method
from lwdna.errors import ConfigError, DataError
from lwdna.results.figures import plot_remaining_channels, plot_training_logs
from lwdna.results.panels import draw_panels

SCALE = "Demo at small scale."
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "digits": {"label": "ResNet14 x0.5", "methods": ["baseline", "baseline-kd", "lw-dna"]},
    "noise": {"label": "DnCNN", "methods": ["baseline", "lw-dna"]},
    "later": {"label": "EDSR", "methods": ["baseline", "lw-dna"]},
}


def histories() -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 13):
        for seed in range(2):
            for method in ("teacher", "baseline", "lw-dna"):
                error = 50 / epoch + seed
                values = {"train_top1_error_percent": error, "test_top1_error_percent": error + 2}
                key = {"experiment": "digits", "method": method, "seed": seed, "epoch": epoch}
                rows.append(key | values)
        tested = 20 + epoch / 10 if epoch % 2 == 0 else None
        key = {"experiment": "noise", "method": "lw-dna", "seed": 0, "epoch": epoch}
        rows.append(key | {"train_psnr": 19 + epoch / 10, "test_psnr": tested})
    return pd.DataFrame(rows)


def channels() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"experiment": "digits", "seed": seed, "layer": layer, "baseline": base}
            | {"before": before, "after": after, "frozen": layer in ("rgb", "fc")}
            for seed in range(2)
            for layer, base, before, after in (
                ("rgb", 3, 3, 3),
                ("conv1", 32, 64, 10 + seed),
                ("conv2", 32, 64, 20),
                ("conv3", 32, 64, 64),
                ("fc", 32, 32, 32),
            )
        ]
    )


def texts(svg: Path) -> set[str]:
    """Every text drawn in an SVG: matplotlib notes it in a comment above its outlines."""
    return set(re.findall(r"<!-- (.*?) -->", svg.read_text()))


def check_png(path: Path, width: int = 2000) -> None:
    image = np.asarray(Image.open(path).convert("L"))
    assert image.shape[1] == width
    assert image.std() > 5
    assert len(np.unique(image)) > 20


def test_training_logs_are_drawn_the_same_twice(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for name in ("a", "b"):
        outputs = [tmp_path / f"{name}.{kind}" for kind in ("png", "svg", "pdf")]
        plot_training_logs(histories(), outputs, experiments=EXPERIMENTS, scale=SCALE)
    assert dict(mpl.rcParams) == before
    check_png(tmp_path / "a.png")
    for suffix in ("png", "svg", "pdf"):
        first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert first == second
    shown = texts(tmp_path / "a.svg")
    assert {SCALE, "ResNet14 x0.5 (n=2)", "DnCNN (n=1)", "LW-DNA", "training"} <= shown
    assert {"Top-1 error [%]", "PSNR [dB]"} <= shown
    assert "Not run: ResNet14 x0.5 (Baseline KD), DnCNN (Baseline), EDSR." in shown
    assert "Baseline KD" not in shown
    assert len(list(tmp_path.iterdir())) == 6


def test_logs_show_the_mean_and_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    experiments = {name: EXPERIMENTS[name] for name in ("digits", "noise")}
    plot_training_logs(histories(), [tmp_path / "a.png"], experiments=experiments)
    classification, restoration = figures[0].axes
    lines = classification.lines
    assert [line.get_linestyle() for line in lines] == ["--", "-"] * 2
    assert list(lines[1].get_ydata())[:2] == [52.5, 27.5]  # type: ignore[arg-type]
    assert len(classification.collections) == 4
    assert [list(line.get_xdata()) for line in restoration.lines][1] == [2, 4, 6, 8, 10, 12]  # type: ignore[arg-type]
    assert len(restoration.collections) == 0


def test_every_method_has_a_curve_of_its_own_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    names = [*METHODS, "teacher", "dhp-search"]
    one = histories().query("experiment == 'digits' and method == 'lw-dna'")
    rows = pd.concat([one.assign(method=name) for name in names])
    experiments = {"digits": {"label": "All", "methods": names}}
    plot_training_logs(rows, [tmp_path / "a.png"], experiments=experiments)
    (axes,) = figures[0].axes
    tests = [line.get_color() for line in axes.lines if line.get_linestyle() == "-"]
    assert len(tests) == len(set(tests)) == len(names)
    (legend,) = figures[0].legends
    titles = [text.get_text() for text in legend.get_texts()]
    assert titles[:2] == ["Teacher", "DHP (search)"] and titles[-3:-1] == ["Uniform", "testing"]
    figures[0].draw_without_rendering()
    box, panel = legend.get_window_extent(), axes.get_tightbbox()
    assert box.x1 <= figures[0].bbox.x1 and panel is not None and not box.overlaps(panel)


def test_a_training_that_was_not_tested_yet_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    rows = histories().query("experiment == 'noise' and epoch == 1")
    plot_training_logs(rows, [tmp_path / "a.png"], experiments={"noise": EXPERIMENTS["noise"]})
    (axes,) = figures[0].axes
    (line,) = axes.lines
    assert (line.get_linestyle(), list(line.get_xdata())) == ("--", [1])  # type: ignore[arg-type]


def test_remaining_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [tmp_path / "a.png", tmp_path / "a.svg"]
    plot_remaining_channels(channels(), outputs, experiments=EXPERIMENTS, scale=SCALE)
    check_png(tmp_path / "a.png")
    shown = texts(tmp_path / "a.svg")
    assert {SCALE, "ResNet14 x0.5 (n=2)", "Layer", "Not run: DnCNN, EDSR."} <= shown
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    plot_remaining_channels(channels(), outputs[:1], experiments=EXPERIMENTS)
    (axes,) = figures[0].axes
    heights = [patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
    assert heights == [100 * 10.5 / 32, 62.5, 200.0]
    assert numbers(axes) == ["2", "3", "4"]
    assert 100.0 in {float(np.ravel(line.get_ydata())[0]) for line in axes.lines}


def numbers(axes: Axes) -> list[str]:
    """The labels of the ticks that are seen."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    return [label.get_text() for place, label in ticks if low <= place <= high]


def test_channels_of_earlier_versions_leave_out_what_lost_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not say what is frozen; one of two tables may be of this version."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    old = channels().drop(columns="frozen")
    new = channels().assign(experiment="noise")
    for table in (old, pd.concat([old, new])):
        plot_remaining_channels(table, [tmp_path / "a.png"], experiments=EXPERIMENTS)
    assert numbers(figures[0].axes[0]) == ["2", "3"]
    assert [numbers(axes) for axes in figures[1].axes] == [["2", "3"], ["2", "3", "4"]]


def test_a_network_that_cannot_be_cut_was_run_all_the_same(tmp_path: Path) -> None:
    whole = channels().assign(frozen=True)
    experiments = {"digits": EXPERIMENTS["digits"]}
    plot_remaining_channels(whole, [tmp_path / "a.svg"], experiments=experiments)
    shown = texts(tmp_path / "a.svg")
    assert {"ResNet14 x0.5", "no layer lost a channel"} <= shown
    assert not any("Not run" in text for text in shown)


def test_one_test_of_a_training_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    rows = histories().query("experiment == 'digits'")
    rows.loc[rows["epoch"] < 12, "test_top1_error_percent"] = None
    experiments = {"digits": EXPERIMENTS["digits"]}
    plot_training_logs(rows, [tmp_path / "a.png"], experiments=experiments)
    (axes,) = figures[0].axes
    tested = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [(len(line.get_xdata()), line.get_marker()) for line in tested] == [(1, "o")] * 2  # type: ignore[arg-type]
    ranges = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(ranges) == 2
    # Training has many points, and no marks.
    assert {line.get_marker() for line in axes.lines if line not in tested} == {""}


@pytest.mark.parametrize("layers", [3, 19, 45, 160])
@pytest.mark.parametrize("panels", [1, 6])
def test_no_label_touches_a_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: int, panels: int
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    names = [f"e{panel}" for panel in range(panels)]
    experiments = {name: {"label": f"A network called {'so ' * 12}{name}"} for name in names}
    many = pd.DataFrame(
        [
            {"experiment": name, "seed": 0, "layer": f"features.{layer}.conv", "baseline": 1000}
            | {"before": 2000, "after": 1000 + layer, "frozen": False}
            for name in names
            for layer in range(layers)
        ]
    )
    logs = pd.concat(
        [
            histories()
            .query("experiment == 'digits'")
            .assign(experiment=name, epoch=lambda h: 9 * h["epoch"])
            for name in names
        ]
    )
    outputs = [tmp_path / "a.png", tmp_path / "a.pdf"]
    plot_remaining_channels(many, outputs, experiments=experiments)
    plot_training_logs(logs, outputs, experiments=experiments)
    for figure in figures:
        figure.draw_without_rendering()
        assert len(figure.axes) == panels
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        for one, other in itertools.combinations(boxes, 2):
            assert one is not None and other is not None and not one.overlaps(other)
        for axes in figure.axes:
            ticks = [t.get_window_extent() for t in axes.get_xticklabels() if t.get_text()]
            assert len(ticks) >= min(layers, 3)
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(ticks))


def pdf(path: Path) -> tuple[float, bytes]:
    """The width in inches of the page of a PDF, and its text that is not compressed."""
    content = path.read_bytes()
    found = re.search(rb"/MediaBox \[\s*0 0 ([\d.]+) [\d.]+\s*\]", content)
    assert found is not None
    return float(found[1]) / 72, content


@pytest.mark.parametrize(("count", "width"), [(1, 3.25), (2, 6.875)])
def test_a_pdf_is_as_wide_as_a_column_or_a_page(tmp_path: Path, count: int, width: float) -> None:
    """With fonts that publishers take, and without a date."""
    experiments = {name: EXPERIMENTS[name] for name in ("digits", "noise")[:count]}
    output = tmp_path / "a.pdf"
    plot_training_logs(histories(), [output], experiments=experiments, scale=SCALE)
    found, content = pdf(output)
    assert found == pytest.approx(width, abs=0.01)
    assert b"/CIDFontType2" in content and b"/Type3" not in content and b"Date" not in content


def test_a_figure_for_a_paper_has_the_banner_but_no_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a legend of many methods is broken into lines that fit into a column."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    legend = [Line2D([], [], label=f"A method with number {i}") for i in range(9)]
    for name in ("a.png", "a.pdf"):
        draw_panels(
            [tmp_path / name], "Title", legend, ["small print", SCALE], lambda _: None,
            panels=1, columns=1, height=2,
        )  # fmt: skip
    screen, paper = ([text.get_text() for text in figure.texts] for figure in figures)
    assert screen == ["Title", f"small print\n{SCALE}"] and paper == ["", SCALE]
    for figure in figures:
        figure.draw_without_rendering()
        box, panel = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
        assert box.x1 <= figure.bbox.x1 and box.y0 >= panel.y1 and box.y1 <= figure.bbox.y1


def test_every_colour_is_seen_on_white_and_told_from_the_others() -> None:
    def luminance(colour: str) -> float:
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    chosen = [m.colour for m in METHODS.values() if m.colour != Method.colour]
    assert len(set(chosen)) == len(chosen)
    for colour in chosen:
        assert 1.05 / (luminance(colour) + 0.05) > 2, colour


def test_a_figure_without_data_says_not_run(tmp_path: Path) -> None:
    outputs = [tmp_path / "a.svg"]
    nothing = pd.DataFrame()
    plot_training_logs(nothing, outputs, experiments=EXPERIMENTS, scale=SCALE)
    assert {"not run", "Not run: ResNet14 x0.5, DnCNN, EDSR.", SCALE} <= texts(outputs[0])
    plot_remaining_channels(nothing, outputs, experiments={})
    assert "not run" in texts(outputs[0])


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"allowed: .png, .svg, .pdf"):
        plot_training_logs(histories(), [tmp_path / "a.eps"], experiments=EXPERIMENTS)
    with pytest.raises(DataError, match="lack the column"):
        plot_training_logs(histories()[["epoch"]], [tmp_path / "a.png"], experiments=EXPERIMENTS)
    with pytest.raises(DataError, match="'rgb' of 'digits' has 0 channels"):
        plot_remaining_channels(
            channels().assign(baseline=0), [tmp_path / "a.png"], experiments=EXPERIMENTS
        )
    assert not list(tmp_path.iterdir())
