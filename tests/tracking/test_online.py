"""The online tracker and its parts: localisation, memory, the first frame, and following."""

import numpy as np
import pytest
import torch
from torch import nn

from lwdna.errors import ConfigError, DataError
from lwdna.tracking import online as online_module
from lwdna.tracking.crops import around, cut
from lwdna.tracking.first_frame import Augmentation, dropped, views
from lwdna.tracking.localisation import Flag, Found, localise
from lwdna.tracking.memory import Memory
from lwdna.tracking.online import Online, Tracker
from lwdna.tracking.online import follow as followed

FEW = Online(memory=20, first_iterations=3)


def follow(*given):
    return np.stack(list(followed(*given)))


def scores(*peaks):
    """A map of 19 x 19 with a value at each (column, row)."""
    made = torch.full((19, 19), -0.1)
    for column, row, value in peaks:
        made[row, column] = value
    return made


@pytest.mark.parametrize(
    ("peaks", "flag", "place"),
    [
        ([(9, 9, 0.24)], Flag.NOT_FOUND, (9, 9)),
        ([(9, 9, 0.26)], Flag.NORMAL, (9, 9)),
        ([(4, 11, 0.9)], Flag.NORMAL, (4, 11)),
        # A second peak within 2.2 sides of the object, 1.1 on each side, is the same one.
        ([(9, 9, 0.9), (12, 9, 0.89)], Flag.NORMAL, (9, 9)),
        ([(9, 9, 0.9), (13, 9, 0.89)], Flag.UNCERTAIN, (9, 9)),
        # Half as high, and high enough to be an object.
        ([(9, 9, 0.9), (2, 9, 0.5)], Flag.HARD_NEGATIVE, (9, 9)),
        ([(9, 9, 0.9), (2, 9, 0.44)], Flag.NORMAL, (9, 9)),
        ([(9, 9, 0.4), (2, 9, 0.24)], Flag.NORMAL, (9, 9)),
        # As high, and one of the two further away than an object moves: 7.6 cells.
        ([(9, 9, 0.8), (1, 9, 0.9)], Flag.HARD_NEGATIVE, (9, 9)),
        ([(9, 9, 0.9), (1, 9, 0.8)], Flag.HARD_NEGATIVE, (9, 9)),
        ([(9, 9, 0.9), (2, 9, 0.8)], Flag.UNCERTAIN, (9, 9)),
        ([(2, 9, 0.9), (9, 9, 0.8)], Flag.UNCERTAIN, (2, 9)),
        ([(0, 0, 0.9), (18, 18, 0.8)], Flag.UNCERTAIN, (0, 0)),
    ],
)
def test_flags(peaks, flag, place):
    found = localise(scores(*peaks), (3.0, 3.0), (9.0, 9.0))
    assert (found.flag, found.place) == (flag, place)
    assert found.score == pytest.approx(max(value for _, _, value in peaks))


def test_the_neighbourhood_has_the_shape_of_the_object():
    peaks = [(9, 9, 0.9), (9, 13, 0.89)]
    assert localise(scores(*peaks), (1.0, 4.0), (9.0, 9.0)).flag is Flag.NORMAL
    assert localise(scores(*peaks), (4.0, 1.0), (9.0, 9.0)).flag is Flag.UNCERTAIN


def memory(initial=3, **options):
    options = {"capacity": 6} | options
    return Memory(torch.zeros(initial, 2, 4, 4), torch.zeros(initial, 4), **options)


def put(kept, number, rate=0.01):
    return kept.add(torch.full((2, 4, 4), float(number)), torch.full((4,), float(number)), rate)


