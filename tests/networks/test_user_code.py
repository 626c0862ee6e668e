"""What the source of a user's file says, without an import; and networks of one's own by name."""

import pytest

from lwdna.errors import ConfigError
from lwdna.networks.user_code import Own, declared, fingerprint, sources_of

BAD = "raise SystemExit('this file was imported')\n"


def test_arguments_are_read_without_an_import(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(BAD + "def make(classes, width=1.0, *, deep=False, **more): ...\n")
    assert str(declared("net.py:make", tmp_path)) == "(classes, width=1.0, *, deep=False, **more)"
    with pytest.raises(ConfigError, match="this file was imported"):
        Own(f"{path}:make")


@pytest.mark.parametrize(
    "source",
    [
        "from elsewhere import make",
        "from elsewhere import *",
        "import make",
        "make = lambda width: 3",
        "class make: ...",
        "import functools\n@functools.cache\ndef make(): ...",
        "if True:\n    def make(): ...",
    ],
)
def test_what_only_an_import_can_tell(tmp_path, source):
    (tmp_path / "net.py").write_text(source)
    assert declared("net.py:make", tmp_path) is None


def test_the_last_of_two_functions_of_one_name_counts(tmp_path):
    (tmp_path / "net.py").write_text("def make(a): ...\ndef make(b): ...\n")
    assert str(declared("net.py:make", tmp_path)) == "(b)"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.py:mke", "'net.py' has no function 'mke'; did you mean 'make'"),
        ("net.py", "does not say which function"),
        ("nte.py:make", "There is no file 'nte.py'"),
        ("bad.py:make", "'bad.py' cannot be read as Python at line 2"),
    ],
)
def test_what_is_not_there(tmp_path, name, words):
    (tmp_path / "net.py").write_text("def make(): ...\n")
    (tmp_path / "bad.py").write_text("\ndef make(:\n")
    with pytest.raises(ConfigError, match=words):
        declared(name, tmp_path)


def test_neighbours_are_sources_and_others_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {
        "net.py": "import torch\nimport blocks\nfrom layers import conv\nfrom .near import A\n",
        "blocks.py": "from layers.deep.er import B\nimport net\n",
        "layers/__init__.py": "",
        "layers/conv.py": "from . import norm\nfrom ..near import A\n",
        "layers/norm.py": "",
        "layers/deep/er.py": "",
        "near.py": "def f(:",  # is refused when it is imported
        "other.py": "",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = set(files) - {"other.py"}
    assert set(sources_of("net.py:make")) == set(sources_of("./net.py:make")) == found
    assert set(sources_of(f"{tmp_path}/net.py:make")) == {f"{tmp_path}/{x}" for x in found}
    assert sources_of("ResNet56") == []
    before = fingerprint("net.py:make")
    (tmp_path / "other.py").write_text("a = 1")
    assert fingerprint("net.py:make") == before
    (tmp_path / "layers/norm.py").write_text("a = 1")
    assert fingerprint("net.py:make") != before
    assert fingerprint("ResNet56") == ""
