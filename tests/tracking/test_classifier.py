"""The classifier: scores, labels, distance bins, and steepest descent on the learned loss."""

import pytest
import torch

from lwdna.tracking.classifier import (
    Head,
    Initialiser,
    LearnedLoss,
    gaussian_labels,
    leaky,
    place_pixels,
    score_places,
    scores_of,
    steepest_descent,
    transposed_scores,
)


def problem(seed=0, *, sequences=2, frames=3, channels=4, cells=8, kernel=4):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = draw(sequences, frames, channels, cells, cells) / (channels * kernel**2) ** 0.5
    filters = draw(sequences, channels, kernel, kernel)
    centres = torch.rand(sequences, frames, 2, generator=generator, dtype=torch.float64) * cells
    return features, filters, centres


def loss_of(mask=None, **settings):
    loss = LearnedLoss(**settings).double()
    if mask is not None:
        with torch.no_grad():
            loss.mask.fill_(100.0 if mask else -100.0)
    return loss


def test_the_head_gives_unit_energy_to_a_window():
    maps = Head(5, 16, 4)(torch.randn(3, 5, 18, 18) * 40)
    mean_square = maps.square().mean((1, 2, 3))
    torch.testing.assert_close(mean_square, torch.full((3,), 1 / (16 * 16)))
    assert not Head(5, 16, 4)(torch.zeros(1, 5, 18, 18)).any()


def test_the_initialiser_is_the_mean_over_frames():
    make = Initialiser(6, 4, 16)
    features, boxes = torch.randn(2, 3, 6, 18, 18), torch.rand(2, 3, 4) * 60 + 60
    filters = make(features, boxes)
    assert filters.shape == (2, 6, 4, 4)
    alone = torch.stack([make(features[:, i : i + 1], boxes[:, i : i + 1]) for i in range(3)])
    torch.testing.assert_close(filters, alone.mean(0))


@pytest.mark.parametrize("kernel", [4, 5])
def test_scores_are_correlations_of_each_sequence(kernel):
    features, filters, _ = problem(kernel=kernel)
    scores = scores_of(features, filters)
    size = 9 if kernel == 4 else 8
    assert scores.shape == (2, 3, size, size)
    padded = torch.nn.functional.pad(features, [kernel // 2] * 4)
    by_hand = (padded[1, 2, :, 3 : 3 + kernel, 5 : 5 + kernel] * filters[1]).sum()
    torch.testing.assert_close(scores[1, 2, 3, 5], by_hand)


@pytest.mark.parametrize("kernel", [1, 3, 4, 5])
def test_scores_are_a_convolution_with_a_group_for_each_sequence(kernel):
    """Of maps that are not square too; and so are their gradients."""
    features, filters, _ = problem(kernel=kernel)
    features = features[..., 1:].clone().requires_grad_()
    filters.requires_grad_()
    maps = features.transpose(0, 1).flatten(1, 2)
    wanted = torch.nn.functional.conv2d(maps, filters, padding=kernel // 2, groups=2)
    scores = scores_of(features, filters)
    torch.testing.assert_close(scores, wanted.transpose(0, 1))
    given = [
        torch.autograd.grad(made.square().sum(), (features, filters)) for made in (scores, wanted)
    ]
    torch.testing.assert_close(*given)


def test_scores_move_with_the_image():
    """By one cell for one stride, away from the borders."""
    generator = torch.Generator().manual_seed(0)
    backbone = torch.nn.Conv2d(3, 6, 5, 4, 2)
    filters = torch.randn(1, 6, 4, 4, generator=generator)
    wide = torch.randn(1, 3, 72, 80, generator=generator)
    with torch.no_grad():
        here, there = (
            scores_of(backbone(wide[..., start : start + 72])[None], filters)[0, 0]
            for start in (0, 4)
        )
    torch.testing.assert_close(here[4:-4, 5:-3], there[4:-4, 4:-4])


@pytest.mark.parametrize("kernel", [4, 5])
def test_places_and_pixels_are_each_others_inverse(kernel):
    boxes = torch.tensor([[100.0, 120, 30, 40]])
    places = score_places(boxes, 16, kernel)
    assert place_pixels(places, 16, kernel).tolist() == [[115, 140]]
    assert score_places(torch.tensor([134.0, 134, 20, 20]), 16, 4).tolist() == [9, 9]


def test_bins_of_a_distance_add_up_to_one():
    distances = torch.cat([torch.linspace(0, 30, 4001), torch.tensor([9.85, 9.9, 9.95, 1e4])])
    shares = LearnedLoss().shares(distances.double())
    assert shares.shape == (4005, 100)
    assert float((shares.sum(-1) - 1).detach().abs().max()) < 1e-12
    assert float(shares.min()) >= 0
    assert int((shares > 0).sum(-1).max()) == 2


def test_the_label_starts_as_a_gaussian():
    """Linear between its bins, and less the smallest of its values, as by hand."""
    loss = LearnedLoss()
    centre = torch.tensor([[[9.0, 9.0], [4.3, 11.7]]])
    label, mask, weight = loss.maps(centre, (19, 19))
    for frame, (x, y) in enumerate(centre[0].tolist()):
        places = torch.arange(19.0)
        distance = ((places[None] - x) ** 2 + (places[:, None] - y) ** 2).sqrt()
        by_hand = (-(distance**2) / (2 * 0.9**2)).exp()
        assert float((label[0, frame] - by_hand).detach().abs().max()) < 2e-3
        expected = torch.sigmoid(3 * torch.tanh(2 - distance.clamp(max=9.9)))
        assert float((mask[0, frame] - expected).detach().abs().max()) < 5e-3
    assert torch.equal(weight, torch.ones_like(weight))
    assert sum(p.numel() for p in loss.parameters()) == 302


def test_labels_of_test_frames_are_where_the_object_is():
    label = gaussian_labels(torch.tensor([[134.0, 118, 20, 20]]), 19, 16, 4, 0.9)
    assert label.shape == (1, 19, 19)
    assert divmod(int(label.argmax()), 19) == (8, 9)
    assert float(label[0, 8, 9]) == 1
    assert float(label[0, 8, 10]) == pytest.approx(float(label[0, 9, 9]))
    assert float(label[0, 8, 10]) == pytest.approx(2.718281828 ** (-1 / (2 * 0.81)))


def test_the_residual_of_a_mask():
    scores = torch.tensor([-2.0, 0.0, 3.0])
    assert leaky(scores, torch.ones(3)).tolist() == [-2, 0, 3]
    assert leaky(scores, torch.zeros(3)).tolist() == [0, 0, 3]
    assert leaky(scores, torch.full((3,), 0.5)).tolist() == [-1, 0, 3]


@pytest.mark.parametrize("weights", [None, [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]])
def test_the_step_is_along_the_gradient(weights):
    """The change of the filter is that of autograd, times half the step length."""
    features, filters, centres = problem()
    weights = weights and torch.tensor(weights, dtype=torch.float64)
    loss = loss_of()
    given = filters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(features, given, centres, weights).sum(), given)
    with torch.no_grad():
        _, after = steepest_descent(
            loss, filters, features, centres, iterations=1, sample_weights=weights
        )
    step = filters - after
    alpha = (step * gradient).sum((1, 2, 3)) / gradient.square().sum((1, 2, 3))
    torch.testing.assert_close(step, alpha[:, None, None, None] * gradient, rtol=1e-9, atol=1e-12)
    assert bool((alpha > 0).all())


def test_the_line_search_is_exact_where_the_problem_is_linear():
    features, filters, centres = problem(1)
    loss = loss_of(mask=1, step=1.0)
    with torch.no_grad():
        _, after = steepest_descent(loss, filters, features, centres, iterations=1)
        best = loss(features, after, centres)
        for factor in (0.9, 0.99, 1.01, 1.1):
            other = filters + factor * (after - filters)
            assert bool((loss(features, other, centres) > best).all())
    given = after.clone().requires_grad_()
    (left,) = torch.autograd.grad(loss(features, given, centres).sum(), given)
    along = (left * (after - filters)).sum((1, 2, 3)) / (left.norm() * (after - filters).norm())
    assert float(along.abs().max()) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("step", [0.3, 0.9, 1.0])
def test_descent_never_rises_where_the_problem_is_linear(step):
    loss = loss_of(mask=1, step=step)
    for seed in range(20):
        features, filters, centres = problem(seed)
        made = steepest_descent(loss, filters, features, centres, iterations=10)
        values = torch.stack([loss(features, f, centres) for f in made])
        assert bool((values.diff(dim=0) <= 1e-9 * values[:-1]).all())


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, 0])
def test_descent_ends_below_its_start(mask):
    loss = loss_of(mask=mask)
    for seed in range(20):
        features, filters, centres = problem(seed)
        first, *_, last = steepest_descent(loss, filters, features, centres, iterations=10)
        assert bool((loss(features, last, centres) < loss(features, first, centres)).all())


