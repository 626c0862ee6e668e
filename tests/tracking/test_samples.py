"""Training samples: a function of (seed, epoch, index), whose boxes are where the object is."""

import numpy as np
import pytest
import torch

from lwdna.errors import ConfigError, DataError
from lwdna.tracking.boxes import centre_of, iou, side_of
from lwdna.tracking.dimp import Settings, losses
from lwdna.tracking.samples import Samples, Sampling, VideoSet, frames_of

SETTINGS = Settings(size=72)


class Square:
    """A bright square that moves over a dark ground, one pixel a frame."""

    still = False

    def __init__(self, frames=60, visible=None, name="square", still=False):
        self.name, self.still = name, still
        self.boxes = np.array([[40.0 + i, 50, 24, 18] for i in range(frames)])
        self.visible = np.ones(frames, bool) if visible is None else np.array(visible, bool)

    def __len__(self):
        return len(self.boxes)

    def frame(self, index):
        image = np.full((120, 200, 3), 20, np.uint8)
        x, y, w, h = self.boxes[index].astype(int)
        image[y : y + h, x : x + w] = 250
        return image


def samples(videos=None, seed=0, **options):
    sets = [VideoSet(videos or [Square()])]
    return Samples(sets, SETTINGS, length=10, seed=seed, **options)


def test_a_sample_follows_from_seed_epoch_and_index():
    data = samples()
    inputs, target = data[3, 4]
    again, wanted = samples()[3, 4]
    assert all(torch.equal(a, b) for a, b in zip(inputs, again, strict=True))
    assert torch.equal(target["iou"], wanted["iou"])
    for other in (data[3, 5], data[4, 4], samples(seed=1)[3, 4]):
        assert not torch.equal(other[0].train_images, inputs.train_images)


def test_shapes_and_types():
    inputs, target = samples()[0, 0]
    assert [tuple(part.shape) for part in inputs] == [
        (3, 3, 72, 72), (3, 4), (3, 3, 72, 72), (3, 8, 4)
    ]  # fmt: skip
    assert [tuple(part.shape) for part in target.values()] == [(3, 4), (3, 8)]
    assert all(part.dtype == torch.float32 for part in (*inputs, *target.values()))
    assert all(part.is_contiguous() for part in inputs)


def test_boxes_are_where_the_object_is():
    """In the crop, however it was jittered: inside the box it is bright, around it dark."""
    data = samples()
    for index in range(12):
        inputs, target = data[0, index]
        images = torch.cat([inputs.train_images, inputs.test_images])
        for image, box in zip(
            images, torch.cat([inputs.train_boxes, target["boxes"]]), strict=True
        ):
            x, y, w, h = (float(v) for v in box)
            bright = (image.mean(0) > 0.5).double()
            centre = torch.arange(72) + 0.5
            inside = (centre > x) & (centre < x + w), (centre > y) & (centre < y + h)
            expected = (inside[1][:, None] & inside[0]).double()
            # An edge that is within a pixel may fall on either side.
            assert float((bright - expected).abs().sum()) <= 2 * (w + h) + 8


def test_proposals_have_the_overlap_that_they_are_said_to():
    inputs, target = samples()[0, 1]
    overlap = iou(inputs.proposals, target["boxes"][:, None].expand(-1, 8, -1))
    torch.testing.assert_close(overlap, target["iou"], rtol=1e-4, atol=1e-4)


def test_jitter_is_larger_in_test_frames():
    data = samples()
    places, sizes = [[], []], [[], []]
    for index in range(60):
        inputs, target = data[0, index]
        for kind, boxes in enumerate((inputs.train_boxes, target["boxes"])):
            places[kind].append((centre_of(boxes) - 36).abs().mean())
            sizes[kind].append((side_of(boxes) / (72 / 5)).log().abs().mean())
    (train, test), (small, large) = (np.array(values).mean(1) for values in (places, sizes))
    assert test > 1.2 * train > 0
    assert large > 1.5 * small > 0


def test_frames_are_near_each_other_and_visible():
    seen = np.arange(200) % 3 != 1
    video = Square(200, seen)
    rng = np.random.default_rng(0)
    for _ in range(200):
        base, *others = frames_of(video, Sampling(), rng)
        before, after = others[:2], others[2:]
        assert all(seen[f] for f in (base, *others))
        assert all(base - 30 <= f < base for f in before)
        assert all(base < f < base + 30 for f in after)


