"""Synthetic motion: exact boxes, smooth paths, and every frame from (seed, index) alone."""

import numpy as np
import pytest

from lwdna.data.motion import (
    TEST_PHOTOGRAPHS,
    TRAIN_PHOTOGRAPHS,
    Motion,
    SyntheticVideo,
    check_disjoint,
)
from lwdna.data.photographs import PHOTOGRAPHS
from lwdna.errors import ConfigError, DataError

SMALL = Motion(frames=30, height=90, width=120, smallest=20, largest=30)
PLAIN = Motion(frames=20, height=90, width=120, smallest=20, largest=30, occluders=0, distractors=0)


def photographs(count=3):
    rng = np.random.default_rng(0)
    return {
        f"p{i}": rng.integers(0, 256, (130 + i, 180 + i, 3), dtype=np.uint8) for i in range(count)
    }


def test_a_frame_follows_from_seed_and_index():
    whole = SyntheticVideo(photographs(), 1, 2, SMALL)
    frames = [whole.frame(i) for i in range(len(whole))]
    alone = SyntheticVideo(photographs(), 1, 2, SMALL)
    assert np.array_equal(alone.frame(17), frames[17])
    assert np.array_equal(alone.boxes, whole.boxes)
    for seed, index in ((2, 2), (1, 3)):
        other = SyntheticVideo(photographs(), seed, index, SMALL)
        assert not np.array_equal(other.frame(17), frames[17])
    assert (whole.name, len(whole), frames[0].shape) == ("synthetic-00002", 30, (90, 120, 3))


@pytest.mark.parametrize("index", range(6))
def test_the_truth_is_the_bounds_of_what_is_painted(index):
    """A white object on black: where it is half white or more."""
    flat = {"a": np.zeros((130, 180, 3), np.uint8), "b": np.full((130, 180, 3), 200, np.uint8)}
    video = SyntheticVideo(flat, 0, index, PLAIN)
    backgrounds = set()
    for number in (0, 7, 19):
        frame = video.frame(number)[:, :, 0].astype(float)
        background = frame[0, 0]
        backgrounds.add(background)
        object_level = np.abs(frame - background).max()
        painted = np.abs(frame - background) >= object_level / 2
        if background:  # a black object on white: its edge is the same
            painted = frame < background / 2
        rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
        x, y, w, h = video.boxes[number]
        found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        expected = np.array([x, y, x + w, y + h])
        limited = np.clip(expected, 0, [120, 90, 120, 90])
        assert np.abs(np.array(found) - limited).max() < 1.1
    assert len(backgrounds) == 1


@pytest.mark.parametrize("index", range(8))
def test_objects_move_smoothly_and_stay_in_sight(index):
    video = SyntheticVideo(photographs(), 5, index, SMALL)
    centres = video.boxes[:, :2] + video.boxes[:, 2:] / 2
    steps = np.diff(centres, axis=0)
    assert np.hypot(*steps.T).max() < 4 * SMALL.speed
    assert np.hypot(*np.diff(steps, axis=0).T).max() < 2 * SMALL.speed
    sizes = np.sqrt(video.boxes[:, 2:].prod(1))
    assert np.abs(np.diff(np.log(sizes))).max() < 0.1
    assert ((centres > 0) & (centres < (120, 90))).all()
    assert (video.boxes[:, 2:] > 4).all()


def test_what_is_hidden_is_known():
    """Something passes before the object in some videos, and then less of it is shown."""
    shown = [SyntheticVideo(photographs(), 3, i, SMALL).shown for i in range(12)]
    assert all(((s >= 0) & (s <= 1)).all() for s in shown)
    least = np.array([s.min() for s in shown])
    assert (least < 0.8).any()
    assert (least > 0.9).any()
    plain = SyntheticVideo(photographs(), 3, 0, PLAIN)
    inside = (plain.boxes[:, :2] >= 0).all(1) & (
        plain.boxes[:, :2] + plain.boxes[:, 2:] <= (120, 90)
    ).all(1)
    assert inside.any()
    assert plain.shown[inside] == pytest.approx(1, abs=0.03)


def test_no_scene_is_trained_and_tested_on():
    check_disjoint(TRAIN_PHOTOGRAPHS, TEST_PHOTOGRAPHS)
    for name in (*TRAIN_PHOTOGRAPHS, *TEST_PHOTOGRAPHS):
        photograph = PHOTOGRAPHS[name]
        assert photograph.height > Motion().height
        assert photograph.width > Motion().width
    for test in ("motorcycle_right", "astronaut"):
        with pytest.raises(ConfigError, match=f"'{test}' shows what is trained on"):
            check_disjoint(TRAIN_PHOTOGRAPHS, [test])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (photographs(1), "1 photographs were given"),
        ({**photographs(2), "thin": np.zeros((90, 500, 3), np.uint8)}, "'thin' has 500 x 90"),
    ],
)
def test_photographs_that_do_not_do(given, sentence):
    with pytest.raises(DataError, match=sentence):
        SyntheticVideo(given, 0, 0, SMALL)


def test_gray_photographs_do():
    gray = {name: image[:, :, 0] for name, image in photographs().items()}
    assert SyntheticVideo(gray, 0, 0, SMALL).frame(3).shape == (90, 120, 3)
