"""MATLAB's antialiased bicubic resizing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lwdna.data.bicubic import imresize
from lwdna.errors import ConfigError, DataError


def kernel(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def slow_line(line: np.ndarray, scale: float) -> np.ndarray:
    """The definition, pixel by pixel: a widened kernel over the mirrored line."""
    length = len(line)
    shrink = min(scale, 1.0)
    result = []
    for output in range(math.ceil(length * scale - 1e-9)):
        centre = (output + 0.5) / scale - 0.5
        total = weights = 0.0
        for pixel in range(-4 * length, 5 * length):
            weight = kernel((pixel - centre) * shrink)
            inside = pixel % (2 * length)
            mirrored = inside if inside < length else 2 * length - 1 - inside
            total += weight * line[mirrored]
            weights += weight
        result.append(total / weights)
    return np.array(result)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 0.4, 2, 3, 4, 1.5])
def test_agrees_with_the_definition(scale: float) -> None:
    image = np.random.default_rng(0).normal(size=(11, 13))
    rows = np.apply_along_axis(slow_line, 0, image, scale)
    expected = np.apply_along_axis(slow_line, 1, rows, scale)
    np.testing.assert_allclose(imresize(image, scale), expected, atol=1e-12)


def test_bytes_are_rounded_after_each_direction_rows_first() -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 16), dtype=np.uint8)

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.floor(np.clip(values, 0, 255) + 0.5)

    rows = rounded(np.apply_along_axis(slow_line, 0, image.astype(float), 0.5))
    expected = rounded(np.apply_along_axis(slow_line, 1, rows, 0.5))
    result = imresize(image, 0.5)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_halves_are_rounded_up() -> None:
    image = np.array([[0, 1]], dtype=np.uint8)
    assert imresize(image, 0.5).tolist() == [[1]]


def test_overshoot_is_clipped() -> None:
    image = np.repeat(np.array([[0] * 8 + [255] * 8], dtype=np.uint8), 4, axis=0)
    floats = imresize(image.astype(float), 4)
    assert floats.min() < 0 and floats.max() > 255
    bytes_ = imresize(image, 4)
    assert bytes_.min() == 0 and bytes_.max() == 255


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 0.5, 2, 4])
def test_constant_stays_constant(scale: float) -> None:
    image = np.full((24, 12, 3), 200, dtype=np.uint8)
    assert np.all(imresize(image, scale) == 200)


def test_scale_one_changes_nothing() -> None:
    image = np.random.default_rng(2).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(imresize(image, 1), image)


@pytest.mark.parametrize("scale", [0.25, 0.5, 2, 4])
def test_ramp_stays_a_ramp_inside(scale: float) -> None:
    ramp = np.tile(np.arange(64.0), (8, 1))
    resized = imresize(ramp, scale)
    centres = (np.arange(resized.shape[1]) + 0.5) / scale - 0.5
    inside = slice(round(12 * scale), -round(12 * scale))
    np.testing.assert_allclose(resized[:, inside] - centres[inside], 0, atol=1e-9)


def test_antialiasing_removes_what_the_small_image_cannot_show() -> None:
    checkerboard = np.indices((32, 32)).sum(axis=0) % 2 * 255.0
    small = imresize(checkerboard, 1 / 4)
    np.testing.assert_allclose(small[2:-2, 2:-2], 127.5, atol=1)


def test_channels_are_resized_one_by_one() -> None:
    image = np.random.default_rng(3).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    small = imresize(image, 0.5)
    assert small.shape == (5, 7, 3)
    for channel in range(3):
        np.testing.assert_array_equal(small[:, :, channel], imresize(image[:, :, channel], 0.5))


@pytest.mark.parametrize(
    ("size", "scale", "expected"), [(9, 1 / 3, 3), (10, 1 / 3, 4), (49, 1 / 49, 1), (7, 3 / 7, 3)]
)
def test_size_is_rounded_up_but_not_by_rounding_errors(
    size: int, scale: float, expected: int
) -> None:
    assert imresize(np.zeros((size, size)), scale).shape == (expected, expected)


def test_type_is_kept() -> None:
    assert imresize(np.zeros((4, 4), dtype=np.float32), 0.5).dtype == np.float32


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf])
def test_impossible_scale(scale: float) -> None:
    with pytest.raises(ConfigError, match="finite number above 0"):
        imresize(np.zeros((4, 4)), scale)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), dtype=np.int32), np.zeros(4), np.zeros((0, 4)), np.zeros((1,) * 4)]
)
def test_impossible_image(image: np.ndarray) -> None:
    with pytest.raises(DataError):
        imresize(image, 0.5)
