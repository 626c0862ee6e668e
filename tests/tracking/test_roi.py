"""Precise RoI pooling against numerical integration, torchvision's roi_align and gradcheck."""

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from lwdna.tracking.roi import precise_roi_pool

POINTS = 400
BOXES = [[3.3, 2.1, 5.4, 6.7], [-2.5, -1.2, 6.0, 5.0], [9.7, 8.2, 7.0, 9.0], [2.0, 3.0, 1.0, 1.0]]


def midpoints(feature: np.ndarray, box, size: int) -> np.ndarray:
    """Each bin by the midpoint rule, on a map that is 0 outside: (H, W) to (size, size)."""
    padded = np.pad(feature, 20)

    def hats(start, length, cells):
        points = start + length * (np.arange(size * POINTS) + 0.5) / (size * POINTS)
        return np.maximum(0, 1 - np.abs(points[:, None] + 20 - np.arange(cells)))

    x, y, w, h = box
    rows, columns = hats(y, h, padded.shape[0]), hats(x, w, padded.shape[1])
    values = rows @ padded @ columns.T
    return values.reshape(size, POINTS, size, POINTS).mean((1, 3))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_pooling_is_the_integral(size):
    features = torch.randn(1, 2, 12, 13, dtype=torch.float64)
    boxes = torch.tensor([BOXES], dtype=torch.float64)
    pooled = precise_roi_pool(features, boxes * 4, size, 4)
    expected = [[midpoints(f.numpy(), box, size) for f in features[0]] for box in BOXES]
    assert pooled.shape == (1, len(BOXES), 2, size, size)
    assert np.abs(pooled[0].numpy() - np.array(expected)).max() < 1e-5


def test_single_precision_is_enough():
    features, boxes = torch.randn(2, 8, 18, 18), torch.rand(2, 6, 4) * 200 + 20
    exact = precise_roi_pool(features.double(), boxes.double(), 5, 16)
    torch.testing.assert_close(
        precise_roi_pool(features, boxes, 5, 16).double(), exact, atol=1e-5, rtol=0
    )


def test_roi_align_tends_to_it_inside():
    """It samples points of each bin, at the same places of pixels, and ever better."""
    features = torch.randn(1, 16, 20, 20, dtype=torch.float64)
    boxes = torch.tensor([[[4.2, 3.7, 8.1, 9.3], [2.4, 6.6, 11.3, 5.9]]], dtype=torch.float64)
    pooled = precise_roi_pool(features, boxes, 3, 1)[0]
    corners = torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
    errors = [
        (roi_align(features, list(corners), 3, 1.0, samples, False) - pooled).abs().max().item()
        for samples in (2, 4, 8, 16, 32)
    ]
    assert errors[-1] < 5e-3
    assert errors[-1] < errors[0] / 30, errors


def test_gradients_of_features_and_boxes():
    # No edge of a bin on a cell: the second derivative jumps there.
    features = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor(
        [
            [[1.3, 0.7, 3.1, 3.8], [-1.6, -0.8, 4.3, 3.7]],
            [[3.2, 2.3, 6.1, 5.2], [0.4, 1.7, 2.2, 3.4]],
        ],
        dtype=torch.float64,
        requires_grad=True,
    )

    def pool(features, boxes):
        return precise_roi_pool(features, boxes, 3, 1)

    assert torch.autograd.gradcheck(pool, (features, boxes))
    assert torch.autograd.gradgradcheck(pool, (features, boxes))


def test_a_box_over_the_border_counts_zeros_outside():
    features = torch.ones(1, 1, 8, 8)
    inside, half, outside = precise_roi_pool(
        features, torch.tensor([[[2.0, 2, 4, 4], [-5.5, 2, 10, 4], [-9, 2, 4, 4]]]), 1, 1
    ).flatten()
    assert inside == pytest.approx(1)
    # Cell 0 is centred on 0 and fades out until -1: half a cell, and 4.5 of the 10.
    assert half == pytest.approx(0.5)
    assert outside == 0


@pytest.mark.parametrize("box", [[3.0, 3, 0, 4], [3, 3, 4, 0], [3, 3, 0, 0], [3, 3, -2, 4]])
def test_an_empty_box_gives_nothing(box):
    features = torch.randn(1, 1, 8, 8, requires_grad=True)
    boxes = torch.tensor([[box]], dtype=torch.float32, requires_grad=True)
    pooled = precise_roi_pool(features, boxes, 3, 1)
    pooled.sum().backward()
    assert pooled.abs().max() == 0
    assert boxes.grad.abs().max() == 0


def test_bins_add_up_to_the_box():
    """The mean over bins is the mean over the box; of a constant it is the constant."""
    features = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    boxes = torch.tensor([[[1.2, 2.3, 4.6, 3.1]]], dtype=torch.float64)
    whole, parts = (precise_roi_pool(features, boxes, size, 1) for size in (1, 5))
    torch.testing.assert_close(parts.mean((-1, -2), keepdim=True), whole)
    constant = precise_roi_pool(torch.full_like(features, 2.5), boxes, 4, 1)
    torch.testing.assert_close(constant, torch.full_like(constant, 2.5))
