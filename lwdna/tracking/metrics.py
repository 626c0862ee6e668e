"""How well boxes follow an object: success, precision, and the measures of GOT-10k.

The published toolkits disagree on frames whose truth is no box, and on normalised precision, so
that the same boxes get other numbers: a table must say by which :data:`CONVENTIONS` it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lwdna.errors import DataError, require_known
from lwdna.tracking.boxes import clipped, iou

Array = NDArray[np.float64]

OVERLAPS: Array = np.linspace(0, 1, 21)
"""Thresholds of the IoU, whose mean is the success AUC. A frame must be above: of boxes that all
are the truth, the last threshold counts none, so that the AUC is 20 / 21."""

PIXELS: Array = np.arange(51, dtype=np.float64)
"""Thresholds of the error of the centre, in pixels; precision is that of the 20."""

SHARES: Array = np.linspace(0, 0.5, 51)
"""Thresholds of the error of the centre in widths and heights of the object."""


@dataclass(frozen=True)
class OpeConvention:
    """What is counted, in one pass over each sequence from its first box."""

    drops_unknown: bool
    """Whether frames whose truth is no box are left out; else they are failures."""
    uses_visible: bool
    """Whether frames in which the data set says that the object is not visible are such frames."""
    mean_normalised: bool
    """Whether normalised precision is the mean over :data:`SHARES`; else that at 0.2."""
    hits: Mapping[str, tuple[str, ...]]
    """By data set, measures in which frames that are failures of success count as hits: a quirk of
    the toolkit, needed for numbers like the published ones. "" stands for all others."""


CONVENTIONS: Mapping[str, OpeConvention] = {
    "ope-pytracking": OpeConvention(
        drops_unknown=False,
        uses_visible=True,
        mean_normalised=False,
        hits={"uav123": ("precision", "normalised_precision"), "lasot": ()}
        | {"": ("normalised_precision",)},
    ),
    "ope-got10k": OpeConvention(
        drops_unknown=True, uses_visible=False, mean_normalised=True, hits={}
    ),
    "ope": OpeConvention(drops_unknown=True, uses_visible=True, mean_normalised=False, hits={}),
}
"""By name: as the two toolkits count, and, where there is nothing published to be compared with,
``ope``: frames without an object count nowhere, and normalised precision is that at 0.2."""


class Followed(NamedTuple):
    """A sequence, and where a tracker said that the object is."""

    name: str
    predicted: Array
    """(N, 4): x, y, width, height in pixels."""
    truth: Array
    """(N, 4); NaN, or no size, where there is no truth."""
    visible: NDArray[np.bool_]
    """(N,)."""
    size: tuple[int, int]
    """Height and width of the images."""

    def checked(self) -> Followed:
        """Itself, if its lengths agree.

        Raises:
            DataError: if they do not, or there are fewer frames than two.
        """
        n = len(self.truth)
        if n < 2:
            raise DataError(f"'{self.name}' has {n} frames; a sequence has two or more.")
        for what, values in (("boxes", self.predicted), ("visible frames", self.visible)):
            if len(values) != n:
                raise DataError(
                    f"'{self.name}' has {n} frames with a truth, but {len(values)} {what}; give "
                    "one for each frame."
                )
        return self


class Errors(NamedTuple):
    """Of each frame that counts, (n,)."""

    overlap: Array
    """IoU; -1 where there is no truth."""
    centre: Array
    """In pixels; infinite where there is no truth."""
    normalised: Array
    """In widths and heights of the object; infinite where there is no truth."""
    known: NDArray[np.bool_]
    """Whether there is a truth."""


def errors_of(sequence: Followed, convention: OpeConvention) -> Errors:
    """The errors of a sequence, the first of whose boxes is the truth's, whatever was predicted.

    Raises:
        DataError: if the lengths of the sequence do not agree.
    """
    _, predicted, truth, visible, _ = sequence.checked()
    predicted = np.concatenate([truth[:1], predicted[1:]])
    known: NDArray[np.bool_] = np.isfinite(truth).min(1) & (truth[:, 2:].min(1) > 0)
    if convention.uses_visible:
        known &= visible
    overlap = np.where(known, overlaps(predicted, truth), -1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        away = predicted[:, :2] + predicted[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2
        centre, normalised = (np.hypot(*(away / by).T) for by in (1.0, truth[:, 2:]))
    far = ~known | ~np.isfinite(centre)
    centre, normalised = (np.where(far, np.inf, e) for e in (centre, normalised))
    chosen = known if convention.drops_unknown else np.ones_like(known)
    return Errors(overlap[chosen], centre[chosen], normalised[chosen], known[chosen])


def overlaps(predicted: Array, truth: Array) -> Array:
    """The IoU of each pair of boxes, (n, 4) and (n, 4) to (n,); 0 where one is none."""
    values: Array = iou(torch.from_numpy(predicted), torch.from_numpy(truth)).numpy()
    return np.nan_to_num(values, nan=0.0)


@dataclass(frozen=True)
class Ope:
    """The measures of a test set, each the mean over its sequences."""

    success_auc: float
    precision: float
    normalised_precision: float
    sequences: int
    frames: int
    """That counted."""
    success: Array
    """(21,): the share of frames above each of :data:`OVERLAPS`."""
    precisions: Array
    """(51,): the share of frames within each of :data:`PIXELS`."""
    normalised: Array
    """(51,): the share of frames within each of :data:`SHARES`."""


def ope(sequences: Sequence[Followed], convention: str, dataset: str = "") -> Ope:
    """Success and precision in one pass (OTB; LaSOT; UAV123; NFS).

    Args:
        sequences: of a test set.
        convention: a name of :data:`CONVENTIONS`.
        dataset: whose quirks the convention may have.

    Raises:
        ConfigError: if there is no such convention.
        DataError: if a sequence does not fit, or none has a frame that counts.
    """
    require_known(convention, CONVENTIONS, f"There is no convention '{convention}' of tracking;")
    how = CONVENTIONS[convention]
    found = [errors_of(sequence, how) for sequence in sequences]
    found = [errors for errors in found if len(errors.overlap)]
    if not found:
        raise DataError("No sequence has a frame with a truth; nothing can be measured.")
    hits = how.hits.get(dataset, how.hits.get("", ()))

    def within(name: str, errors: Array, known: NDArray[np.bool_], limits: Array) -> Array:
        """(51,): the shares of a sequence; a millionth is for the rounding of limits."""
        below = errors[:, None] <= limits + 1e-6
        counted: Array = (below | (~known[:, None] & (name in hits))).mean(0)
        return counted

    success = np.mean([(e.overlap[:, None] > OVERLAPS).mean(0) for e in found], axis=0)
    precisions = np.mean([within("precision", e.centre, e.known, PIXELS) for e in found], axis=0)
    normalised = np.mean(
        [within("normalised_precision", e.normalised, e.known, SHARES) for e in found], axis=0
    )
    return Ope(
        success_auc=float(success.mean()),
        precision=float(precisions[20]),
        normalised_precision=float(normalised.mean() if how.mean_normalised else normalised[20]),
        sequences=len(found),
        frames=sum(len(e.overlap) for e in found),
        success=success,
        precisions=precisions,
        normalised=normalised,
    )


@dataclass(frozen=True)
class Got10k:
    """The measures of GOT-10k: means over all frames of all sequences, not over sequences."""

    ao: float
    """Average overlap."""
    sr50: float
    """Success rate: the share of frames with an IoU above 0.5."""
    sr75: float
    """Above 0.75."""
    frames: int
    """That counted."""


def got10k(sequences: Sequence[Followed]) -> Got10k:
    """Average overlap and success rates (GOT-10k, Sec. 4), over frames where the object is seen.

    The first frame does not count, and boxes end at the border of the image: ours are cut there,
    where the toolkit moves corners that are negative, without making the box smaller.

    Args:
        sequences: of a test set; of several runs, all of them.

    Raises:
        DataError: if a sequence does not fit, or no frame counts.
    """
    found: list[Array] = []
    for sequence in sequences:
        _, predicted, truth, visible, size = sequence.checked()
        counts = visible[1:] & np.isfinite(truth[1:]).all(1)
        cut = [
            clipped(torch.from_numpy(boxes[1:][counts]), size).numpy()
            for boxes in (predicted, truth)
        ]
        found.append(overlaps(*cut))
    values = np.concatenate(found) if found else np.zeros(0)
    if not len(values):
        raise DataError("No frame after the first shows the object; nothing can be measured.")
    return Got10k(
        ao=float(values.mean()),
        sr50=float((values > 0.5).mean()),
        sr75=float((values > 0.75).mean()),
        frames=len(values),
    )