def test_weights_of_the_memory():
    """They add up to 1, the first frame keeps a quarter, and each weighs more than the last."""
    kept = memory(capacity=50)
    assert kept.weights[:3].tolist() == pytest.approx([1 / 3] * 3)
    before = None
    for number in range(300):
        slot = put(kept, number, 0.02 if number % 7 == 0 else 0.01)
        assert float(kept.weights.sum()) == pytest.approx(1)
        assert float(kept.weights[:3].sum()) >= 0.25 - 1e-12
        assert (kept.weights[: len(kept)] > 0).all()
        if before is not None:
            assert kept.weights[slot] > kept.weights[before]
        before = slot
    assert float(kept.weights[:3].sum()) == pytest.approx(0.25)


def test_the_first_weights_by_hand():
    kept = memory()
    put(kept, 1)
    total = 1 / 0.99 + 0.01
    assert kept.weights[:4].tolist() == pytest.approx([1 / 0.99 / 3 / total] * 3 + [0.01 / total])
    put(kept, 2, 0.02)
    new = 0.01 / total / 0.98
    assert kept.weights[3:5].tolist() == pytest.approx([0.01 / total / (1 + new), new / (1 + new)])


def test_the_oldest_makes_room():
    kept = memory()
    slots = [put(kept, number) for number in range(8)]
    assert slots == [3, 4, 5, 3, 4, 5, 3, 4]
    features, boxes, weights = kept.samples()
    assert features.shape == (1, 6, 2, 4, 4)
    assert boxes[0, :, 0].tolist() == [0, 0, 0, 6, 7, 5]
    assert float(weights.sum()) == pytest.approx(1)


def test_only_what_there_is_is_given():
    kept = memory()
    put(kept, 1)
    assert [part.shape[1] for part in kept.samples()] == [4, 4, 4]
    assert len(kept) == 4


def test_a_memory_without_room():
    with pytest.raises(ConfigError, match="more than the 3 samples"):
        memory(capacity=3)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (160, 200, 3), dtype=np.uint8)


def test_the_first_frame_in_thirteen_ways():
    image, box = picture(), torch.tensor([80.0, 60, 24, 18], dtype=torch.float64)
    crop = around(box, 5.0, 72)
    seen = views(image, crop, box, Augmentation(), torch.Generator().manual_seed(0))
    assert seen.images.shape == (13, 3, 72, 72)
    plain = cut(image, crop)
    torch.testing.assert_close(seen.images[0], plain)
    assert torch.equal(seen.boxes[0], crop.to_crop(box))
    # 0.6 of half of 72 pixels: the content and the box move alike.
    for number, (x, y) in enumerate([(-22, -22), (-22, 22), (22, -22), (22, 22)], 1):
        moved = seen.boxes[number] - seen.boxes[0]
        assert moved.tolist() == pytest.approx([x, y, 0, 0])
        inside = seen.images[number][:, max(y, 0) : 72 + min(y, 0), max(x, 0) : 72 + min(x, 0)]
        same = plain[:, max(-y, 0) : 72 + min(-y, 0), max(-x, 0) : 72 + min(-x, 0)]
        torch.testing.assert_close(inside, same)
    assert torch.equal(seen.boxes[:, 2:], seen.boxes[:1, 2:].expand(13, 2))
    assert float((seen.boxes[5:, :2] - seen.boxes[0, :2]).abs().max()) <= 12
    again = views(image, crop, box, Augmentation(), torch.Generator().manual_seed(0))
    assert torch.equal(again.images, seen.images)


def test_mirrored_blurred_and_turned():
    """The object is in the middle, so that its box is right however the picture is changed."""
    image = np.zeros((160, 200, 3), np.uint8)
    image[60:78, 80:104] = 255
    image[60:78, 80:86] = 128
    box = torch.tensor([80.0, 60, 24, 18], dtype=torch.float64)
    crop = around(box, 5.0, 72)
    how = Augmentation(random_shift=0)
    seen = views(image, crop, box, how, torch.Generator())
    plain, mirrored, *blurred = seen.images[[0, 5, 6, 7, 8]]
    torch.testing.assert_close(mirrored, plain.flip(-1))
    for view in blurred:
        assert float(view.sum()) == pytest.approx(float(plain.sum()), rel=1e-3)
        assert float(view.std()) < float(plain.std())
    places = torch.arange(72) + 0.5
    for view in seen.images[9:]:
        gray = view.mean(0)
        centre = float((gray.sum(0) * places).sum() / gray.sum())
        assert centre == pytest.approx(36, abs=2)
        assert float(gray.sum()) == pytest.approx(float(plain.mean(0).sum()), rel=0.02)


