"""Files of boxes: there and back, and the layouts of servers."""

import zipfile

import numpy as np
import pytest

from lwdna.errors import DataError
from lwdna.tracking.box_files import boxes_of, write_boxes, write_got10k, write_trackingnet

BOXES = np.array([[1.5, 2, 30.123456, 4], [-2.25, 0, 31, 4.75]])


def test_boxes_come_back(tmp_path):
    write_boxes(tmp_path / "car.txt", BOXES)
    assert boxes_of(tmp_path / "car.txt", 2) == pytest.approx(BOXES, abs=5e-5)
    with pytest.raises(DataError, match="has 2 boxes for 3 frames"):
        boxes_of(tmp_path / "car.txt", 3)


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_archive_of_got10k(tmp_path):
    seconds = {"b": np.array([0.0, 0.25]), "a": np.array([0.0, 0.5])}
    runs = [{"a": BOXES, "b": BOXES + k} for k in range(3)]
    write_got10k(tmp_path / "got10k.zip", runs, seconds)
    found = contents(tmp_path / "got10k.zip")
    assert list(found) == [f"{s}/{s}_{k}.txt" for s in "ab" for k in ("001", "002", "003", "time")]
    assert found["b/b_002.txt"].splitlines()[1] == "-1.2500,1.0000,32.0000,5.7500"
    assert found["a/a_time.txt"] == "0.000000\n0.500000\n"
    before = (tmp_path / "got10k.zip").read_bytes()
    write_got10k(tmp_path / "got10k.zip", runs, seconds)
    assert (tmp_path / "got10k.zip").read_bytes() == before


def test_runs_that_differ(tmp_path):
    seconds = {"a": np.zeros(2)}
    for other in ({"a": BOXES[:1]}, {"a": BOXES, "b": BOXES}):
        with pytest.raises(DataError, match="Run 2 does not have the sequences and frames"):
            write_got10k(tmp_path / "x.zip", [{"a": BOXES}, other], seconds)
    assert not (tmp_path / "x.zip").exists()


def test_the_archive_of_trackingnet(tmp_path):
    write_trackingnet(tmp_path / "net.zip", {"abc_0": BOXES})
    assert contents(tmp_path / "net.zip") == {
        "abc_0.txt": "1.50,2.00,30.12,4.00\n-2.25,0.00,31.00,4.75\n"
    }


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(DataError, match="nothing was written"):
        write_boxes(tmp_path / "car.txt", BOXES * np.nan)
    assert not (tmp_path / "car.txt").exists()
