"""Figure 3: histograms of latent vectors, as a grid and as an animation."""

import numpy as np
import pytest
from PIL import Image

from lwdna.errors import ConfigError, DataError
from lwdna.results.latents import animate_histograms, plot_histograms
from lwdna.rivals.dhp_record import LatentRecord

SHOWN = {"layers": [1, 3], "title": "A search", "scale": "Small scale."}


@pytest.fixture
def record():
    generator = np.random.default_rng(0)
    start = [generator.normal(size=n).astype(np.float32) for n in (8, 40)]
    shrunk = {e: [v * (abs(v) > 0.3 * e) for v in start] for e in range(4)}
    return LatentRecord(
        layers=("stem", "dw", "pw"),
        layer_set=(0, 0, 1),
        latents=shrunk,
        trajectory=np.array([[1, 100, 48]]),
        settings={"threshold": 0.05},
    )


def test_the_grid_has_a_panel_for_each_layer_and_epoch(record, tmp_path):
    outputs = [tmp_path / "a.svg", tmp_path / "a.png"]
    plot_histograms(record, outputs, epochs=[0, 2, 9], **SHOWN)
    svg = outputs[0].read_text()
    panels = ("Layer 1, epoch 0", "Layer 3, epoch 2", "Layer 3, epoch 9")
    for text in (*panels, SHOWN["title"], SHOWN["scale"]):
        assert text in svg
    assert svg.count("the search had ended") == 2
    small = int((abs(record.latents[2][1]) < 0.05).sum())
    assert f"{small}/40 below T" in svg
    again = tmp_path / "b.png"
    plot_histograms(record, [again], epochs=[0, 2, 9], **SHOWN)
    assert again.read_bytes() == outputs[1].read_bytes()


def test_the_animation_has_a_frame_for_each_epoch(record, tmp_path):
    animate_histograms(record, tmp_path / "a.gif", **SHOWN)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 4


def test_a_layer_that_is_not_there_and_another_format_are_refused(record, tmp_path):
    with pytest.raises(DataError, match=r"no layer 4.*1 to 3"):
        plot_histograms(record, [tmp_path / "a.png"], layers=[4], epochs=[0], title="")
    with pytest.raises(ConfigError, match=r"\.gif"):
        animate_histograms(record, tmp_path / "a.mp4", layers=[1], title="")
    assert not list(tmp_path.iterdir())
