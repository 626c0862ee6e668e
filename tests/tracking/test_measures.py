"""Measures on cases made by hand, and by the formulas of the toolkits written out anew."""

import numpy as np
import pytest

from lwdna.errors import ConfigError, DataError
from lwdna.tracking.metrics import CONVENTIONS, Followed, got10k, ope, overlaps

NAN = float("nan")


def followed(predicted, truth, visible=None, size=(200, 300), name="car"):
    truth = np.array(truth, float)
    seen = np.ones(len(truth), bool) if visible is None else np.array(visible, bool)
    return Followed(name, np.array(predicted, float), truth, seen, size)


def perfect(n=5):
    truth = [[10 + 3 * i, 20, 40, 30] for i in range(n)]
    return followed(truth, truth)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_boxes_that_are_the_truth(convention):
    """Above 1 nothing can be: 20 of the 21 thresholds."""
    result = ope([perfect()], convention)
    assert result.success_auc == pytest.approx(20 / 21)
    assert (result.precision, result.frames, result.sequences) == (1, 5, 1)
    assert result.normalised_precision == pytest.approx(1)
    assert result.success.tolist() == [1] * 20 + [0]


def test_the_measures_of_got10k_of_the_truth():
    result = got10k([perfect()])
    assert (result.ao, result.sr50, result.sr75, result.frames) == (1, 1, 1, 4)


def test_a_box_that_is_wrong_by_known_numbers():
    """Right by 20 pixels of 40: IoU 1/3, and half a width."""
    truth = [[0, 0, 40, 30]] * 2
    result = ope([followed([[0, 0, 40, 30], [20, 0, 40, 30]], truth)], "ope-pytracking")
    assert result.success.tolist() == [1] * 7 + [0.5] * 13 + [0]
    assert result.success_auc == pytest.approx((7 + 6.5) / 21)
    assert result.precision == 1
    assert result.precisions[19] == 0.5
    assert result.normalised_precision == 0.5
    mean = ope([followed([[0, 0, 40, 30], [20, 0, 40, 30]], truth)], "ope-got10k")
    assert mean.normalised_precision == pytest.approx((51 + 1) / 2 / 51)
    pooled = got10k([followed([[0, 0, 40, 30], [20, 0, 40, 30]], truth)])
    assert pooled.ao == pytest.approx(1 / 3)
    assert (pooled.sr50, pooled.sr75) == (0, 0)


def test_the_first_box_is_the_truths():
    truth = [[0, 0, 40, 30]] * 2
    result = ope([followed([[99, 99, 1, 1], [0, 0, 40, 30]], truth)], "ope")
    assert result.success_auc == pytest.approx(20 / 21)


def test_sequences_count_alike_but_frames_in_got10k():
    short = followed([[0, 0, 9, 9], [50, 50, 9, 9]], [[0, 0, 9, 9]] * 2)
    long = perfect(9)
    assert ope([short, long], "ope").precision == pytest.approx((0.5 + 1) / 2)
    assert got10k([short, long]).ao == pytest.approx(8 / 9)


ABSENT = followed(
    [[0, 0, 9, 9], [1, 1, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]],
    [[0, 0, 9, 9], [NAN] * 4, [0, 0, 9, 9], [0, 0, 0, 9]],
)
HIDDEN = ABSENT._replace(truth=np.array([[0.0, 0, 9, 9]] * 4), visible=np.array([1, 0, 1, 0], bool))


@pytest.mark.parametrize(
    ("sequence", "convention", "dataset", "expected"),
    [
        (ABSENT, "ope-pytracking", "lasot", (0.5, 0.5, 0.5, 4)),
        (ABSENT, "ope-pytracking", "uav123", (0.5, 1, 1, 4)),
        (ABSENT, "ope-pytracking", "nfs", (0.5, 0.5, 1, 4)),
        (ABSENT, "ope-got10k", "uav123", (1, 1, 1, 2)),
        (ABSENT, "ope", "uav123", (1, 1, 1, 2)),
        (HIDDEN, "ope-pytracking", "lasot", (0.5, 0.5, 0.5, 4)),
        (HIDDEN, "ope", "lasot", (1, 1, 1, 2)),
    ],
)
def test_frames_without_an_object(sequence, convention, dataset, expected):
    """Success as a share of that of the truth, precision, normalised precision, and frames."""
    r = ope([sequence], convention, dataset)
    given = (r.success_auc * 21 / 20, r.precision, r.normalised_precision, r.frames)
    assert given == pytest.approx(expected)


