"""Networks at many widths: what was measured is in the table and drawn, of those that have it."""

import pandas as pd
import pytest
from test_figures import check_png, texts

from lwdna.results.widths import plot_widths, write_widths

EXPERIMENTS = {"digits": {"label": "ResNet14"}, "noise": {"label": "DnCNN"}}


def measured():
    rows = []
    key = {"experiment": "digits", "method": "mutualnet", "seed": 0, "params": 5e4, "images": 100}
    for width in (1.0, 0.9):
        for size in (32, 24):
            about = key | {"width": width, "size": size, "flops": 6e6 * width**2 * (size / 32) ** 2}
            error = {"top1_error_percent": 2.125 / width, "top1_error_percent_before": 50.0}
            rows.append(about | error)
    key = {"experiment": "noise", "method": "autoslim", "seed": 0, "params": 1e4, "images": 2}
    for width in (1.0, 0.5):
        about = key | {"width": width, "size": None, "flops": 9e7 * width**2}
        rows.append(about | {"psnr_db": 24.5 * width, "psnr_db_before": 20.25})
    return pd.DataFrame(rows)


@pytest.fixture
def files(tmp_path):
    return {kind: tmp_path / f"widths.{kind}" for kind in ("csv", "markdown", "html", "latex")}


def test_the_table_has_every_width_and_size(files):
    write_widths(measured(), EXPERIMENTS, "At small scale.", **files)
    text = files["markdown"].read_text()
    assert "## ResNet14: MutualNet" in text and "## DnCNN: AutoSlim" in text
    assert "At small scale." in text and "Top-1 error [%]" in text and "PSNR [dB]" in text
    assert "| 0.9 | 24 | 2.734 | 50 | 2.36 | 50.00 |" in text
    assert "| 0.5 | 22.5 | 10 | 12.25 | 20.25 |" in text
    assert len(pd.read_csv(files["csv"])) == 6


def test_a_panel_for_each_network_and_a_line_for_each_size(tmp_path):
    outputs = [tmp_path / "a.png", tmp_path / "a.svg"]
    plot_widths(measured(), outputs, experiments=EXPERIMENTS, scale="At small scale.")
    check_png(outputs[0])
    found = texts(outputs[1])
    assert {"ResNet14: MutualNet", "DnCNN: AutoSlim", "32 px", "24 px"} <= found
    again = [tmp_path / "b.png", tmp_path / "b.svg"]
    plot_widths(measured(), again, experiments=EXPERIMENTS, scale="At small scale.")
    assert [p.read_bytes() for p in outputs] == [p.read_bytes() for p in again]
    plot_widths(measured(), [tmp_path / "c.svg"], experiments={"noise": {}})
    assert "noise: AutoSlim" in texts(tmp_path / "c.svg")
    assert "ResNet14: MutualNet" not in texts(tmp_path / "c.svg")
