"""The IoU branch, and refinement by its gradient."""

import pytest
import torch

from lwdna.tracking.iou_net import IouNet, Refinement, around_box, ascend, refined

TRUTH = torch.tensor([60.0, 80.0, 40.0, 30.0], dtype=torch.float64)


def quadratic(boxes):
    """Highest at :data:`TRUTH`, in units of the size, and steep enough for a few steps."""
    return 1 - 8 * ((boxes - TRUTH) / TRUTH[2:].repeat(2)).square().sum(-1)


def net(**options):
    return IouNet(6, 10, (2, 4), width=8, **options)


def maps(batch=3, size=24):
    return torch.randn(batch, 6, size, size), torch.randn(batch, 10, size // 2, size // 2)


def test_shapes_and_what_depends_on_what():
    branch = net().eval()
    boxes = torch.rand(3, 4) * 10 + 8
    modulation = branch.modulation(*maps(), boxes)
    assert [tuple(m.shape) for m in modulation] == [(3, 8), (3, 8)]
    test = branch.maps(*maps())
    proposals = (torch.rand(3, 5, 4) * 10 + 8).requires_grad_()
    predicted = branch(modulation, test, proposals)
    assert predicted.shape == (3, 5)
    (gradient,) = torch.autograd.grad(predicted[1, 2], proposals)
    assert gradient[1, 2].abs().min() > 0
    gradient[1, 2] = 0
    assert not gradient.any()


def test_a_factor_of_the_pooled_is_one_of_the_map():
    """Modulating the maps, as the paper says, gives the same."""
    branch = net().eval()
    modulation = branch.modulation(*maps(), torch.rand(3, 4) * 10 + 8)
    test = branch.maps(*maps())
    boxes = torch.rand(3, 5, 4) * 10 + 8
    modulated = tuple(m * v[:, :, None, None] for m, v in zip(test, modulation, strict=True))
    ones = tuple(torch.ones_like(v) for v in modulation)
    torch.testing.assert_close(branch(ones, modulated, boxes), branch(modulation, test, boxes))


def test_its_size_is_that_of_the_paper():
    branch = IouNet(512, 1024, (8, 16))
    assert sum(p.numel() for p in branch.parameters()) / 1e6 == pytest.approx(10.46, abs=0.005)


def test_gradients_of_boxes():
    branch = net().double().eval()
    modulation = branch.modulation(*(m.double() for m in maps(1)), torch.rand(1, 4).double() + 8)
    test = tuple(m.detach() for m in branch.maps(*(m.double() for m in maps(1))))
    boxes = torch.tensor([[[7.3, 9.1, 17.7, 14.9]]], dtype=torch.float64, requires_grad=True)
    fixed = tuple(m.detach() for m in modulation)
    assert torch.autograd.gradcheck(lambda b: branch(fixed, test, b), boxes)


def test_ascent_finds_the_box():
    start = TRUTH + torch.tensor([6.0, -5.0, 8.0, -4.0], dtype=torch.float64)
    boxes, predicted = ascend(quadratic, start[None], Refinement(steps=200, length=0.5))
    assert float((boxes[0] - TRUTH).abs().max()) < 1e-6
    assert float(predicted) == pytest.approx(1)


def test_refinement_comes_near_in_the_steps_that_it_has():
    """From boxes around one that is wrong by a sixth of its side."""
    start = TRUTH + torch.tensor([6.0, -5.0, 8.0, -4.0], dtype=torch.float64)
    found = refined(quadratic, start, Refinement(), torch.Generator().manual_seed(0))
    assert float((found - TRUTH).norm()) < 0.15 * float((start - TRUTH).norm())


def test_the_first_box_is_the_one_given_and_none_is_too_thin():
    how = Refinement(proposals=500, scale=3)
    boxes = around_box(TRUTH, how, torch.Generator().manual_seed(0))
    assert torch.equal(boxes[0], TRUTH)
    assert float(boxes[:, 2:].min()) == pytest.approx(10)
    again = around_box(TRUTH, how, torch.Generator().manual_seed(0))
    assert torch.equal(boxes, again)


def test_boxes_keep_a_side():
    """Towards smaller boxes without end: no side comes below a pixel."""
    boxes, _ = ascend(lambda b: -b[:, 2:].sum(-1), TRUTH[None], Refinement())
    assert boxes[0, 2:].tolist() == [1, 1]


@pytest.mark.parametrize("slope", [[0.0, 0, 9, -1], [float("nan")] * 4])
def test_where_nothing_usable_is_found_the_box_stays(slope):
    """Boxes a hundred times as wide as high, or that are none."""
    along = torch.tensor(slope, dtype=torch.float64)
    found = refined(
        lambda b: (b * along).sum(-1), TRUTH, Refinement(), torch.Generator().manual_seed(0)
    )
    assert torch.equal(found, TRUTH)


def test_it_learns_what_an_iou_is():
    """Of a bright square: after some steps predictions follow the IoU of new boxes."""
    from lwdna.tracking.boxes import iou, proposals

    generator = torch.Generator().manual_seed(0)
    branch = IouNet(1, 1, (2, 4), width=16)
    optimiser = torch.optim.Adam(branch.parameters(), 3e-3)

    def batch(count=8):
        truth = torch.rand(count, 4, generator=generator) * 16 + 16
        places = torch.arange(24) * 2.0
        inside = [
            (places >= truth[:, i, None]) & (places < (truth[:, i] + truth[:, i + 2])[:, None])
            for i in range(2)
        ]
        fine = (inside[1][:, :, None] & inside[0][:, None, :]).float()[:, None]
        coarse = torch.nn.functional.avg_pool2d(fine, 2)
        drawn = torch.stack([proposals(box, 8, generator)[0] for box in truth])
        return fine, coarse, truth, drawn, iou(drawn, truth[:, None])

    def predict(fine, coarse, truth, drawn):
        return branch(branch.modulation(fine, coarse, truth), branch.maps(fine, coarse), drawn)

    for _ in range(60):
        *given, target = batch()
        loss = (predict(*given) - (2 * target - 1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    branch.eval()
    *given, target = batch(32)
    with torch.no_grad():
        pairs = torch.stack([predict(*given).flatten(), target.flatten()])
    assert float(pairs.corrcoef()[0, 1]) > 0.7
