"""The command line and the examples of the README."""

import io
import re
import shlex
from pathlib import Path

import click
import pandas as pd
import pytest
import torch
from running import ROOT, lwdna, run_python

from lwdna.__main__ import COMMANDS, PIPELINE, Steps
from lwdna.steps._examples import EXAMPLES
from lwdna.steps._paths import ToRead


def test_help_lists_every_step_without_pytorch():
    code = "import sys, lwdna.__main__ as m; m.lwdna(['--help'], standalone_mode=False)"
    code += "; sys.exit('torch' in sys.modules)"
    said = run_python("-c", code)
    for step in ("crop", "shrink", "train", "evaluate", "table", "explain", "info"):
        assert f"  {step} " in said


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nThe rest")]
)
def test_full_memory_is_one_sentence(monkeypatch, error):
    def full():
        raise error

    monkeypatch.setattr("lwdna.__main__.lwdna", full)
    status, text = lwdna()
    assert status == 1 and len(text.splitlines()) == 1, text
    assert "The memory is full" in text and "Let fewer jobs share it" in text


def test_complexity_says_both_conventions():
    status, text = lwdna("complexity", "DnCNN")
    assert status == 0
    assert "9,126,805,504 FLOPs with batch norm" in text
    assert "9,095,348,224 FLOPs without batch norm (9.0953 G)" in text
    assert "1 x 128 x 128" in text


def test_complexity_of_the_paper_matches_to_the_digit(tmp_path):
    status, text = lwdna("complexity", "--paper", cwd=tmp_path)
    assert status == 0, text
    frame = pd.read_csv(io.StringIO(text))
    assert len(frame) == 18 and frame["matches"].all(), text
    assert list(frame) == [
        *("dataset", "network", "flops", "params", "paper_flops_g", "paper_params_m", "matches")
    ]
    assert set(frame[frame["dataset"].isna()]["network"]) == {"DnCNN", "U-Net"}
    page = (ROOT / "docs/results.md").read_text()
    for line in pd.read_csv(io.StringIO(text), dtype=str).to_dict("records"):
        flops, params = (f"{int(line[key]):,}" for key in ("flops", "params"))
        numbers = f"{flops} | {line['paper_flops_g']} G | {params} | {line['paper_params_m']} M |"
        assert f" {line['network']} | {numbers}" in page


def test_complexity_of_tables_in_files(tmp_path):
    tables = [("--table", n, ROOT / f"paper/table{n}.csv") for n in (2, 1)]
    status, text = lwdna(
        "complexity", *(word for table in tables for word in table), "--output", tmp_path / "c.csv"
    )
    assert status == 0 and text.strip().endswith(f"Wrote '{tmp_path}/c.csv'.")
    frame = pd.read_csv(tmp_path / "c.csv")
    assert list(frame["network"][:3]) == ["DnCNN", "U-Net", "ResNet50"]
    assert len(frame) == 18


@pytest.mark.parametrize("arguments", [[], ["DnCNN", "--paper"]], ids=str)
def test_complexity_is_of_one_thing(arguments):
    status, text = lwdna("complexity", *arguments)
    assert status == 2 and "only one of them" in text


def test_complexity_without_the_numbers_of_the_paper_says_so(monkeypatch, tmp_path):
    from lwdna.errors import DataError
    from lwdna.io import project
    from lwdna.results import replication

    monkeypatch.setattr(project, "PAPER", tmp_path)
    with pytest.raises(DataError, match=r"table1.csv'; run from a clone.*--table"):
        replication.own_tables()


def test_explain_says_why():
    status, text = lwdna("explain", "ResNet8")
    assert status == 0
    assert "because: add at stages.0.0" in text and "feeds the classifier" in text


def test_the_example_of_the_readme(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code += "\nassert sum(p.numel() for p in network.parameters()) < 2e6"
    said = run_python("-c", code, folder=tmp_path)
    assert "FLOPs" in said and (tmp_path / "small.safetensors").exists()


EACH = [
    line.removeprefix("lwdna ")
    for text in EXAMPLES.values()
    for line in text.replace("\\\n", " ").split("\nlwdna ")
]
"""The examples, one command each."""


@pytest.mark.parametrize("line", EACH, ids=lambda line: line[:30])
def test_every_example_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What they read is not there.
    monkeypatch.setattr(ToRead, "convert", lambda self, value, *_: Path(value))
    name, *rest = shlex.split(line)
    command = Steps().get_command(None, name)
    threads = torch.get_num_threads()
    try:
        assert command.make_context(name, rest).params
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_no_option_is_a_riddle(name):
    command = Steps().get_command(None, name)
    said = command.get_help(click.Context(command, info_name=name, max_content_width=100))
    assert f"\n    lwdna {name}" in said, said
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help and len(option.help) > 9, f"{name} {option.opts[0]}: {option.help}"


def test_every_command_is_listed_once():
    _, text = lwdna("--help")
    used, _, pipeline = text.partition("Commands:")[2].partition("Steps of the pipeline:")
    for name in COMMANDS:
        listed = [bool(re.search(rf"\n  {name} ", part)) for part in (used, pipeline)]
        assert sum(listed) == 1 and listed[1] == (name in PIPELINE), name


def test_a_step_says_what_it_wrote_and_nothing_else(tmp_path):
    arguments = ["--train", "train.h5", "--test", "test.h5", "--train-fraction", "0.1"]
    status, text = lwdna("digits", *arguments, cwd=tmp_path)
    assert status == 0 and text.strip().endswith("Wrote 'train.h5', 'test.h5'."), text
    # What is in a folder goes by the name of that.
    status, text = lwdna("images", "coffee", "--output", "mine", cwd=tmp_path)
    assert status == 0 and text.strip().endswith("Wrote 'mine'."), text
    status, text = lwdna("explain", "ResNet8")
    assert status == 0 and "Wrote" not in text
