"""Draw a restored image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import lwdna
from lwdna.data.datasets import ClassificationTest, test_dataset
from lwdna.errors import ConfigError
from lwdna.evaluation import conventions_for, input_multiple, restore_example, to_bytes
from lwdna.figures import plot_strip
from lwdna.metrics import psnr
from lwdna.steps._options import ANY_PATH, FILE, task


@click.command()
@click.option("--baseline", type=FILE, required=True, help="Weights of the baseline.")
@click.option("--shrunk", type=FILE, required=True, help="Weights of the LW-DNA network.")
@task
@click.option("--test", type=ANY_PATH, required=True, help="Folder of test images.")
@click.option("--image", type=click.IntRange(min=0), default=0, help="Which of them.")
@click.option("--convention", help="How PSNR is taken.")
@click.option("--size", type=int, default=160, show_default=True, help="Of the part shown, pixels.")
@click.option("--title", default="", help="Of the figure.")
@click.option("--scale", default="", help="Label of a run that is not at the paper's scale.")
@click.option("--output", type=FILE, multiple=True, required=True, help="PNG or SVG to write.")
def main(
    *,
    baseline: Path,
    shrunk: Path,
    task: dict[str, Any],
    test: Path,
    image: int,
    convention: str | None,
    size: int,
    title: str,
    scale: str,
    output: tuple[Path, ...],
) -> None:
    """Draw clean, degraded, baseline and LW-DNA side by side, with the PSNR of the whole image."""
    data = test_dataset(task, test)
    if isinstance(data, ClassificationTest):
        raise ConfigError("A strip shows restored images; give a task of restoration.")
    inputs, target = data[image % len(data)]
    factor = target.shape[-1] // inputs.shape[-1]
    part = [
        slice(max(0, n - size // factor) // 2, (n + size // factor) // 2) for n in inputs.shape[1:]
    ]
    enlarged = [slice(s.start * factor, s.stop * factor) for s in part]
    arguments = conventions_for(task["kind"], convention, factor)
    images = {"clean": to_bytes(target[:, *enlarged]), "degraded": to_bytes(inputs[:, *part])}
    quality: dict[str, float | None] = {}
    if factor == 1:
        quality["degraded"] = psnr(inputs, target, **arguments)
    for name, weights in (("Baseline", baseline), ("LW-DNA", shrunk)):
        model = lwdna.load(weights)
        restored = restore_example(model, inputs, multiple=input_multiple(model))
        images[name] = to_bytes(restored[:, *enlarged])
        quality[name] = psnr(restored, target, **arguments)
    note = f"PSNR of the whole image '{data.names[image % len(data)]}'"
    plot_strip(images, output, psnr_db=quality, scale=scale, title=title, note=note)
