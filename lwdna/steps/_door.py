"""What no option of any command may be, whatever it means: said before the command is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import click

from lwdna.errors import shown

LARGEST = 2**62
"""What is larger, or as much below 0, is no number that a command counts with."""

LONGEST = 1000
"""Characters of a text that is shown or names something; JSON and paths may be longer."""


def check_words(command: click.Command, context: click.Context, words: Sequence[str]) -> None:
    """Refuse words of a command line that no command can mean.

    Args:
        command: what they are for.
        context: of the command line before it.
        words: that follow its name.

    Raises:
        click.BadParameter: naming the option: one that is given twice, a number that is not finite
            or too large for any computer, an empty path, a text that is not UTF-8 or endless.
    """
    own = click.Context(command, info_name=command.name, parent=context, **command.context_settings)
    # What makes no words of this command at all, its own parser says afterwards.
    own.resilient_parsing = True
    given, _, order = command.make_parser(own).parse_args(list(words))
    own.resilient_parsing = False
    for parameter in command.params:
        single = isinstance(parameter, click.Option) and not parameter.multiple
        if single and order.count(parameter) > 1:
            raise click.BadParameter("It is given more than once; give it once.", own, parameter)
        for value, kind in _values(given.get(str(parameter.name)), parameter.type):
            problem = _problem(value, kind)
            if problem:
                raise click.BadParameter(problem, own, parameter)


def _values(given: Any, kind: Any) -> Iterator[tuple[str, Any]]:
    """Each word that was given for a parameter, and of what type it is to be."""
    if isinstance(given, str):
        yield given, kind
    elif isinstance(given, tuple) and isinstance(kind, click.Tuple):
        for value, inner in zip(given, kind.types, strict=False):
            yield from _values(value, inner)
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _values(value, kind)


def _problem(word: str, kind: Any) -> str | None:
    """What is wrong with a word, as a sentence."""
    if isinstance(kind, click.Path):
        if not word or "\0" in word:
            return f"{shown(word)} names no file; give a path."
        return None
    if isinstance(kind, type(click.FLOAT) | type(click.INT)):
        return _problem_of_number(word)
    try:
        word.encode()
    except UnicodeEncodeError:
        return f"{shown(word)} is not UTF-8; write it in the encoding of your terminal."
    if isinstance(kind, type(click.STRING)) and len(word) > LONGEST:
        return f"It has {len(word):,} characters; give at most {LONGEST:,}."
    return None


def _problem_of_number(word: str) -> str | None:
    try:
        value = float(word)
    except ValueError:
        return None  # which click says
    if not math.isfinite(value):
        return f"{shown(word)} is not finite; give a finite number."
    if abs(value) > LARGEST:
        return f"{shown(word)} is too large to count with; give a number below {LARGEST:,}."
    return None
