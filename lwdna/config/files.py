"""Configuration files: what Snakemake would read over, a key that is there twice, is refused."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lwdna.errors import ConfigError, first_line

_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""By what a file of it begins with; UTF-16 last, whose mark begins one of UTF-32."""

_EXPONENT = re.compile(r"([-+]?)([0-9]*)(?:\.([0-9]*))?[eE]([-+]?)([0-9]+)")
"""A number with an exponent, as programs write it."""


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys of a configuration file, YAML or JSON.

    Raises:
        ConfigError: if there is none, it is no text in UTF-8, no YAML, or says a key twice.
    """
    text = _text(Path(path))
    try:
        value = json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        value = _read_yaml(path, text)
    if not isinstance(value, dict):
        raise ConfigError(
            f"The configuration file '{path}' has a {type(value).__name__} where its keys belong; "
            "write 'key: value', as config/README.md describes."
        )
    return value


def as_yaml_writes(text: str) -> str | None:
    """A number with an exponent as YAML wants it, such as ``1.0e-3`` for ``1e-3``; None of any
    other text, and of what YAML reads as a number."""
    found = _EXPONENT.fullmatch(text.strip())
    if found is None or not (found[2] or found[3]):
        return None
    sign, whole, part, of, exponent = found.groups()
    return f"{sign}{whole or '0'}.{part or '0'}e{of or '+'}{exponent}"


def _text(path: Path) -> str:
    """The text of a file."""
    if path.is_dir():
        raise ConfigError(f"The configuration '{path}' is a folder; name a file in it.")
    if not path.is_file():
        raise ConfigError(f"There is no configuration file '{path}'; check the path.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The configuration file '{path}' cannot be read ({error.strerror}); make it readable."
        ) from error
    for mark, name in _OTHER_ENCODINGS.items():
        if content.startswith(mark):
            raise ConfigError(f"The configuration file '{path}' is {name}; save it as UTF-8.")
    if b"\0" in content:
        raise ConfigError(f"The configuration file '{path}' is no text; check the path.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"The configuration file '{path}' is not UTF-8 at line {line}; save it as UTF-8."
        ) from error
    if not text.strip():
        raise ConfigError(
            f"The configuration file '{path}' is empty; write its keys, which config/README.md "
            "describes."
        )
    return text


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON, whose keys must differ; YAML's loader tells where they do not."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _read_yaml(path: str | os.PathLike[str], text: str) -> Any:
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # between words of JSON; no YAML has it there
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"The configuration file '{path}' {_what_is_wrong(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"The configuration file '{path}' is no YAML ({first_line(error)}); correct it."
        ) from error
    except RecursionError as error:
        raise ConfigError(
            f"The configuration file '{path}' has lists in lists without end; write what is meant."
        ) from error
    except ValueError as error:  # a date that there is not
        raise ConfigError(
            f"The configuration file '{path}' has a value that is none ({first_line(error)}); "
            "put text between quotation marks."
        ) from error


def _what_is_wrong(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, _TwiceError):
        return f"{error.problem}; keep one."
    mark = error.problem_mark or error.context_mark
    where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
    advice = "indent by spaces" if "\\t" in str(error.problem) else "correct it"
    return f"is no YAML{where} ({error.problem or error.context}); {advice}."


class _TwiceError(yaml.MarkedYAMLError):
    """A key is there twice."""


class _Loader(yaml.SafeLoader):
    """YAML as PyYAML reads it, in which every mapping says a key once.

    Keys are compared as the text that they become (:func:`lwdna.config.read.with_text_keys`).
    """

    def construct_document(self, node: Any) -> Any:
        """The value of a document, all of whose mappings are looked at before they are merged."""
        known: set[int] = set()
        stack = [node]
        while stack:
            node_here = stack.pop()
            if id(node_here) in known or isinstance(node_here, yaml.ScalarNode):
                continue
            known.add(id(node_here))
            if isinstance(node_here, yaml.MappingNode):
                self._compare(key for key, _ in node_here.value)
                stack += [part for pair in reversed(node_here.value) for part in pair]
            else:
                stack += reversed(node_here.value)
        return super().construct_document(node)

    def _compare(self, keys: Iterable[Any]) -> None:
        first: dict[str, Any] = {}
        for key in keys:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = key.value if key.tag == _MERGE else str(self.construct_object(key))
            if name in first:
                lines = first[name].start_mark.line + 1, key.start_mark.line + 1
                same = "" if first[name].value == key.value else f" (as '{key.value}')"
                raise _TwiceError(
                    problem=f"has '{first[name].value}' at line {lines[0]} and again at line "
                    f"{lines[1]}{same}"
                )
            first[name] = key


_MERGE = "tag:yaml.org,2002:merge"
