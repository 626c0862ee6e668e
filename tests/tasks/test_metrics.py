import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lwdna.errors import ConfigError, DataError
from lwdna.tasks.metrics import PRESETS, conventions, psnr, ssim, top_k_wrong
from lwdna.tasks.task import task_for

RGB = {"luma": False, "border": 0}


@pytest.fixture
def pair():
    """Two RGB images (3, 40, 50): whole numbers, and the same with noise."""
    generator = np.random.default_rng(0)
    smooth = np.kron(generator.uniform(30, 220, (3, 4, 5)), np.ones((10, 10)))
    target = np.round(smooth + generator.normal(0, 5, smooth.shape)).clip(0, 255)
    output = target + generator.normal(0, 8, target.shape)
    return output, target


def test_psnr_equals_skimage(pair):
    output, target = pair
    expected = peak_signal_noise_ratio(target, output.clip(0, 255).round(), data_range=255)
    assert psnr(output, target, **RGB) == pytest.approx(expected, rel=1e-12)
    expected = peak_signal_noise_ratio(target, output, data_range=255)
    assert psnr(output, target, **RGB, quantise=False) == pytest.approx(expected, rel=1e-12)


def test_psnr_by_hand():
    target = np.zeros((1, 4, 4))
    assert psnr(target + 1, target, **RGB) == pytest.approx(20 * math.log10(255))
    assert psnr(target + 0.4, target, **RGB) == math.inf
    assert psnr(target + 0.5, target, **RGB, quantise=False) == pytest.approx(20 * math.log10(510))
    assert psnr(target - 9, target, **RGB) == math.inf


def test_tensors_and_arrays_give_the_same(pair):
    output, target = (torch.from_numpy(image) for image in pair)
    assert psnr(output, target, **RGB) == psnr(*pair, **RGB)


def test_luma_is_that_of_matlab(pair):
    output, target = pair
    rounded = output.clip(0, 255).round()

    def luma(image):
        return rgb2ycbcr(np.moveaxis(image, 0, -1) / 255)[..., 0]

    expected = peak_signal_noise_ratio(luma(target), luma(rounded), data_range=255)
    assert psnr(output, target, luma=True, border=0) == pytest.approx(expected, rel=1e-6)


def test_equal_grey_shift_loses_the_range_of_the_luma():
    """A shift of 10 in R, G and B is one of 10 * 219 / 255 in Y."""
    target = np.full((3, 16, 16), 100.0)
    expected = 20 * math.log10(255 / (10 * 219 / 255))
    assert psnr(target + 10, target, luma=True, border=0) == pytest.approx(expected)


def test_border_is_cut_along_every_edge(pair):
    _, target = pair
    output = target.copy()
    output[:, :4], output[:, -4:], output[..., :4], output[..., -4:] = 0, 0, 0, 0
    assert psnr(output, target, luma=False, border=4) == math.inf
    assert psnr(output, target, luma=False, border=3) < 40


@pytest.mark.parametrize("luma", [False, True])
def test_ssim_equals_the_gaussian_one_of_skimage(pair, luma):
    output, target = pair
    ours, theirs = output.clip(0, 255).round()[:, 4:-4, 4:-4], target[:, 4:-4, 4:-4]
    if luma:
        weights = np.array([65.481, 128.553, 24.966]) / 255
        ours, theirs = (np.tensordot(weights, image, 1)[None] + 16 for image in (ours, theirs))
    expected = np.mean(
        [
            structural_similarity(
                a,
                b,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=255,
            )
            for a, b in zip(ours, theirs, strict=True)
        ]
    )
    assert ssim(output, target, luma=luma, border=4) == pytest.approx(expected, rel=1e-12)


def test_ssim_follows_its_definition(pair):
    """Against a direct sum over one 11 x 11 window, the only one that an 11 x 11 image has."""
    output, target = (image[:1, :11, :11] for image in pair)
    position = np.arange(-5, 6)
    window = np.exp(-(position[:, None] ** 2 + position**2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = output[0].round(), target[0]
    mean_x, mean_y = (window * x).sum(), (window * y).sum()
    variance_x = (window * x * x).sum() - mean_x**2
    variance_y = (window * y * y).sum() - mean_y**2
    covariance = (window * x * y).sum() - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (
        (2 * mean_x * mean_y + c1)
        * (2 * covariance + c2)
        / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    )
    assert ssim(output, target, **RGB) == pytest.approx(expected, rel=1e-9)


def test_presets_give_the_borders_of_the_benchmarks():
    assert conventions("sr-benchmark", scale=4) == {"luma": True, "quantise": True, "border": 4}
    assert conventions("sr-div2k", scale=4) == {"luma": False, "quantise": True, "border": 10}
    assert conventions("denoising") == {"luma": False, "quantise": True, "border": 1}
    assert conventions("denoising-whole") == {"luma": False, "quantise": True, "border": 0}
    assert conventions("denoising", border=0) == conventions("denoising-whole")
    assert PRESETS["sr-div2k"]["border"] == 6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conventions("sr-div2"), ConfigError, "did you mean 'sr-div2k'"),
        (lambda: conventions("denoising", boarder=1), ConfigError, "did you mean 'border'"),
        (
            lambda: psnr(np.zeros((1, 9, 9)), np.zeros((1, 9, 9)), luma=True, border=0),
            ConfigError,
            "RGB only",
        ),
        (
            lambda: psnr(np.zeros((1, 9, 9)), np.zeros((1, 9, 8)), **RGB),
            DataError,
            r"\(1, 9, 9\) and the target \(1, 9, 8\)",
        ),
        (
            lambda: psnr(np.zeros((1, 8, 9)), np.zeros((1, 8, 9)), luma=False, border=4),
            DataError,
            "border of 4",
        ),
        (lambda: ssim(np.zeros((1, 9, 9)), np.zeros((1, 9, 9)), **RGB), DataError, "11 x 11"),
    ],
)
def test_impossible_comparisons_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_top_k_error():
    logits = torch.tensor([[0.1, 0.9, 0.5, 0.2, 0.3, 0.0]] * 4)
    labels = torch.tensor([1, 2, 0, 5])
    errors = task_for("classification").metrics(logits, labels)
    assert errors == {"top1_error": 300.0, "top5_error": 100.0}  # of four images
    assert top_k_wrong(logits, labels, 2).tolist() == [False, False, True, True]


def test_top_5_of_three_classes_is_never_wrong():
    assert not top_k_wrong(torch.randn(4, 3), torch.tensor([0, 1, 2, 2]), 5).any()
