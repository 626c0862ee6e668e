"""References: what restoration gives without a network, measured as networks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from lwdna.data.bicubic import imresize
from lwdna.data.images import write_image
from lwdna.errors import ConfigError
from lwdna.io.checksummed_csv import read_csv
from lwdna.steps.reference import main
from lwdna.tasks.kinds import REFERENCES, reference_key, reference_task
from lwdna.tasks.metrics import conventions, psnr, ssim
from lwdna.tasks.references import Bicubic, reference_network
from lwdna.tasks.task import test_dataset as dataset_of

DENOISING = {"kind": "denoising", "sigma": 70, "patch_size": 40}
SUPER_RESOLUTION = {"kind": "super-resolution", "scale": 4, "patch_size": 20}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in (("a", (12, 16)), ("b", (17, 12))):
        rough = imresize(rng.integers(0, 256, (*size, 3), dtype=np.uint8), 4)
        write_image(tmp_path / f"images/{name}.png", rough)
    return tmp_path / "images"


def measured(folder: Path, task: dict[str, Any], convention: str) -> dict[Any, Any]:
    output = folder.parent / "reference.csv"
    words = ["--task", json.dumps(task), "--test", "mine", str(folder), "--output", str(output)]
    outcome = CliRunner().invoke(main, [*words, "--convention", convention], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert read_csv(output)
    (row,) = pd.read_csv(output).to_dict("records")
    return row


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_gives_the_bytes_of_matlab(scale: int) -> None:
    small = np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    found = Bicubic(scale)(torch.from_numpy(small).movedim(-1, 1).float())
    assert found.shape == (2, 3, 5 * scale, 7 * scale) and found.dtype == torch.float32
    for image, large in zip(small, found.movedim(1, -1).numpy(), strict=True):
        assert np.array_equal(large, imresize(image, scale))
    assert Bicubic(scale)(torch.full((1, 1, 3, 4), 7.0)).unique().tolist() == [7]


@pytest.mark.parametrize("convention", ["denoising", "denoising-whole"])
def test_the_noisy_input_is_measured_as_networks_are(images: Path, convention: str) -> None:
    row = measured(images, DENOISING, convention)
    data: Any = dataset_of(DENOISING, images)
    expected = [psnr(noisy, clean, **conventions(convention)) for noisy, clean in data]
    assert row["psnr_db"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert (row["test_set"], row["images"], row["flops"], row["params"]) == ("mine", 2, 0, 0)


@pytest.mark.parametrize("scale", [3, 4])
@pytest.mark.parametrize("convention", ["sr-benchmark", "sr-div2k"])
def test_bicubic_is_measured_as_networks_are(images: Path, convention: str, scale: int) -> None:
    task = SUPER_RESOLUTION | {"scale": scale}
    row = measured(images, task, convention)
    arguments = conventions(convention, scale=scale)
    data: Any = dataset_of(task, images)
    pairs = [
        (imresize(low.numpy().transpose(1, 2, 0).astype(np.uint8), scale).transpose(2, 0, 1), high)
        for low, high in data
    ]
    for column, measure in (("psnr_db", psnr), ("ssim", ssim)):
        expected = np.mean([measure(large, high, **arguments) for large, high in pairs])
        assert row[column] == pytest.approx(expected, abs=1e-9)


def test_what_a_reference_depends_on_is_in_its_name() -> None:
    names = {
        reference_key(task, convention)
        for task in (DENOISING, DENOISING | {"sigma": 25}, SUPER_RESOLUTION)
        for convention in ("denoising", "denoising-whole")
    }
    assert len(names) == 6
    longer = DENOISING | {"samples_per_epoch": 7, "patch_size": 8}
    assert reference_key(longer, "denoising") == reference_key(DENOISING, "denoising")
    assert reference_task(longer) == reference_task(DENOISING)
    for task in (DENOISING, SUPER_RESOLUTION):
        assert reference_network(reference_task(task)) is not None
        assert set(reference_task(task)) == {"kind", REFERENCES[str(task["kind"])].factor}


def test_classification_has_none() -> None:
    with pytest.raises(ConfigError, match="classification"):
        reference_network({"kind": "classification"})
