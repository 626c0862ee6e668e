"""Strips show where a part was cut out, and that part before and after each network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import lwdna
from lwdna.data.photographs import PHOTOGRAPHS, export_photographs
from lwdna.errors import ConfigError, DataError
from lwdna.networks.weights import save
from lwdna.results.strips import Region, plot_strip, region_of
from lwdna.steps.strip import main
from lwdna.tasks.metrics import conventions, psnr
from lwdna.tasks.task import test_dataset as dataset_of

REGION = Region(4, 8, 16, 24)


def random(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def texts(svg: Path) -> set[str]:
    return set(re.findall(r"<!-- (.*?) -->", svg.read_text()))


def test_a_strip_is_whole_and_marks_what_is_missing(tmp_path: Path) -> None:
    clean = random(32, 48, 3)
    images = {"Ground truth": clean, "Bicubic": clean, "Baseline": None, "LW-DNA": clean}
    for name in "ab":
        outputs = [tmp_path / f"{name}.png", tmp_path / f"{name}.svg"]
        plot_strip(
            images,
            outputs,
            region=REGION,
            psnr_db={"LW-DNA": 24.406, "Bicubic": 20},
            scale="Small.",
            title="EDSR",
            note="Of all.",
        )
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert np.asarray(Image.open(tmp_path / "a.png")).shape[1] == 2000
    shown = texts(tmp_path / "a.svg")
    assert {"Whole image", *images, "24.41 dB", "20.00 dB", "not run", "Small.", "Of all."} <= shown
    assert len([text for text in shown if text.endswith(" dB")]) == 2


def test_the_box_is_around_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    clean = random(32, 48)
    plot_strip({"Ground truth": clean}, [tmp_path / "a.png"], region=REGION, psnr_db={})
    whole, part = figures[0].axes
    assert np.array_equal(whole.images[0].get_array(), clean)  # type: ignore[arg-type]
    assert np.array_equal(part.images[0].get_array(), clean[4:20, 8:32])  # type: ignore[arg-type]
    box = next(patch for patch in whole.patches if isinstance(patch, Rectangle))
    assert (*box.get_xy(), box.get_width(), box.get_height()) == (7.5, 3.5, 24, 16)
    assert whole.get_position().y1 == pytest.approx(part.get_position().y1)


@pytest.mark.parametrize(
    ("centre", "expected"),
    [((20, 30), (12, 22)), ((0, 0), (0, 0)), ((39, 59), (24, 44)), ((20, 59), (12, 44))],
)
def test_a_part_lies_inside_the_image(centre: tuple[int, int], expected: tuple[int, int]) -> None:
    found = region_of(random(40, 60), size=16, centre=centre)
    assert (found.top, found.left) == expected
    assert found.cut(random(40, 60)).shape == (16, 16)


def test_an_image_smaller_than_the_part_is_shown_whole() -> None:
    assert region_of(random(40, 60), size=100) == Region(0, 0, 40, 60)
    assert region_of(random(40, 160), size=100, centre=(3, 150)) == Region(0, 60, 40, 100)


def test_the_part_is_where_the_detail_is() -> None:
    image = np.full((96, 160, 3), 90, np.uint8)
    image[40:72, 104:136] = random(32, 32, 3)
    found = region_of(image, size=48)
    assert found.top <= 40 and found.top + 48 >= 72
    assert found.left <= 104 and found.left + 48 >= 136


def test_a_known_photograph_has_a_part_of_its_own_but_not_any_image_of_that_name() -> None:
    assert PHOTOGRAPHS["astronaut"].focus is not None
    row, column = PHOTOGRAPHS["astronaut"].focus
    for size in (128, 64):
        found = region_of(np.zeros((512, 512), np.uint8), size=size, name="astronaut")
        assert found == Region(row - size // 2, column - size // 2, size, size)
    assert region_of(np.zeros((300, 512), np.uint8), name="astronaut").top == 0


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    gray = np.zeros((8, 8), dtype=np.uint8)
    output, region = [tmp_path / "a.png"], Region(0, 0, 4, 4)
    with pytest.raises(ConfigError, match=r"row 8 and column 0, but the image has 8 rows"):
        region_of(gray, centre=(8, 0), name="a")
    wrongs: list[Any] = [gray[:5], gray[:0], gray[:4, :4], gray.astype(np.float32)]
    for wrong in wrongs:
        with pytest.raises(DataError, match="'LW-DNA'"):
            plot_strip({"Clean": gray, "LW-DNA": wrong}, output, region=region, psnr_db={})
    with pytest.raises(DataError, match="clean image"):
        plot_strip({"Clean": None}, output, region=region, psnr_db={})
    with pytest.raises(ConfigError, match="Clean"):
        plot_strip({"Clean": gray}, output, region=region, psnr_db={"clean": 1.0})
    with pytest.raises(ConfigError, match=r"allowed: .png, .svg, .pdf"):
        plot_strip({"Clean": gray}, [tmp_path / "a.eps"], region=region, psnr_db={})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def drawing(tmp_path: Path) -> list[str]:
    """Arguments that draw a strip of a denoised photograph; the output is a.svg."""
    export_photographs(["coffee", "rocket"], tmp_path / "images")
    save(lwdna.build("DnCNN", blocks=1, channels=2), tmp_path / "net.safetensors")
    task = json.dumps({"kind": "denoising", "sigma": 70})
    words = ["--weights", "Net", str(tmp_path / "net.safetensors"), "--task", task]
    return [*words, "--test", str(tmp_path / "images"), "--output", str(tmp_path / "a.svg")]


def test_the_input_has_the_psnr_of_the_tests(drawing: list[str], tmp_path: Path) -> None:
    outcome = CliRunner().invoke(main, [*drawing, "--image", "rocket"], catch_exceptions=False)
    assert outcome.exit_code == 0
    data = dataset_of({"kind": "denoising", "sigma": 70}, tmp_path / "images")
    inputs, target = data[1]
    expected = psnr(inputs, target, **conventions("denoising"))  # type: ignore[arg-type]
    shown = texts(tmp_path / "a.svg")
    assert {"Ground truth", "Noisy input", "Net", f"{expected:.2f} dB"} <= shown
    assert any("whole image 'rocket'" in text for text in shown)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--image", "rockets"], "no test image 'rockets'; did you mean 'rocket'"),
        (["--centre", "400", "0"], "the image has 400 rows and 600 columns"),
    ],
)
def test_a_part_that_is_not_there_is_refused(
    drawing: list[str], tmp_path: Path, words: list[str], sentence: str
) -> None:
    outcome = CliRunner().invoke(main, [*drawing, *words])
    assert isinstance(outcome.exception, ConfigError) and sentence in str(outcome.exception)
    assert not (tmp_path / "a.svg").exists()
