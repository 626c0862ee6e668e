"""Error rates, PSNR and SSIM, with every convention of the benchmarks as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict, Unpack, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwdna.errors import ConfigError, DataError, require_known
from lwdna.tasks.sections import Convention

Image: TypeAlias = Tensor | NDArray[Any]

LUMA_WEIGHTS = (65.481, 128.553, 24.966)
"""MATLAB's ``rgb2ycbcr``: Y = (weights . RGB) / 255 + 16, for RGB on the 0-255 scale."""


class Preset(TypedDict):
    """A convention of a benchmark, whose border may grow with the scale."""

    luma: bool
    quantise: bool
    border: int
    border_per_scale: int


PRESETS: Mapping[str, Preset] = {
    # Set5, Set14, B100, Urban100: PSNR of the luma, a border of the scale cut off.
    "sr-benchmark": {"luma": True, "quantise": True, "border": 0, "border_per_scale": 1},
    # DIV2K validation as in NTIRE and EDSR: all channels, a border of the scale + 6.
    "sr-div2k": {"luma": False, "quantise": True, "border": 6, "border_per_scale": 1},
    # Grey images. The authors' code cuts 1 pixel off, KAIR none.
    "denoising": {"luma": False, "quantise": True, "border": 1, "border_per_scale": 0},
    "denoising-whole": {"luma": False, "quantise": True, "border": 0, "border_per_scale": 0},
}
"""Named conventions. The border, in pixels, is ``border + border_per_scale * scale``."""

_SSIM_WINDOW = 11


def conventions(preset: str, *, scale: int = 1, **changes: Any) -> Convention:
    """The arguments ``luma``, ``quantise`` and ``border`` of :func:`psnr` and :func:`ssim`.

    Args:
        preset: one of :data:`PRESETS`.
        scale: factor of super-resolution, which the border depends on.
        changes: arguments that replace those of the preset.

    Raises:
        ConfigError: if the preset or an argument does not exist.
    """
    require_known(preset, PRESETS, f"The convention '{preset}' does not exist;")
    chosen = PRESETS[preset]
    arguments: Convention = {
        "luma": chosen["luma"],
        "quantise": chosen["quantise"],
        "border": chosen["border"] + chosen["border_per_scale"] * scale,
    }
    for name in changes:
        require_known(name, arguments, f"'{name}' is no convention of PSNR and SSIM;")
    return cast(Convention, {**arguments, **changes})


def top_k_wrong(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is missing among the ``k`` best predictions.

    Args:
        logits: (B, classes); with fewer than ``k`` classes all of them count as predicted.
        labels: (B,) class numbers.
        k: 1 or 5 in the paper.

    Returns:
        (B,) booleans.
    """
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best != labels[:, None]).all(dim=1)


def psnr(output: Image, target: Image, **convention: Unpack[Convention]) -> float:
    """Peak signal-to-noise ratio of one image, in dB; ``inf`` for equal images.

    A result is the mean of this number over the images, never the PSNR of the pooled error.

    Args:
        output: (C, H, W), on the 0-255 scale.
        target: the same size.
        convention: how they are compared.

    Raises:
        DataError: if the sizes differ or nothing remains inside the border.
        ConfigError: if ``luma`` is asked for images that are not RGB.
    """
    ours, theirs = _compared(output, target, **convention)
    error = float(np.mean((ours - theirs) ** 2))
    data_range = convention.get("data_range", 255.0)
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def ssim(output: Image, target: Image, **convention: Unpack[Convention]) -> float:
    """Structural similarity of one image, at most 1, with the window of the original paper.

    An 11 x 11 Gaussian of sigma 1.5, valid region only, mean over the channels: what MATLAB,
    BasicSR and KAIR compute. Arguments and errors as in :func:`psnr`; besides, a
    ``DataError`` if less than 11 x 11 pixels remain inside the border.
    """
    ours, theirs = _compared(output, target, **convention)
    if min(ours.shape[1:]) < _SSIM_WINDOW:
        raise DataError(
            f"SSIM needs at least {_SSIM_WINDOW} x {_SSIM_WINDOW} pixels inside the border of "
            f"{convention['border']}, but {ours.shape[1]} x {ours.shape[2]} remain; use larger "
            "test images."
        )
    from skimage.metrics import structural_similarity  # noqa: PLC0415 - only where there is SSIM

    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        ours,
        theirs,
        channel_axis=0,
        data_range=convention.get("data_range", 255.0),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def _compared(
    output: Image,
    target: Image,
    *,
    border: int,
    luma: bool,
    quantise: bool = True,
    data_range: float = 255.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both images as (C, H, W) doubles after rounding, luma and border, in this order."""
    ours, theirs = _array(output), _array(target)
    if ours.shape != theirs.shape or ours.ndim != 3:
        raise DataError(
            f"The output has the size {ours.shape} and the target {theirs.shape}, where both must "
            "be the same (channels, height, width); crop the target to scale x the input."
        )
    if quantise:
        ours = np.rint(np.clip(ours, 0.0, data_range))
    if luma:
        ours, theirs = _luma(ours, data_range), _luma(theirs, data_range)
    height, width = ours.shape[1:]
    if border < 0 or 2 * border >= min(height, width):
        raise DataError(
            f"A border of {border} pixels cannot be cut off an image of {height} x {width}; "
            "use a smaller border or larger images."
        )
    inside = (slice(None), slice(border, height - border), slice(border, width - border))
    return ours[inside], theirs[inside]


def _array(image: Image) -> NDArray[np.float64]:
    if isinstance(image, Tensor):
        return np.asarray(image.detach().to("cpu", torch.float64))
    return np.asarray(image, dtype=np.float64)


def _luma(image: NDArray[np.float64], data_range: float) -> NDArray[np.float64]:
    """(3, H, W) to (1, H, W); not rounded, as in the authors' code and in BasicSR."""
    if len(image) != 3:
        raise ConfigError(
            f"The luma of an image with {len(image)} channel(s) was asked for, which exists for "
            "RGB only; set luma to false."
        )
    weights = np.asarray(LUMA_WEIGHTS) / 255.0
    offset = 16.0 * data_range / 255.0
    return np.tensordot(weights, image, axes=1)[None] + offset
