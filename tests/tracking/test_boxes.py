"""Boxes and crops: there and back, borders, sizes, and what is no box."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from lwdna.errors import DataError
from lwdna.tracking import boxes as bx
from lwdna.tracking.crops import Crop, around, cut


def box(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("size", [72, 288, 37, 1])
def test_a_box_goes_to_the_crop_and_back(size):
    generator = torch.Generator().manual_seed(size)
    drawn = torch.rand(500, 4, generator=generator, dtype=torch.float64) * 1000 + 0.1
    for target in drawn[:50]:
        crop = around(target, 5.0, size)
        assert (crop.to_image(crop.to_crop(drawn)) - drawn).abs().max() < 1e-6
        centre = bx.centre_of(crop.to_crop(target))
        torch.testing.assert_close(centre, torch.full((2,), size / 2, dtype=torch.float64))
        assert float(bx.side_of(crop.to_crop(target))) == pytest.approx(size / 5)


@pytest.mark.parametrize("shape", [(40, 60, 3), (40, 60), (40, 60, 1)])
def test_a_crop_of_whole_pixels_is_the_part_of_the_image(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    shown = cut(image, Crop(7, 9, 20, 20))
    pixels = image.reshape(40, 60, -1)[9:29, 7:27].transpose(2, 0, 1) / 255
    assert shown.is_contiguous()
    assert np.abs(shown.numpy() - pixels).max() < 1e-6


def test_borders_go_on_beyond_the_image():
    image = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    shown = cut(image, Crop(-8, -9, 30, 30)).numpy() * 255
    padded = np.pad(image, ((9, 11), (8, 10), (0, 0)), mode="edge").transpose(2, 0, 1)
    assert np.abs(shown - padded).max() < 1e-3
    far = cut(image, Crop(500, 500, 4, 4)).numpy() * 255
    assert np.abs(far - image[-1, -1][:, None, None]).max() < 1e-3


@pytest.mark.parametrize("side", [30.0, 61.7, 90.0])
def test_it_resamples_as_pillow_does(side):
    """Pillow's bilinear filter, which smooths where it makes smaller, in 8 bits."""
    image = np.random.default_rng(1).integers(0, 256, (120, 110, 3), dtype=np.uint8)
    crop = Crop(3.25, 8.5, side, 45)
    region = (crop.x, crop.y, crop.x + side, crop.y + side)
    theirs = Image.fromarray(image).resize((45, 45), Image.Resampling.BILINEAR, box=region)
    inner = np.s_[:, 3:-3, 3:-3]  # Pillow does not look beyond the region
    ours = cut(image, crop).numpy() * 255
    assert np.abs(ours - np.asarray(theirs).transpose(2, 0, 1))[inner].max() < 1.6


def test_a_crop_shows_the_object_where_its_box_says():
    image = np.zeros((100, 120, 3), np.uint8)
    image[30:50, 40:80] = 255
    crop = around(box(40, 30, 40, 20), 4.0, 64)
    shown = cut(image, crop)[0].double()
    x, y, w, h = crop.to_crop(box(40, 30, 40, 20)).tolist()
    assert float(shown.sum()) == pytest.approx(w * h, rel=5e-3)
    mass, places = shown.sum(), torch.arange(64) + 0.5
    assert float((shown.sum(0) * places).sum() / mass) == pytest.approx(x + w / 2, abs=1e-3)
    assert float((shown.sum(1) * places).sum() / mass) == pytest.approx(y + h / 2, abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3)])
def test_images_of_any_size_give_crops(size):
    image = np.full((*size, 3), 128, np.uint8)
    shown = cut(image, around(box(0, 0, size[1], size[0]), 5.0, 72))
    assert shown.shape == (3, 72, 72)
    torch.testing.assert_close(shown, torch.full_like(shown, 128 / 255))


@pytest.mark.parametrize("image", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 4), np.uint8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(DataError, match="give one of"):
        cut(image, Crop(0, 0, 5, 5))


