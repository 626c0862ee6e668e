"""Figures are written whole, twice the same, not blank, and say what was not run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lwdna.errors import ConfigError, DataError
from lwdna.figures import plot_remaining_channels, plot_strip, plot_training_logs

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
            {"experiment": "digits", "seed": seed, "layer": layer, "baseline": 32, "after": after}
            for seed in range(2)
            for layer, after in (("conv1", 10 + seed), ("conv2", 20), ("fc", 32))
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
        outputs = [tmp_path / f"{name}.png", tmp_path / f"{name}.svg"]
        plot_training_logs(histories(), outputs, experiments=EXPERIMENTS, scale=SCALE)
    assert dict(mpl.rcParams) == before
    check_png(tmp_path / "a.png")
    for suffix in ("png", "svg"):
        first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert first == second
    shown = texts(tmp_path / "a.svg")
    assert {SCALE, "ResNet14 x0.5 (n=2)", "DnCNN (n=1)", "LW-DNA", "training"} <= shown
    assert {"Top-1 error [%]", "PSNR [dB]"} <= shown
    assert "Not run: ResNet14 x0.5 (Baseline KD), DnCNN (Baseline), EDSR." in shown
    assert "Baseline KD" not in shown
    assert len(list(tmp_path.iterdir())) == 4


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


def test_remaining_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [tmp_path / "a.png", tmp_path / "a.svg"]
    plot_remaining_channels(channels(), outputs, experiments=EXPERIMENTS, scale=SCALE)
    check_png(tmp_path / "a.png")
    shown = texts(tmp_path / "a.svg")
    assert {SCALE, "ResNet14 x0.5 (n=2)", "conv1", "fc", "Not run: DnCNN, EDSR."} <= shown
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    plot_remaining_channels(channels(), outputs[:1], experiments=EXPERIMENTS)
    (axes,) = figures[0].axes
    heights = [patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
    assert heights == [100 * 10.5 / 32, 62.5, 100.0]
    assert 100.0 in {float(np.ravel(line.get_ydata())[0]) for line in axes.lines}


def test_a_figure_without_data_says_not_run(tmp_path: Path) -> None:
    outputs = [tmp_path / "a.svg"]
    nothing = pd.DataFrame()
    plot_training_logs(nothing, outputs, experiments=EXPERIMENTS, scale=SCALE)
    assert {"not run", "Not run: ResNet14 x0.5, DnCNN, EDSR.", SCALE} <= texts(outputs[0])
    plot_remaining_channels(nothing, outputs, experiments={})
    assert "not run" in texts(outputs[0])


def test_strip_enlarges_the_input_and_marks_what_is_missing(tmp_path: Path) -> None:
    clean = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    images = {"Clean": clean, "Input": clean[::4, ::4], "Baseline": None, "LW-DNA": clean}
    outputs = [tmp_path / "a.png", tmp_path / "a.svg"]
    plot_strip(images, outputs, psnr_db={"LW-DNA": 24.406}, scale=SCALE, title="EDSR", note="Crop.")
    check_png(tmp_path / "a.png")
    shown = texts(tmp_path / "a.svg")
    assert {"Clean", "Input", "24.41 dB", "not run", SCALE, "EDSR", "Crop."} <= shown
    assert len([text for text in shown if text.endswith(" dB")]) == 1


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    gray = np.zeros((8, 8), dtype=np.uint8)
    with pytest.raises(ConfigError, match=r"allowed: .png, .svg"):
        plot_training_logs(histories(), [tmp_path / "a.pdf"], experiments=EXPERIMENTS)
    with pytest.raises(DataError, match="lack the column"):
        plot_training_logs(histories()[["epoch"]], [tmp_path / "a.png"], experiments=EXPERIMENTS)
    with pytest.raises(DataError, match="conv1"):
        plot_remaining_channels(
            channels().assign(baseline=0), [tmp_path / "a.png"], experiments=EXPERIMENTS
        )
    wrongs: list[Any] = [gray[:5], gray[:0], gray.astype(np.float32)]
    for wrong in wrongs:
        with pytest.raises(DataError, match="'LW-DNA'"):
            plot_strip({"Clean": gray, "LW-DNA": wrong}, [tmp_path / "a.png"], psnr_db={})
    with pytest.raises(DataError, match="clean image"):
        plot_strip({"Clean": None}, [tmp_path / "a.png"], psnr_db={})
    with pytest.raises(ConfigError, match="Clean"):
        plot_strip({"Clean": gray}, [tmp_path / "a.png"], psnr_db={"clean": 1.0})
    assert not list(tmp_path.iterdir())