def test_channels_are_dropped():
    features = torch.ones(1000, 2, 2)
    copies = dropped(features, Augmentation(), torch.Generator().manual_seed(0))
    assert copies.shape == (2, 1000, 2, 2)
    assert sorted(set(copies.flatten().tolist())) == [0, 1.25]
    assert float((copies == 0).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert not torch.equal(copies[0], copies[1])


def moving(frames=12, step=(3, 2)):
    """A striped thing on a plain ground, that moves by so many pixels a frame."""
    rng = np.random.default_rng(0)
    thing = rng.integers(0, 256, (18, 24, 3), dtype=np.uint8)
    images, boxes = [], []
    for number in range(frames):
        image = np.full((160, 200, 3), 90, np.uint8)
        x, y = 60 + step[0] * number, 50 + step[1] * number
        image[y : y + 18, x : x + 24] = thing
        images.append(image)
        boxes.append([x, y, 24, 18])
    return images, np.array(boxes, float)


class Colours(nn.Module):
    """Colours as features, at two strides."""

    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.same.weight)
        self.fine, self.coarse = nn.AvgPool2d(2), nn.AvgPool2d(2)

    def forward(self, x):
        return self.coarse(self.fine(self.same(x))).mean((2, 3))


@pytest.mark.parametrize("step", [(3, 2), (4, -3), (-2, 1), (0, 0)], ids=str)
def test_it_follows_what_is_easy_to_see(small_tracker, step):
    """Colours are enough, and nothing of it is random: the first frame's filter finds the object.

    It is found to a cell of the map of scores.
    """
    images, truth = moving(step=step)
    model = small_tracker(Colours(), taps=("fine", "coarse"))
    for conv in (model.head.conv, model.initialiser.conv):
        nn.init.dirac_(conv.weight)
    found = follow(Tracker(model, Online(refine=False)), images, truth[0])
    cell = 4 * 5 * (24 * 18) ** 0.5 / 72  # stride, and pixels of the frame in one of the region
    assert np.abs(found[:, :2] - truth[:, :2]).max() <= cell
    assert found[:, 2:] == pytest.approx(truth[:, 2:])


def test_the_same_boxes_whatever_came_before(small_tracker):
    images, truth = moving(6)
    tracker = Tracker(small_tracker(), FEW)
    first = follow(tracker, images, truth[0], "a")
    other = follow(tracker, images[::-1], truth[-1], "b")
    assert np.array_equal(follow(tracker, images, truth[0], "a"), first)
    assert np.array_equal(follow(Tracker(tracker.model, FEW), images[::-1], truth[-1], "b"), other)
    assert not np.array_equal(follow(tracker, images, truth[0], "c"), first)
    assert not np.array_equal(follow(Tracker(tracker.model, FEW, 1), images, truth[0], "a"), first)


@pytest.fixture
def flagged(monkeypatch):
    """Let localisation come to a flag and a place; the steps of descent are counted."""
    counted = []
    descend = online_module.steepest_descent

    def noted(*args, iterations, **options):
        counted.append(iterations)
        return descend(*args, iterations=iterations, **options)

    monkeypatch.setattr(online_module, "steepest_descent", noted)

    def say(flag, place=(9, 9)):
        monkeypatch.setattr(online_module, "localise", lambda *_: Found(flag, place, 0.5))

    say.counted = counted
    return say