@pytest.mark.parametrize(
    "crop", [Crop(0, 0, 0, 5), Crop(0, 0, math.nan, 5), Crop(math.nan, 0, 9, 5)]
)
def test_a_crop_of_no_size_is_refused(crop):
    with pytest.raises(DataError, match="must be above 0"):
        cut(np.zeros((5, 5, 3), np.uint8), crop)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((1, 2, 3), "give four numbers"),
        ((1, 2, math.nan, 4), "give four numbers"),
        ((1, 2, 0, 4), "of no size"),
        ((1, 2, -3, 4), "of no size"),
        ((60, 2, 3, 4), "outside of the image of 50 x 40 pixels"),
        ((-10, 2, 5, 4), "outside of the image"),
    ],
)
def test_what_is_no_box_is_refused(given, sentence):
    with pytest.raises(DataError, match=sentence):
        bx.checked(given, (40, 50))


def test_a_box_partly_outside_is_one():
    assert bx.checked((-3, 30, 10, 20), (40, 50)).tolist() == [-3, 30, 10, 20]


def test_iou_of_known_boxes():
    a = box(0, 0, 4, 4)
    others = torch.stack([a, box(2, 0, 4, 4), box(4, 0, 4, 4), box(1, 1, 2, 2), box(0, 0, 0, 0)])
    expected = [1, 8 / 24, 0, 4 / 16, 0]
    assert bx.iou(a, others).tolist() == pytest.approx(expected)
    assert float(bx.iou(others[4], others[4])) == 0


def test_clipping_keeps_what_is_inside():
    given = torch.stack([box(-3, 2, 10, 50), box(60, 2, 3, 4), box(1, 2, 3, 4)])
    kept = bx.clipped(given, (40, 50)).tolist()
    assert kept == [[0, 2, 7, 38], [50, 2, 0, 4], [1, 2, 3, 4]]


def test_a_centre_is_moved_until_a_fifth_of_the_box_is_inside():
    size, image = box(20, 10), (40, 50)
    for centre in (box(-90, -90), box(90, 90), box(25, 20), box(-90, 20)):
        moved = bx.kept_inside(centre, size, image, 0.2)
        inside = bx.clipped(bx.box_around(moved, size), image)[2:] / size
        assert bool((inside >= 0.2 - 1e-9).all())
    assert bx.kept_inside(box(25, 20), size, image, 0.2).tolist() == [25, 20]


def test_proposals_overlap_and_differ():
    generator = torch.Generator().manual_seed(0)
    target = box(100, 120, 50, 70)
    drawn, overlap = bx.proposals(target, 400, generator)
    assert drawn.shape == (400, 4)
    assert float(overlap.min()) > 0.1
    assert float(overlap.max()) > 0.95
    assert 0.5 < float(overlap.mean()) < 0.9
    assert bool((drawn[:, 2:] > 0).all())
    again, _ = bx.proposals(target, 400, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_proposals_that_overlap_too_little_are_drawn_again():
    target = box(100, 120, 50, 70)
    _, free = bx.proposals(target, 400, torch.Generator().manual_seed(0), least=0.0)
    drawn, overlap = bx.proposals(target, 400, torch.Generator().manual_seed(0), least=0.7)
    assert float(free.min()) < 0.5
    assert float(overlap.min()) > 0.7
    torch.testing.assert_close(overlap, bx.iou(drawn, target.expand_as(drawn)))
    kept = free > 0.7
    torch.testing.assert_close(overlap[kept], free[kept])


def test_proposals_of_a_box_that_none_overlaps_end():
    """An object of a hundredth of a pixel: sides are not below a share of its own."""
    drawn, overlap = bx.proposals(box(3, 4, 0.01, 0.01), 20, torch.Generator().manual_seed(0))
    assert bool(drawn.isfinite().all() & (drawn[:, 2:] > 0).all() & (overlap <= 1).all())


def test_jitter_has_the_spread_it_is_given():
    generator = torch.Generator().manual_seed(0)
    target = box(100, 120, 50, 70)
    drawn = torch.stack([bx.jittered(target, 0.25, 3.0, generator) for _ in range(2000)])
    logs = (drawn[:, 2:] / target[2:]).log()
    assert logs.std(0).tolist() == pytest.approx([0.25, 0.25], rel=0.1)
    moved = (bx.centre_of(drawn) - bx.centre_of(target)) / bx.side_of(drawn)[:, None]
    assert float(moved.abs().max()) <= 1.5
    assert moved.std(0).tolist() == pytest.approx([3 / 12**0.5] * 2, rel=0.05)