def test_hidden_frames_count_where_the_convention_does_not_look():
    assert ope([HIDDEN], "ope-got10k").frames == 4
    assert ope([HIDDEN], "ope-got10k").precision == pytest.approx(1)


def test_got10k_leaves_out_hidden_and_unknown_frames():
    assert got10k([ABSENT]).frames == 2
    assert got10k([ABSENT]).ao == pytest.approx(0.5)  # the box of no size is one that is missed
    assert got10k([HIDDEN]).frames == 1


def test_a_prediction_that_is_no_box_is_a_miss():
    truth = [[0, 0, 40, 30]] * 3
    lost = followed([[0, 0, 40, 30], [NAN] * 4, [0, 0, -4, 30]], truth)
    result = ope([lost], "ope")
    assert result.success[0] == pytest.approx(1 / 3)
    assert result.precisions[-1] == pytest.approx(2 / 3)
    assert got10k([lost]).ao == 0


def test_got10k_cuts_boxes_at_the_border():
    truth = [[0, 0, 40, 30], [-20, -30, 40, 60]]
    inside = followed([[0, 0, 40, 30], [0, 0, 20, 30]], truth)
    assert got10k([inside]).ao == pytest.approx(1)
    assert ope([inside], "ope").success_auc < 0.7


def test_many_boxes_against_the_formulas_of_the_got10k_toolkit():
    """IoU, error of centres and curves, written out with loops."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 60, (40, 4))
    predicted = truth + rng.normal(0, 6, (40, 4))
    predicted[:, 2:] = np.maximum(predicted[:, 2:], 1)
    predicted[0] = truth[0]
    ious, errors, shares = [], [], []
    for (x, y, w, h), (a, b, c, d) in zip(predicted, truth, strict=True):
        across = max(0, min(x + w, a + c) - max(x, a))
        down = max(0, min(y + h, b + d) - max(y, b))
        ious.append(across * down / (w * h + c * d - across * down))
        dx, dy = x + w / 2 - a - c / 2, y + h / 2 - b - d / 2
        errors.append((dx * dx + dy * dy) ** 0.5)
        shares.append(((dx / c) ** 2 + (dy / d) ** 2) ** 0.5)
    assert overlaps(predicted, truth) == pytest.approx(ious)
    result = ope([followed(predicted, truth)], "ope-got10k")
    auc = np.mean([np.mean([i > t for i in ious]) for t in np.arange(21) / 20])
    assert result.success_auc == pytest.approx(auc)
    assert result.precision == pytest.approx(np.mean([e <= 20 for e in errors]))
    mean = np.mean([np.mean([s <= t + 1e-9 for s in shares]) for t in np.arange(51) / 100])
    assert result.normalised_precision == pytest.approx(mean)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"predicted": np.zeros((4, 4))}, "'car' has 5 frames with a truth, but 4 boxes"),
        ({"visible": np.zeros(6, bool)}, "5 frames with a truth, but 6 visible frames"),
        ({"truth": np.zeros((1, 4))}, "'car' has 1 frames; a sequence has two or more"),
    ],
)
def test_what_does_not_fit_is_said(changed, sentence):
    for measure in (lambda s: ope([s], "ope"), lambda s: got10k([s])):
        with pytest.raises(DataError, match=sentence):
            measure(perfect()._replace(**changed))


def test_nothing_to_measure():
    unseen = perfect()._replace(visible=np.zeros(5, bool))
    for measure in (lambda s: ope([s], "ope"), lambda s: got10k([s])):
        with pytest.raises(DataError, match="nothing can be measured"):
            measure(unseen)


def test_a_convention_that_there_is_not():
    with pytest.raises(ConfigError, match="did you mean 'ope-got10k'"):
        ope([perfect()], "ope-got10")