def test_a_gap_that_holds_nothing_is_widened():
    seen = np.zeros(200, bool)
    seen[[0, 1, 100, 101, *range(180, 195)]] = True
    rng = np.random.default_rng(0)
    found = {tuple(frames_of(Square(200, seen), Sampling(), rng)) for _ in range(100)}
    assert {frames[0] for frames in found} >= {100, 101}
    assert all(max(frames[1:3]) < frames[0] < min(frames[3:]) for frames in found)


def test_a_picture_is_shown_again_and_again():
    video = Square(1, still=True)
    assert frames_of(video, Sampling(), np.random.default_rng(0)) == [0] * 6
    inputs, _ = samples([video])[0, 0]
    assert not torch.equal(inputs.train_images[0], inputs.train_images[1])


def test_sets_are_drawn_by_their_weights():
    names = []

    class Noted(Square):
        def frame(self, index):
            names.append(self.name)
            return super().frame(index)

    sets = [VideoSet([Noted(name="a")], 0.25), VideoSet([Noted(name="b")], 1), VideoSet([], 5)]
    data = Samples(sets, SETTINGS, length=10, seed=0)
    for index in range(150):
        data[0, index]
    assert names.count("a") / len(names) == pytest.approx(0.2, abs=0.08)


def test_short_videos_are_passed_over():
    video = Square(60)
    mixed = samples([Square(5), Square(60, np.arange(60) < 5), video])
    assert len(mixed[0, 0][0].train_boxes) == 3
    with pytest.raises(DataError, match="None of 1 videos, such as 'square', has 20 frames"):
        samples([Square(19)])[0, 0]


@pytest.mark.parametrize("sets", [[], [VideoSet([])], [VideoSet([Square()], -1.0)]])
def test_sets_that_cannot_be_drawn_from(sets):
    with pytest.raises(ConfigError, match="weights of sets"):
        Samples(sets, SETTINGS, length=10, seed=0)


def test_gray_and_brightness():
    colour = Square()
    plain = np.zeros((120, 200, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    colour.frame = lambda index: plain
    gray, _ = samples([colour], sampling=Sampling(gray=1.0))[0, 0]
    assert torch.equal(gray.train_images[:, 0], gray.train_images[:, 2])
    red = samples([colour], sampling=Sampling(gray=0.0))[0, 0][0].train_images[:, 0, 0, 0]
    assert float(red.std()) > 0.005
    assert bool((red >= 200 / 255 * 0.8 - 1e-6).all() & (red <= 200 / 255 * 1.2 + 1e-6).all())


def test_sampling_is_read_from_a_configuration():
    read = Sampling.read({"train_frames": 1, "proposals": 5, "test_jitter": [0.5, 3.6]})
    assert read == Sampling(train_frames=1, proposals=5, test_jitter=(0.5, 3.6))
    (images, boxes, tests, proposals), _ = samples(sampling=read)[0, 0]
    assert (len(images), len(boxes), len(tests)) == (1, 1, 3)
    assert proposals.shape == (3, 5, 4)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"trian_frames": 1}, "no setting 'trian_frames'; did you mean 'train_frames'"),
        ({"train_frames": 0}, "'train_frames' of the samples is 0"),
        ({"proposals": 2.5}, "'proposals' of the samples is 2.5"),
        ({"train_jitter": [0.1]}, "'train_jitter' of the samples"),
        ({"test_jitter": [0.1, -1]}, "'test_jitter' of the samples"),
        ({"gray": 1.5}, "'gray' of the samples is 1.5"),
    ],
)
def test_sampling_that_cannot_be(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Sampling.read(values)


def test_a_tracker_learns_from_them(small_tracker):
    """In a few steps the loss of classifier and IoU branch falls, on samples not seen before."""
    model = small_tracker(channels=8)
    data = Samples(
        [VideoSet([Square()])],
        model.settings,
        length=1000,
        seed=0,
        sampling=Sampling(train_frames=1, test_frames=1, proposals=32),
    )
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    values = []
    for step in range(20):
        samples = [data[0, 6 * step + i] for i in range(6)]
        inputs, target = torch.utils.data.default_collate(samples)
        parts = losses(model.settings, model(*inputs), target)
        optimiser.zero_grad()
        sum(parts.values()).backward()
        optimiser.step()
        values.append([float(part.detach()) for part in parts.values()])
    first, last = np.array(values[:4]).mean(0), np.array(values[-4:]).mean(0)
    assert (last < 0.7 * first).all(), (first, last)
