"""The command line and the examples of the README."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from running import ROOT, lwdna


def test_help_lists_every_step_without_pytorch():
    code = "import sys, lwdna.__main__ as m; m.lwdna(['--help'], standalone_mode=False)"
    code += "; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for step in ("crop", "shrink", "train", "evaluate", "table", "explain", "info"):
        assert f"  {step} " in done.stdout


@pytest.mark.parametrize("step", ["images", "crop", "gray", "digits", "pack", "table"])
def test_light_steps_do_not_wait_for_pytorch(step):
    code = f"import sys, lwdna.steps.{step}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_complexity_says_both_conventions():
    status, text = lwdna("complexity", "DnCNN")
    assert status == 0
    assert "9,126,805,504 FLOPs with batch norm" in text
    assert "9,095,348,224 FLOPs without batch norm (9.0953 G)" in text
    assert "1 x 128 x 128" in text


def test_complexity_of_the_paper_matches_wherever_we_have_the_network(tmp_path):
    tables = [("--paper", n, ROOT / f"paper/table{n}.csv") for n in (1, 2)]
    status, text = lwdna(
        "complexity", *(word for table in tables for word in table), "--output", tmp_path / "c.csv"
    )
    assert status == 0, text
    frame = pd.read_csv(tmp_path / "c.csv")
    assert set(frame["network"]) == {"ResNet56", "MobileNetV1", "DnCNN", "U-Net"}
    assert frame["matches"].all()


def test_explain_says_why():
    status, text = lwdna("explain", "ResNet8")
    assert status == 0
    assert "because: add at stages.0.0" in text and "feeds the classifier" in text


def test_the_example_of_the_readme(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code + "\nassert sum(p.numel() for p in network.parameters()) < 2e6",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "FLOPs" in done.stdout and (tmp_path / "small.safetensors").exists()
