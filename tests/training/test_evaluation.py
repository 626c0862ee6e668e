import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lwdna.errors import ConfigError, DataError
from lwdna.tasks.metrics import psnr, ssim
from lwdna.tasks.restoration import restore, to_bytes
from lwdna.training.devices import pick_accelerator
from lwdna.training.evaluation import evaluate, infer_example


class Nearest(nn.Module):
    """Enlarges by ``scale``, and insists on sizes divisible by ``multiple`` as a U-Net does."""

    def __init__(self, scale=1, multiple=1):
        super().__init__()
        self.scale, self.multiple = scale, multiple
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise RuntimeError("size")
        return functional.interpolate(x, scale_factor=self.scale) * self.gain


def test_classification_errors_and_loss():
    logits = torch.tensor([[3.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 3.0], [0, 2.0, 1, 0, 0, 0]])
    data = [(row, label) for row, label in zip(logits, [0, 0, 2], strict=True)]
    result = evaluate(nn.Identity(), data, task="classification", batch_size=2)
    assert result["n"] == 3
    assert result["top1_error"] == pytest.approx(200 / 3)
    loss = functional.cross_entropy(logits, torch.tensor([0, 0, 2]))
    assert result["loss"] == pytest.approx(float(loss))


def test_psnr_is_the_mean_over_images_not_that_of_the_pooled_error():
    target = torch.zeros(1, 16, 16)
    data = [(target + 1, target), (target + 20, target)]
    result = evaluate(nn.Identity(), data, task="denoising")
    each = [20 * math.log10(255), 20 * math.log10(255 / 20)]
    pooled = 10 * math.log10(255**2 / ((1 + 400) / 2))
    assert result["psnr"] == pytest.approx(sum(each) / 2)
    assert result["psnr"] - pooled > 10
    assert result["loss"] == pytest.approx(10.5)
    assert set(result) == {"loss", "psnr", "ssim", "n"}


def test_super_resolution_reads_the_scale_off_the_sizes():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(3, 9, 7, generator=generator) * 255
    high = torch.rand(3, 36, 28, generator=generator) * 255
    result = evaluate(Nearest(4), [(low, high)], task="super-resolution")
    enlarged = functional.interpolate(low[None], scale_factor=4)[0]
    assert result["psnr"] == psnr(enlarged, high, luma=True, border=4)
    assert result["ssim"] == ssim(enlarged, high, luma=True, border=4)
    result = evaluate(
        Nearest(4),
        [(low, high)],
        task="super-resolution",
        convention={"luma": False, "border": 2, "quantise": False},
        full=False,
    )
    assert result["psnr"] == psnr(enlarged, high, luma=False, border=2, quantise=False)
    assert "ssim" not in result


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (3, 2)])
def test_padding_to_a_multiple_is_cut_off_again(scale, size):
    image = torch.arange(float(size[0] * size[1])).reshape(1, 1, *size)
    output = restore(Nearest(scale, multiple=8), image, multiple=8)
    assert torch.equal(output, functional.interpolate(image, scale_factor=scale))


def test_evaluation_leaves_the_modes_and_statistics_of_the_network_alone():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.rand(1, 16, 16)
    first = evaluate(model, [(image, image)], task="denoising")
    assert first == evaluate(model, [(image, image)], task="denoising")
    assert model[0].training and not model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_example_gives_bytes_for_figures():
    small = torch.tensor([[[-3.0, 300.0], [1.4, 1.6]]])
    grey = to_bytes(infer_example(Nearest(2), small, task="denoising"))
    assert grey.dtype == np.uint8
    assert grey[::2, ::2].tolist() == [[0, 255], [1, 2]]
    assert to_bytes(infer_example(Nearest(1), torch.zeros(3, 4, 5), task="denoising")).shape == (
        4,
        5,
        3,
    )


def test_mistakes_are_reported_in_a_sentence():
    with pytest.raises(DataError, match="no image"):
        evaluate(nn.Identity(), [], task="classification")
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        pick_accelerator("cudda")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"'cuda' was asked for.*sees none"):
            pick_accelerator("cuda")
    assert pick_accelerator("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_accelerator("auto") == "cpu" and not caplog.records
    assert pick_accelerator("gpu") == "cpu"
    assert "A GPU was asked for, but PyTorch" in caplog.text
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    caplog.clear()
    assert pick_accelerator("gpu") == "cuda" and not caplog.records