@torch.no_grad()
def test_many_steps_come_to_the_solution_of_least_squares():
    features, filters, centres = problem(2, sequences=1, frames=1, channels=2, kernel=2)
    loss = loss_of(mask=1, step=1.0)
    last = steepest_descent(loss, filters, features, centres, iterations=2000)[-1]
    count = filters.numel()
    units = torch.eye(count, dtype=torch.float64).reshape(count, 1, *filters.shape[1:])
    rows = torch.stack([scores_of(features, unit).flatten() for unit in units], 1)
    label = loss.maps(centres, (9, 9))[0].flatten()
    normal = rows.T @ rows + loss.squared_regularisation() * torch.eye(count, dtype=torch.float64)
    solution = torch.linalg.solve(normal, rows.T @ label)
    # Not nearer: the curvature has a floor of 1e-8, below which steps get ever shorter.
    torch.testing.assert_close(last.flatten(), solution, rtol=1e-5, atol=1e-6)


def test_the_transpose_is_that_of_the_scores():
    features, filters, _ = problem()
    given = filters.clone().requires_grad_()
    scores = scores_of(features, given)
    residuals = torch.randn_like(scores)
    (expected,) = torch.autograd.grad(scores, given, residuals)
    torch.testing.assert_close(transposed_scores(features, residuals, filters.shape), expected)


def test_gradients_go_through_all_iterations():
    features, filters, centres = problem(3, sequences=1, frames=2, channels=2, cells=5, kernel=2)
    loss = loss_of()

    descent = Descent(loss)
    order = ("label", "mask", "weight", "log_step", "regularisation")

    def run(features, filters, *values):
        given = {f"loss.{name}": value for name, value in zip(order, values, strict=True)}
        return torch.func.functional_call(descent, given, (features, filters, centres))

    inputs = [features, filters, *(p.detach() for p in loss.parameters())]
    assert tuple(name for name, _ in loss.named_parameters()) == order
    assert torch.autograd.gradcheck(run, [i.clone().requires_grad_() for i in inputs])


class Descent(torch.nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, features, filters, centres):
        return torch.stack(
            steepest_descent(self.loss, filters, features, centres, iterations=2)[1:]
        )
