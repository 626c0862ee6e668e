"""The pages on what is one's own, followed word for word in an empty folder."""

import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from running import ROOT

NETWORK, LAYER, PIPELINE = (
    ROOT / f"docs/your-own-{name}.md" for name in ("network", "layer", "pipeline")
)
BLOCK = re.compile(r"(.*?)```(\w+)\n(.*?)```\n", re.DOTALL)


def blocks(page):
    """Kind and content of each block of a page, and the text before it."""
    return [(kind, content, text) for text, kind, content in BLOCK.findall(page.read_text())]


FOUND = re.compile(r"-> .*|(\(\w+\): (?:Conv2d|BatchNorm2d|Linear)\().*|^(\w+ +[\d,]+) .*[\d.]$")
"""What follows from the random choice of channels, which versions of PyTorch may make otherwise:
after an arrow, the sizes of the small network's layers, the last columns of a table."""


def printed(text):
    """What is printed, up to times, spaces, and what follows from a choice of channels."""
    lines = [re.sub(r"\d\d:\d\d:\d\d", "time", line) for line in text.splitlines()]
    lines = [re.sub(r"\s+", " ", FOUND.sub(r"\1\2", line)) for line in lines]
    return [line for line in lines if line != "__pycache__"]


@pytest.fixture
def shell(tmp_path):
    """Run lines in a shell in an empty folder, where `python` and `lwdna` are those of the test."""
    programs, folder = tmp_path / "bin", tmp_path / "an empty folder"
    programs.mkdir()
    folder.mkdir()
    modules = {"python": "", "lwdna": "-m lwdna ", "snakemake": "-m snakemake "}
    for name, arguments in modules.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    environment["LWDNA"] = str(ROOT)

    def run(lines):
        return subprocess.run(
            ["bash", "-ec", lines],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )

    run.folder = folder
    return run


def test_the_page_on_networks_word_for_word(shell):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert follow(NETWORK, shell) == {"python": 3, "sh": 6, "text": 6}


def test_the_page_on_layers_word_for_word(shell):
    assert follow(LAYER, shell) == {"python": 2, "sh": 3, "text": 3}


def test_the_page_on_the_pipeline_word_for_word(shell):
    pytest.importorskip("snakemake")
    pytest.importorskip("torchvision")
    assert follow(PIPELINE, shell) == {"python": 2, "yaml": 1, "sh": 4, "text": 3}


def follow(page, shell):
    """Write and run the blocks of a page, compare what is printed, and count them by kind."""
    said = None
    seen = []
    for kind, content, text in blocks(page):
        seen.append(kind)
        if kind in {"python", "yaml"}:
            (name,) = re.findall(r"`(\w+\.(?:py|yaml))`[^`]*:\s*$", text)
            (shell.folder / name).write_text(content)
        elif kind == "sh":
            done = shell(content)
            assert done.returncode == 0, done.stdout
            said = done.stdout
        else:
            assert kind == "text"
            assert printed(said) == printed(content)
    return Counter(seen)


def test_the_script_is_fifteen_lines():
    scripts = [content for kind, content, _ in blocks(NETWORK) if kind == "python"]
    assert len(scripts[1].strip().splitlines()) <= 15
