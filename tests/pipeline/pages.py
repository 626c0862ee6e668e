"""The means to follow a page of the docs, word for word."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter

from running import ROOT

BLOCK = re.compile(r"(.*?)```(\w+)\n(.*?)```\n", re.DOTALL)
PLACE = re.compile(r"`([\w/]+\.(?:py|yaml))`(?:, in `(\w+)`|[^`]*):\s*\Z")
"""What stands before a block: the file that it is, or to whose table it is a line."""

FOUND = re.compile(r"-> .*|(\(\w+\): (?:Conv2d|BatchNorm2d|Linear)\().*|^(\w+ +[\d,]+) .*[\d.]$")
"""What follows from the random choice of channels, which versions of PyTorch may make otherwise:
after an arrow, the sizes of the small network's layers, the last columns of a table."""


def blocks(text):
    """Kind and content of each block of a page, and the text before it."""
    return [(kind, content, before) for before, kind, content in BLOCK.findall(text)]


def block_of(text, path, table=None):
    """The block of a page that is a file, or a line to a table of it."""
    (content,) = (
        content
        for _, content, before in blocks(text)
        if (place := PLACE.search(before)) and place.groups() == (path, table)
    )
    return content


def printed(text):
    """What is printed, up to times, spaces, and what follows from a choice of channels."""
    lines = [re.sub(r"\d\d:\d\d:\d\d", "time", line) for line in text.splitlines()]
    lines = [re.sub(r"\s+", " ", FOUND.sub(r"\1\2", line)) for line in lines]
    return [line for line in lines if line != "__pycache__"]


class Shell:
    """Runs lines in a folder, where `python`, `lwdna` and `snakemake` are those of the test.

    `programs` is a folder for these, and `project` where the package is imported from.
    """

    def __init__(self, folder, programs, project=ROOT):
        self.folder = folder
        programs.mkdir()
        modules = {"python": "", "lwdna": "-m lwdna ", "snakemake": "-m snakemake "}
        for name, arguments in modules.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
            (programs / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project),
            "LC_ALL": "C",
            "LWDNA": str(project),
        }

    def __call__(self, lines):
        return subprocess.run(
            ["bash", "-ec", lines],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )


def follow(text, shell):
    """Write and run the blocks of a page, compare what is printed, and count them by kind."""
    said = None
    seen = []
    for kind, content, before in blocks(text):
        seen.append(kind)
        if kind in {"python", "yaml"}:
            name, table = PLACE.search(before).groups()
            path = shell.folder / name
            path.write_text(with_line(path.read_text(), table, content) if table else content)
        elif kind == "sh":
            done = shell(content)
            assert done.returncode == 0, done.stdout
            said = done.stdout
        else:
            assert kind == "text"
            assert printed(said) == printed(content)
    return Counter(seen)


def with_line(source, table, line):
    """A source file with one more line at the end of a table of it."""
    (end,) = (
        node.end_lineno
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and getattr(node.targets[0] if isinstance(node, ast.Assign) else node.target, "id", None)
        == table
    )
    lines = source.splitlines(keepends=True)
    return "".join([*lines[: end - 1], line, *lines[end - 1 :]])
