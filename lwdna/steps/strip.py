"""Draw a restored image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lwdna.errors import ConfigError, require_known
from lwdna.networks.own import load
from lwdna.results.strips import SIZE, Image, plot_strip, region_of
from lwdna.steps._options import FILE, READ, bundle, images, own_network, scale, task
from lwdna.steps._own import check_own
from lwdna.tasks.kinds import kind_of
from lwdna.tasks.metrics import psnr
from lwdna.tasks.references import reference_network
from lwdna.tasks.restoration import conventions_for, input_multiple, to_bytes
from lwdna.tasks.task import task_for, test_dataset
from lwdna.training.evaluation import infer_example

_restored = bundle(
    "restored",
    click.option(
        "--weights",
        type=(str, FILE),
        multiple=True,
        required=True,
        help="Caption and weights of a network; may be given several times.",
    ),
    own_network,
    task,
    click.option("--test", type=READ, required=True, help="Folder of test images."),
    click.option("--image", help="Name of the one to show.  [default: the first]"),
    click.option("--convention", help="How PSNR is taken."),
)
_part = bundle(
    "part",
    click.option(
        "--size",
        type=click.IntRange(min=1),
        default=SIZE,
        show_default=True,
        help="Of a side of the part that is shown, in pixels.",
    ),
    click.option(
        "--centre",
        type=(click.IntRange(0), click.IntRange(0)),
        help="Row and column of its middle.  [default: a face, or where there is most detail]",
    ),
)


@click.command()
@_restored
@_part
@click.option("--title", default="", help="Of the figure.")
@scale
@images
def main(
    *,
    restored: dict[str, Any],
    part: dict[str, Any],
    title: str,
    scale: str,
    outputs: tuple[Path, ...],
) -> None:
    """Draw an image, and a part of it: ground truth, input, and restored by each network."""
    name, shown, quality = _restore(**restored)
    region = region_of(shown["Ground truth"], name=name, **part)
    note = f"PSNR of the whole image '{name}'; the box shows where the parts were cut out."
    plot_strip(shown, outputs, region=region, psnr_db=quality, scale=scale, title=title, note=note)


def _restore(
    *,
    weights: Sequence[tuple[str, Path]],
    network: str | None,
    task: dict[str, Any],
    test: Path,
    image: str | None,
    convention: str | None,
) -> tuple[str, dict[str, Image], dict[str, float]]:
    """The name of a test image; the image by caption, whole and restored; and its PSNR in dB."""
    data: Any = test_dataset(task, test)
    if not kind_of(task).restores:
        raise ConfigError("A strip shows restored images; give a task of restoration.")
    names = getattr(data, "names", None) or [str(i + 1) for i in range(len(data))]
    number = _number_of(image, names)
    inputs, target = data[number]
    reference = kind_of(task).reference
    models = {} if reference is None else {reference.title: reference_network(task)}
    for caption, path in weights:
        models[caption] = load(path, network)
        check_own(task_for(task), models[caption], data, None)
    shown = {"Ground truth": to_bytes(target)}
    quality = {}
    arguments = conventions_for(task["kind"], convention, target.shape[-1] // inputs.shape[-1])
    for caption, model in models.items():
        restored = infer_example(model, inputs, task=task, multiple=input_multiple(model))
        shown[caption] = to_bytes(restored)
        quality[caption] = psnr(restored, target, **arguments)
    return names[number], shown, quality


def _number_of(image: str | None, names: Sequence[str]) -> int:
    """The place of a test image among the others."""
    if image is None:
        return 0
    require_known(image, names, f"There is no test image '{image}';")
    return names.index(image)
