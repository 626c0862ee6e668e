"""The classifier of DiMP: a filter that tells an object from what is around it.

It is made of a few frames in which the object is known: an initialiser pools features of the box,
and steepest descent on a learned loss makes the filter better. Both are trained so that the filter
finds the object in other frames (DiMP, Sec. 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from lwdna.tracking.boxes import centre_of
from lwdna.tracking.roi import precise_roi_pool

LEAST_REGULARISATION = 1e-6


class Head(nn.Module):
    """Features of a backbone to those that a filter runs over: of unit energy for a window.

    Args:
        in_channels: of the coarse map of the backbone.
        channels: of the result, C.
        kernel: k, of the filter.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = _convolution(in_channels, channels, bias=False)
        self.energy = 1 / (channels * kernel**2)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C, H, W), of mean square 1 / (C k^2)."""
        x = self.conv(features)
        mean_square = (x.square().sum((1, 2, 3), keepdim=True) + 1e-5) / x[0].numel()
        return x * (self.energy / mean_square).sqrt()  # type: ignore[no-any-return]


class Initialiser(nn.Module):
    """A first filter: features of the object, pooled to the size of the filter (DiMP, Sec. 3.2).

    Args:
        channels: of the features, C.
        kernel: k, of the filter.
        stride: pixels between two cells of the features.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = _convolution(channels, channels, bias=True)
        self.kernel, self.stride = kernel, stride

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Features (B, n, C, H, W) and boxes (B, n, 4) of n frames to filters (B, C, k, k)."""
        maps = self.conv(features.flatten(0, 1))
        pooled = precise_roi_pool(maps, boxes.flatten(0, 1)[:, None], self.kernel, self.stride)
        return pooled[:, 0].reshape(*boxes.shape[:2], *pooled.shape[2:]).mean(1)


def _convolution(in_channels: int, channels: int, *, bias: bool) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=bias)
    nn.init.normal_(conv.weight, std=(2 / (9 * channels)) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def scores_of(features: Tensor, filters: Tensor) -> Tensor:
    """How much each place looks like the object: every sequence has a filter of its own.

    Args:
        features: (B, n, C, H, W) of B sequences of n frames.
        filters: (B, C, k, k).

    Returns:
        (B, n, S, S'), one more than (H, W) for an even k.
    """
    sequences, frames, _, height, width = features.shape
    kernel = filters.shape[-1]
    # A product of matrices for all places of the kernel, whose maps are then moved and added: a
    # convolution of a group for each sequence is ten times as slow on a CPU.
    moving = filters.flatten(2).transpose(1, 2)[:, None].flip(2)
    parts = (moving @ features.flatten(3)).flatten(0, 1)
    more = 1 - kernel % 2
    size = (height + more, width + more)
    return fold(parts, size, kernel, padding=_margin(kernel)).reshape(sequences, frames, *size)


def _margin(kernel: int) -> int:
    """Cells by which the first place of a kernel lies before the map of scores."""
    return kernel - 1 - kernel // 2


def transposed_scores(features: Tensor, residuals: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of :func:`scores_of` in the filters: (B, n, S, S') to (B, C, k, k)."""
    kernel = shape[-1]
    moved = unfold(residuals.flatten(0, 1)[:, None], kernel, padding=_margin(kernel))
    moved = moved.reshape(*features.shape[:2], kernel**2, -1).flip(2).transpose(2, 3)
    return (features.flatten(3) @ moved).sum(1).reshape(shape)


def score_places(boxes: Tensor, stride: Tensor | int, kernel: int) -> Tensor:
    """Where on the map of scores objects are: boxes (..., 4) in pixels to (..., 2), x and y.

    The stride is pixels between two cells, a number or a tensor (..., 1).
    """
    return centre_of(boxes) / stride - (kernel % 2) / 2


def place_pixels(places: Tensor, stride: Tensor | int, kernel: int) -> Tensor:
    """Pixels of the crop that places (..., 2) of the map of scores stand for: (..., 2).

    The stride is a number or a tensor (..., 1).
    """
    return (places + (kernel % 2) / 2) * stride


def gaussian_labels(
    boxes: Tensor, size: int, stride: Tensor | int, kernel: int, sigma: Tensor | float
) -> Tensor:
    """What the scores of test frames should be: a Gaussian at the object (DiMP, Sec. 3.4).

    Args:
        boxes: (..., 4) in pixels of the crop.
        size: S, of the map of scores.
        stride: pixels between two cells, a number or a tensor (..., 1).
        kernel: k, of the filter.
        sigma: standard deviation in cells, likewise.

    Returns:
        (..., S, S).
    """
    x, y = score_places(boxes, stride, kernel).unbind(-1)
    places = torch.arange(size, dtype=boxes.dtype, device=boxes.device)
    across, down = ((-((places - c[..., None]) ** 2) / (2 * sigma**2)).exp() for c in (x, y))
    return down[..., :, None] * across[..., None, :]


class LearnedLoss(nn.Module):
    """The loss that the filter descends on, learned as functions of the distance to the object.

    A label, a mask and a weight for each cell are linear in triangular functions of its distance
    (DiMP, Sec. 3.1 and 3.3, Eq. 1 and 2). Where the mask is 1 the residual is score minus label;
    where it is 0 only scores above 0 count.

    Args:
        bins: number of distances.
        spacing: between two of them, in cells.
        sigma: of the Gaussian that labels start as, in cells.
        step: factor of the step length to begin with.
        regularisation: lambda, the square root of the factor of the filter's energy.
    """

    def __init__(
        self,
        bins: int = 100,
        spacing: float = 0.1,
        sigma: float = 0.9,
        step: float = 0.9,
        regularisation: float = 0.1,
    ) -> None:
        super().__init__()
        distances = torch.arange(bins) * spacing
        gaussian = (-(distances**2) / (2 * sigma**2)).exp()
        self.bins, self.spacing = bins, spacing
        self.label = nn.Parameter(gaussian - gaussian.min())
        self.mask = nn.Parameter(3 * (2 - distances).tanh())
        self.weight = nn.Parameter(torch.ones(bins))
        self.log_step = nn.Parameter(torch.tensor(step).log())
        self.regularisation = nn.Parameter(torch.tensor(float(regularisation)))

    def shares(self, distances: Tensor) -> Tensor:
        """By how much each bin stands for a distance, (...) in cells to (..., bins); sum 1."""
        places = torch.arange(self.bins, dtype=distances.dtype, device=distances.device)
        offset = distances[..., None] / self.spacing - places
        near = (1 - offset.abs()).clamp(min=0)
        last = (1 + offset[..., -1:]).clamp(0, 1)
        return torch.cat([near[..., :-1], last], -1)

    def maps(self, centres: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Label, mask and weight of each cell.

        Args:
            centres: (..., 2) of the objects on the map of scores (:func:`score_places`).
            size: height and width of that map.

        Returns:
            Three of (..., height, width); the mask is within 0 and 1.
        """
        places = [torch.arange(s, dtype=centres.dtype, device=centres.device) for s in size]
        down, across = places[0][:, None], places[1][None, :]
        x, y = (centres[..., axis, None, None] for axis in range(2))
        shares = self.shares(((across - x).square() + (down - y).square()).sqrt())
        return shares @ self.label, (shares @ self.mask).sigmoid(), shares @ self.weight

    def squared_regularisation(self) -> Tensor:
        """The factor of the filter's energy, a scalar."""
        return self.regularisation.square().clamp(min=LEAST_REGULARISATION)

    def forward(
        self,
        features: Tensor,
        filters: Tensor,
        centres: Tensor,
        sample_weights: Tensor | None = None,
    ) -> Tensor:
        """The loss of filters.

        Args:
            features: (B, n, C, H, W).
            filters: (B, C, k, k).
            centres: (B, n, 2) of the objects on the map of scores.
            sample_weights: (B, n), of sum 1; by default all alike.

        Returns:
            (B,), one for each sequence.
        """
        scores = scores_of(features, filters)
        label, mask, weight = _weighted(self, centres, scores.shape[-2:], sample_weights)
        residual = weight * (leaky(scores, mask) - label)
        energy = filters.square().sum((1, 2, 3))
        return residual.square().sum((1, 2, 3)) + self.squared_regularisation() * energy


def leaky(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores where the mask is 1, their positive part where it is 0; all of one shape."""
    return (1 - mask) / 2 * scores.abs() + (1 + mask) / 2 * scores


def _weighted(
    loss: LearnedLoss, centres: Tensor, size: Sequence[int], sample_weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Label, mask, and weight with that of the sample, of each cell: (B, n, S, S')."""
    label, mask, weight = loss.maps(centres, size)
    if sample_weights is None:
        return label, mask, weight / centres.shape[1] ** 0.5
    return label, mask, weight * sample_weights.sqrt()[..., None, None]


def steepest_descent(
    loss: LearnedLoss,
    filters: Tensor,
    features: Tensor,
    centres: Tensor,
    *,
    iterations: int,
    sample_weights: Tensor | None = None,
) -> list[Tensor]:
    """Improve filters by steps along the gradient, as long as the Gauss-Newton model says.

    Everything is differentiable, through all iterations (DiMP, Sec. 3.1, Alg. 1).

    Args:
        loss: that is made smaller.
        filters: (B, C, k, k) to begin with.
        features: (B, n, C, H, W) of frames in which the object is known.
        centres: (B, n, 2), where on the map of scores.
        iterations: number of steps.
        sample_weights: (B, n), of sum 1; by default all alike.

    Returns:
        The filters (B, C, k, k) after each step, those to begin with first.
    """
    made = [filters]
    factor, squared = loss.log_step.exp(), loss.squared_regularisation()
    terms: tuple[Tensor, Tensor, Tensor] | None = None
    for _ in range(iterations):
        scores = scores_of(features, filters)
        if terms is None:
            terms = _weighted(loss, centres, scores.shape[-2:], sample_weights)
        label, mask, weight = terms
        slope = (1 - mask) / 2 * scores.detach().sign() + (1 + mask) / 2
        residual = weight * (leaky(scores, mask) - label)
        gradient = transposed_scores(features, slope * weight * residual, filters.shape)
        gradient = gradient + squared * filters
        change = slope * weight * scores_of(features, gradient)
        length = gradient.square().sum((1, 2, 3))
        curvature = change.square().sum((1, 2, 3)) + squared * length
        alpha = length / curvature.clamp(min=1e-8)
        filters = filters - (factor * alpha)[:, None, None, None] * gradient
        made.append(filters)
    return made
