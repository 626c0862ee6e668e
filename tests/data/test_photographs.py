"""Photographs out of installed packages."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from lwdna.data import photographs
from lwdna.data.images import read_image
from lwdna.data.photographs import PHOTOGRAPHS, Photograph, export_photographs
from lwdna.errors import ConfigError, DataError


def test_all_are_as_they_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    paths = export_photographs(PHOTOGRAPHS, tmp_path / "new")
    assert [path.name for path in paths] == [f"{name}.png" for name in PHOTOGRAPHS]
    for path, photograph in zip(paths, PHOTOGRAPHS.values(), strict=True):
        expected = (photograph.height, photograph.width) + (3,) * photograph.colour
        assert read_image(path).shape == expected, path


def test_pixels_are_not_changed(tmp_path: Path) -> None:
    [path] = export_photographs(["astronaut"], tmp_path)
    np.testing.assert_array_equal(read_image(path), data.astronaut())


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'astronout' does not exist; did you mean 'astronaut'"):
        export_photographs(["camera", "astronout"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_photograph_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Photograph("skimage", "data/gone.png", 1, 1, True)
    monkeypatch.setitem(photographs.PHOTOGRAPHS, "gone", gone)
    with pytest.raises(DataError, match="skimage does not carry the photograph 'gone'"):
        export_photographs(["gone"], tmp_path)