def test_what_is_not_found_stays(small_tracker, flagged):
    images, truth = moving(3)
    tracker = Tracker(small_tracker(), FEW)
    tracker.init(images[0], truth[0])
    flagged(Flag.NOT_FOUND, (3, 4))
    for image in images[1:]:
        assert tracker.update(image).tolist() == truth[0].tolist()
    assert len(tracker._memory) == 15
    assert flagged.counted == []


@pytest.mark.parametrize(
    ("flag", "remembered", "steps"),
    [
        (Flag.NORMAL, 39, [2, 2]),
        (Flag.UNCERTAIN, 0, []),
        (Flag.HARD_NEGATIVE, 39, [1] * 39),
    ],
)
def test_what_is_learned(small_tracker, flagged, flag, remembered, steps):
    """Over forty frames, of which the 20th and the 39th are those of updates."""
    images, truth = moving(3, (0, 0))
    online = Online(memory=60, first_iterations=1, update_every=19)
    tracker = Tracker(small_tracker(channels=4), online)
    tracker.init(images[0], truth[0])
    flagged(flag)
    for _ in range(39):
        tracker.update(images[1])
    assert len(tracker._memory) - 15 == remembered
    assert flagged.counted == steps


def test_a_place_on_the_map_is_a_move_in_the_image(small_tracker, flagged):
    """Two cells of 4 pixels to the right, at the scale of the crop; the size stays."""
    images, truth = moving(2)
    tracker = Tracker(small_tracker(), Online(refine=False, first_iterations=1))
    tracker.init(images[0], truth[0])
    flagged(Flag.NORMAL, (11, 8))
    scale = 5 * (24 * 18) ** 0.5 / 72
    expected = truth[0] + np.array([8 * scale, -4 * scale, 0, 0])
    assert tracker.update(images[1]) == pytest.approx(expected)


def test_a_refinement_that_changes_nothing_moves_nothing(small_tracker, flagged, monkeypatch):
    images, truth = moving(2)
    tracker = Tracker(small_tracker(), FEW)
    tracker.init(images[0], truth[0])
    flagged(Flag.NORMAL)
    monkeypatch.setattr(online_module, "refined", lambda _predict, box, *_, **__: box)
    assert tracker.update(images[1]) == pytest.approx(truth[0], abs=1e-9)


def test_the_box_stays_in_the_image(small_tracker, flagged):
    images, truth = moving(2)
    tracker = Tracker(small_tracker(), Online(refine=False, first_iterations=1))
    tracker.init(images[0], truth[0])
    flagged(Flag.UNCERTAIN, (0, 0))
    for _ in range(30):
        box = tracker.update(images[1])
    assert box == pytest.approx([-0.8 * 24, -0.8 * 18, 24, 18])


def test_gray_images_are_followed(small_tracker):
    images, truth = moving(3)
    found = follow(Tracker(small_tracker(), FEW), [i[:, :, 0] for i in images], truth[0])
    assert found.shape == (3, 4)
    assert np.isfinite(found).all()


def test_what_cannot_be_followed(small_tracker):
    images, truth = moving(3)
    tracker = Tracker(small_tracker(), FEW)
    with pytest.raises(ConfigError, match=r"call init\(image, box\) first"):
        tracker.update(images[0])
    with pytest.raises(DataError, match="outside of the image of 200 x 160"):
        tracker.init(images[0], [500, 0, 10, 10])
    with pytest.raises(DataError, match="of no size"):
        tracker.init(images[0], [50, 50, 0, 10])
    tracker.init(images[0], truth[0], "car")
    with pytest.raises(DataError, match="Frame 2 of 'car' has 100 x 160 pixels"):
        tracker.update(images[1][:, :100])
    with pytest.raises(DataError, match="'car' has 1 frames"):
        follow(tracker, images[:1], truth[0], "car")
    with pytest.raises(DataError, match="of no size"):
        tracker.init(images[0], [50, 50, 0, 10])
    with pytest.raises(ConfigError, match="no object to follow"):  # nor the one before it
        tracker.update(images[1])
