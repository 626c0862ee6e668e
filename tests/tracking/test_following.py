"""A test set followed and measured: resumed to the same boxes, archives, what is amiss."""

import zipfile

import numpy as np
import pytest

from lwdna.data.sequence_sets import OpenSet, lay_out, open_sets
from lwdna.errors import ConfigError, DataError
from lwdna.tracking.box_files import (
    read_archive,
    write_archive,
    write_times,
)
from lwdna.tracking.following import (
    curves,
    follow_all,
    measured,
    read_online,
    staying,
    videos_of,
)
from lwdna.tracking.online import Online, Tracker

MADE = {
    "layout": "synthetic",
    "photographs": ["coffee", "camera"],
    "videos": 3,
    "motion": {"frames": 4, "height": 90, "width": 120, "smallest": 14.0, "largest": 20.0},
}


@pytest.fixture
def sets(tmp_path):
    lay_out([MADE], tmp_path / "test.json", split="test")
    return open_sets(tmp_path / "test.json")


def followed(tracker, videos, folder):
    return follow_all(tracker, videos, folder, lambda _: None)[0]


def test_a_test_that_was_killed_goes_on_to_the_same_boxes(sets, small_tracker, tmp_path):
    """What was noted is not followed again; what was interrupted begins anew."""
    videos, model = videos_of(sets), small_tracker()
    whole = followed(Tracker(model, seed=2), videos, tmp_path / "whole")
    killed = Tracker(model, seed=2)
    update, calls = killed.update, []

    def interrupted(image):
        calls.append(1)
        if len(calls) == 5:  # in the middle of the second video
            raise KeyboardInterrupt
        return update(image)

    killed.update = interrupted
    with pytest.raises(KeyboardInterrupt):
        followed(killed, videos, tmp_path / "parts")
    assert [path.name for path in sorted((tmp_path / "parts").glob("*[0-9].txt"))] == [
        "synthetic-00000.txt"
    ]
    again = Tracker(model, seed=2)
    update, calls = again.update, []
    again.update = lambda image: calls.append(1) or update(image)
    parts = followed(again, videos, tmp_path / "parts")
    assert len(calls) == 6
    assert [*parts] == [*whole]
    for name, boxes in whole.items():
        assert np.array_equal(parts[name], boxes)


def test_a_note_that_is_damaged(sets, small_tracker, tmp_path):
    videos, tracker = videos_of(sets), Tracker(small_tracker())
    followed(tracker, videos, tmp_path)
    note = tmp_path / "synthetic-00001.txt"
    note.write_text(note.read_text().splitlines()[0])
    with pytest.raises(DataError, match="has 1 boxes for 4 frames; delete it"):
        followed(tracker, videos, tmp_path)


def test_perfect_boxes_and_boxes_that_stay(sets):
    videos = videos_of(sets)
    perfect = measured(sets, {video.name: video.boxes for video in videos}, "ope")
    assert perfect["ao"] == perfect["sr75"] == pytest.approx(100)
    assert perfect["success_auc"] == pytest.approx(100 * 20 / 21)
    assert perfect["precision"] == perfect["normalised_precision"] == 100
    assert perfect["n"] == 3
    stay = staying(videos)
    assert all(np.ptp(boxes, axis=0).max() == 0 for boxes in stay.values())
    assert measured(sets, stay, "ope")["ao"] < 100
    assert curves(sets, stay, "ope").sequences == 3


def test_a_truth_that_only_a_server_has(sets):
    class Hidden:
        def __init__(self, video):
            self.video = video
            self.name, self.visible = video.name, video.visible
            self.boxes = np.full_like(video.boxes, np.nan)
            self.boxes[0] = video.boxes[0]

        def __len__(self):
            return len(self.video)

    hidden = [OpenSet([Hidden(video) for video in sets[0].videos], 1.0, "got10k")]
    assert measured(hidden, staying(videos_of(hidden)), "ope") == {"n": 0}
    assert curves(hidden, {}, "ope") is None


def test_boxes_that_are_missing(sets):
    with pytest.raises(DataError, match="no boxes of 'synthetic-00000'"):
        measured(sets, {}, "ope")


def test_archives_are_read_as_written(tmp_path):
    boxes = {"b": np.arange(8.0).reshape(2, 4) / 3, "a": np.ones((2, 4))}
    write_archive(tmp_path / "boxes.zip", boxes)
    write_times(tmp_path / "times.zip", {"a": np.array([0.5, 0.25])})
    read = read_archive(tmp_path / "boxes.zip")
    assert [*read] == ["a", "b"]
    np.testing.assert_allclose(read["b"], boxes["b"], atol=5e-5)
    assert read_archive(tmp_path / "times.zip")["a"].tolist() == [[0.5], [0.25]]
    with zipfile.ZipFile(tmp_path / "boxes.zip") as archive:
        assert archive.read("a.txt").decode() == "1.0000,1.0000,1.0000,1.0000\n" * 2
    data = (tmp_path / "boxes.zip").read_bytes()
    for content in (data[: len(data) // 2], b"no zip"):
        (tmp_path / "boxes.zip").write_bytes(content)
        with pytest.raises(DataError, match="are damaged"):
            read_archive(tmp_path / "boxes.zip")
    with pytest.raises(DataError, match="are missing"):
        read_archive(tmp_path / "none.zip")


def test_how_a_tracker_is_used():
    assert read_online({}) == Online()
    used = read_online({"refine": False, "memory": 7, "refinement": {"steps": 2}})
    assert (used.refine, used.memory, used.refinement.steps) == (False, 7, 2)
    for values in ({"refined": False}, {"refinement": {"stepz": 2}}):
        with pytest.raises(ConfigError, match="no setting"):
            read_online(values)
