"""Wrong words for a right command line, made of what click knows of the command."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from lwdna.__main__ import lwdna
from lwdna.steps._json import Json
from lwdna.steps._options import Shape

Wrong = tuple[str, str, tuple[str, ...], bool]
"""A kind of wrong word; what a sentence must name; the whole line; whether it must be refused."""

NUMBERS = {
    "wrong type": "many",
    "not finite": "nan",
    "not finite, by infinity": "-inf",
    "empty": "",
    "huge": "1" + "0" * 30,
    "huge in digits": "9" * 5000,
}
TEXTS = {"huge": "x" * 2000, "other encoding": "\udcff"}
ODD_TEXTS = {"empty": "", "unknown": "nonsense", "control": "a\nb\x07", "path": "../../x"}
ABSURD = "1000000000000"

FOREIGN_FILES = {
    "empty file": lambda path: path.write_bytes(b""),
    "random bytes": lambda path: path.write_bytes(bytes(range(256)) * 4),
    "a picture": lambda path: shutil.copy("images/0.png", path),
    "other encoding": lambda path: path.write_text("größe;1\n", encoding="latin-1"),
    "a table of another program": lambda path: path.write_text("a,b\n1,2\n", encoding="utf-8"),
    "PyTorch's own format": lambda path: torch.save({"weight": torch.zeros(3)}, path),
    "a page": lambda path: path.write_text("<html>404</html>", encoding="utf-8"),
}
"""Files of other programs, by what they are."""


def command_of(name: str) -> click.Command:
    found = lwdna.get_command(click.Context(lwdna), name)
    assert found is not None
    return found


def words_of(parameter: click.Parameter, line: Sequence[str], name: str) -> list[int]:
    """Where in a line the words are that a parameter is given first."""
    if isinstance(parameter, click.Option):
        places = [i for i, word in enumerate(line) if word in parameter.opts]
        return [places[0] + 1 + i for i in range(parameter.nargs)] if places else []
    command = command_of(name)
    parser = command.make_parser(click.Context(command, resilient_parsing=True))
    given = parser.parse_args(list(line))[0].get(str(parameter.name))
    first = given[0] if isinstance(given, tuple) and given else given
    return [list(line).index(first)] if isinstance(first, str) else []


def paths_in(name: str, line: Sequence[str]) -> Iterator[str]:
    """The paths in a line."""
    for parameter in command_of(name).params:
        for place, kind in zip(words_of(parameter, line, name), kinds_of(parameter), strict=False):
            if isinstance(kind, click.Path):
                yield line[place]


def kinds_of(parameter: click.Parameter) -> list[click.ParamType]:
    kind = parameter.type
    return list(kind.types) if isinstance(kind, click.Tuple) else [kind]


def wrong_lines(name: str, line: Sequence[str], written: set[str]) -> Iterator[Wrong]:
    """Every wrong line that a right one and the types of its words tell of.

    Args:
        name: of the command.
        line: the right one.
        written: the paths in it that the command writes.
    """
    yield "extra", "--nonsense", (*line, "--nonsense", "1"), True
    for parameter in command_of(name).params:
        option = isinstance(parameter, click.Option)
        if option and parameter.is_flag:
            continue
        label = (
            parameter.opts[0]
            if option
            else parameter.make_metavar(click.Context(lwdna)).strip("[].")
        )
        places = words_of(parameter, line, name)
        if option and places and not parameter.multiple:
            twice = [*line, parameter.opts[0], *(line[i] for i in places)]
            yield "duplicated", label, tuple(twice), True
        if parameter.required and places:
            start = places[0] - option
            left = [word for i, word in enumerate(line) if not start <= i <= places[-1]]
            yield "missing", label.lstrip("-") if option else "", tuple(left), True
        for i, kind in enumerate(kinds_of(parameter)):
            yield from Word(parameter, i, kind, label, line, places, written).wrong()


@dataclass(frozen=True)
class Word:
    """A word of a right line, or one that it lacks."""

    parameter: click.Parameter
    number: int
    """Which of the words of its parameter it is."""
    kind: click.ParamType
    label: str
    line: Sequence[str]
    places: Sequence[int]
    """Where the words of its parameter are in the line; none where it lacks it."""
    written: set[str]
    """The paths in the line that the command writes."""

    def put(self, word: str) -> tuple[str, ...]:
        """The line with another word in its place."""
        if self.places:
            place = self.places[self.number]
            return (*self.line[:place], word, *self.line[place + 1 :])
        words = ["1"] * self.parameter.nargs
        words[self.number] = word
        return (*self.line, self.parameter.opts[0], *words)

    def wrong(self) -> Iterator[Wrong]:
        """The line with each wrong word in its place."""
        if not self.places and not isinstance(self.parameter, click.Option):
            return
        if isinstance(self.kind, click.Path):
            yield from self.wrong_paths()
            return
        for kind, word, must in self.wrong_values():
            yield kind, self.label if must else "", self.put(word), must

    def wrong_values(self) -> Iterator[tuple[str, str, bool]]:
        """By its type: what is wrong, the word, and whether it must be refused."""
        kind = self.kind
        if isinstance(kind, click.Choice):
            yield "out of range", "nonsense", True
            yield "empty", "", True
        elif isinstance(kind, Json):
            return  # whose keys the rules of the configuration tell of
        elif isinstance(kind, type(click.INT) | type(click.FLOAT)):
            yield from ((what, word, True) for what, word in NUMBERS.items())
            for bound, step in (("min", -1), ("max", 1)):
                if getattr(kind, bound, None) is not None:
                    yield "out of range", str(getattr(kind, bound) + step), True
            if isinstance(kind, type(click.INT)):
                yield "half", "2.5", True
            yield "absurd", ABSURD, False
        elif isinstance(kind, Shape):
            for word in ("", "1x", "0x3", "1x3xbxc", "1x3x99999999x99999999", "9" * 5000):
                yield "shape", word, True
            yield "another shape", "7", False
            yield "another shape", "1x3x1x1", False
        else:
            yield from ((what, word, True) for what, word in TEXTS.items())
            yield from ((what, word, False) for what, word in ODD_TEXTS.items())

    def wrong_paths(self) -> Iterator[Wrong]:
        """What is no path, leads nowhere, or to a file of another kind."""
        yield "empty", self.label, self.put(""), True
        if not self.places:
            yield "missing", "", self.put("nothing/here"), False
            return
        right = self.line[self.places[self.number]]
        suffix = Path(right).suffix
        if right in self.written:
            yield "in a file", "images/0.png", self.put(f"images/0.png/x{suffix}"), True
            yield "nowhere", "/proc/nothing", self.put(f"/proc/nothing/x{suffix}"), True
            if not self.kind.dir_okay:
                yield "a folder", "images", self.put("images"), True
            return
        yield "missing", "nothing/here", self.put(f"nothing/here{suffix}"), True
        if Path(right).is_dir():
            yield "a file for a folder", "history.csv", self.put("history.csv"), True
            yield "an empty folder", "empty", self.put("empty"), True
            return
        yield "a folder for a file", "empty", self.put("empty"), True
        for what in FOREIGN_FILES:
            name = f"{re.sub('[^a-z]', '', what.lower())}{suffix}"
            yield what, name, self.put(name), True
        half = f"half-{Path(right).name}"
        yield "truncated", half, self.put(half), True


def make_foreign_files(files: Sequence[str]) -> None:
    """The files that :func:`wrong_lines` speaks of, in the working directory."""
    Path("empty").mkdir()
    for file in map(Path, files):
        for what, write in FOREIGN_FILES.items():
            write(Path(f"{re.sub('[^a-z]', '', what.lower())}{file.suffix}"))
        whole = file.read_bytes()
        Path(f"half-{file.name}").write_bytes(whole[: len(whole) // 2])


def linked(folder: Path, to: Path, without: set[str]) -> None:
    """A copy of a folder that takes no room, without some of its files."""
    shutil.copytree(folder, to, copy_function=os.link)
    for name in without:
        path = to / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
