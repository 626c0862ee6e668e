"""Configuration files: what Snakemake would read over is refused, and each is given a sentence."""

import os

import pytest
import yaml
from running import ROOT, run_python, snakemake

from lwdna.config.files import as_yaml_writes, read_file
from lwdna.errors import ConfigError

CASES = {
    "a key twice": (b"seeds: [0]\n\nseeds: [1]\n", "'seeds' at line 1 and again at line 3"),
    "a key twice, below": (b"a:\n  b: 1\n  b: 2\n", "'b' at line 2 and again at line 3"),
    "a key twice, merged": (b"a: &a {b: 1, b: 2}\nc: {<<: *a}\n", "'b' at line 1 and again at"),
    "a key twice, as text": (b"1: 1\n'1': 2\n", "'1' at line 1 and again at line 2"),
    "a truth twice": (b"yes: 1\ntrue: 2\n", "'yes' at line 1 and again at line 2 (as 'true')"),
    "two merges": (b"a: &a {}\nb:\n  <<: *a\n  <<: *a\n", "'<<' at line 3 and again at line 4"),
    "JSON with a key twice": (b'{"a": 1,\n\t"a": 2}', "'a' at line 1 and again at line 2"),
    "nothing": (b"", "is empty"),
    "comments alone": (b"# later\n", "has a NoneType where its keys belong"),
    "a list": (b"- 1\n", "has a list where its keys belong"),
    "Latin 1": ("seeds: [0]\nscale: é\n".encode("latin-1"), "is not UTF-8 at line 2"),
    "UTF-16": ("seeds: [0]\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "UTF-32": ("seeds: [0]\n".encode("utf-32"), "is UTF-32; save it as UTF-8"),
    "zeros": (b"a\0b", "is no text"),
    "tabs": (b"a:\n\tb: 1\n", "at line 2, column 1 (found character '\\t'"),
    "no end": (b"a: [1\n", "is no YAML at line 2"),
    "depth": (b"[" * 5000, "lists in lists"),
    "a date that is none": (b"a: 2020-99-99\n", "quotation marks"),
    "a tag": (b"a: !!python/object/apply:os.system [x]\n", "is no YAML at line 1"),
    "a list as a key": (b"[1]: 2\n", "unhashable key"),
    "two documents": (b"a: 1\n---\nb: 2\n", "another document"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_file_is_said(tmp_path, case):
    content, sentence = CASES[case]
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    message = str(caught.value)
    assert str(path) in message and sentence in message and message.endswith(".")
    assert "\n" not in message


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        read_file(tmp_path)
    with pytest.raises(ConfigError, match="There is no configuration file"):
        read_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="There is no configuration file"):
        read_file("/dev/zero")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\n")
    path.chmod(0)
    with pytest.raises(ConfigError, match=r"cannot be read .*make it readable"):
        read_file(path)


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))])
def test_a_file_of_ours_is_read_as_ever(path):
    assert read_file(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_json_and_a_mark_of_the_encoding_are_read(tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(b'\xef\xbb\xbf{"lr": 1e-3,\n\t"a": [1]}')
    assert read_file(path) == {"lr": 0.001, "a": [1]}


@pytest.mark.parametrize("text", ["1e-3", "5E8", "-2e-4", "+1e5", ".5e2", "5.e3", "1.5e3"])
def test_a_number_is_written_as_yaml_reads_it(text):
    assert isinstance(yaml.safe_load(text), str)
    assert yaml.safe_load(as_yaml_writes(text)) == float(text)


@pytest.mark.parametrize("text", ["", "e5", "1e", "ResNet8e3", "0x1e3", "inf"])
def test_other_text_is_no_number(text):
    assert as_yaml_writes(text) is None


def test_snakemake_prints_one_sentence_of_a_file_and_nothing_of_the_snakefile(tmp_path):
    path = tmp_path / "mine.yaml"
    for text, sentence in {
        "protocols: {digits: {optimizer: {lr: 1e-3}}}\n": "write 1.0e-3",
        "seeds: [0]\nseeds: [1]\n": "'seeds' at line 1 and again at line 2; keep one.",
        "base: nine\n": "'nine' at base: did you mean 'none'?",
        "base: none\nseeds: [0]\n": "lacks 'datasets' at the top level; the configuration takes",
    }.items():
        path.write_text(text)
        status, output = snakemake(tmp_path, "-n", config=path)
        *_, name, said = output.rstrip().splitlines()
        assert status == 1 and name == "RefusedError:" and sentence in said, output


OVERLAY = {
    "datasets": {"digits": {"train_fraction": 0.5}},
    "protocols": {"digits": {"epochs": 2}},
    "experiments": {"photographs-unet": {"label": "mine"}},
}
"""Of the default, a little of each of what a configuration needs."""

ASK = """
import sys
from lwdna.workflow.snakemake import configuration
config, _ = configuration(["--configfile", *sys.argv[1:]])
print(config["base"], *config["experiments"])
"""


def test_a_file_changes_the_default_whatever_it_has_unless_it_says_otherwise(tmp_path):
    path, none = tmp_path / "mine.yaml", tmp_path / "none.yaml"
    path.write_text(yaml.safe_dump(OVERLAY))
    default = list(yaml.safe_load((ROOT / "config.yaml").read_text())["experiments"])
    assert run_python("-c", ASK, path).split() == ["default", *default]
    alone = {**yaml.safe_load((ROOT / "config.yaml").read_text())}
    alone["experiments"] = {"mine": alone["experiments"]["photographs-unet"]}
    assert alone["base"] == "none", "a copy of the default stands alone"
    none.write_text(yaml.safe_dump(alone))
    assert run_python("-c", ASK, none).split() == ["none", "mine"]
