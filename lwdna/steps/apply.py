"""Apply a trained network to pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwdna.data.images import image_size, read_image, to_gray, to_rgb, write_image
from lwdna.data.transforms import to_tensor
from lwdna.errors import ConfigError
from lwdna.io.atomic import require_writable
from lwdna.io.checksummed_csv import write_rows
from lwdna.io.logs import progress
from lwdna.networks.own import load
from lwdna.prediction.predictor import Predictor
from lwdna.steps._classes import classes
from lwdna.steps._json import Json
from lwdna.steps._options import (
    ANY_PATH,
    FILE,
    FOLDER,
    accelerator,
    bundle,
    own_network,
    shapes,
)
from lwdna.steps._pictures import beside, listed, named
from lwdna.tasks.metrics import PRESETS

logger = logging.getLogger(__name__)

_network = bundle(
    "trained",
    click.argument("weights", type=FILE),
    own_network,
    shapes,
    click.option(
        "--task",
        type=Json("task"),
        help="What the network was trained for, where WEIGHTS do not tell: as in a configuration.",
    ),
    classes,
    click.option("--tile", type=click.IntRange(min=1), help="Restore in tiles of so many pixels."),
    click.option(
        "--threads", type=click.IntRange(1, 4096), help="Of the CPU.  [default: one for each core]"
    ),
    click.option("--gray", is_flag=True, help="Convert colour for a network of gray pictures."),
    click.option("--resize", is_flag=True, help="Bring pictures to the size that is classified."),
    accelerator,
)
_compared = bundle(
    "compared",
    click.option("--reference", type=ANY_PATH, help="Clean picture, or folder of them: give PSNR."),
    click.option(
        "--degrade",
        is_flag=True,
        help="The pictures are clean: add the noise, or make them small, as tests do; give PSNR.",
    ),
    click.option("--convention", type=click.Choice(list(PRESETS)), help="How PSNR is taken."),
)
_top = click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Likeliest classes to write.",
)


@click.command()
@_network
@click.argument("pictures", type=ANY_PATH, nargs=-1, required=True)
@_compared
@_top
@click.option("--output", type=FOLDER, required=True, help="Folder to write to.")
def main(
    *,
    trained: dict[str, Any],
    pictures: tuple[Path, ...],
    compared: dict[str, Any],
    top: int,
    output: Path,
) -> None:
    """Restore or classify PICTURES, files or folders, by the trained network in WEIGHTS.

    Restored ones are written as PNG of their own names, PSNR as psnr.csv; classes as classes.csv.
    """
    found = listed(pictures)
    references = beside(found, compared["reference"]) if compared["reference"] else {}
    predictor = _predictor(**trained)
    require_writable(output)
    for picture in found:  # before the first is restored, which may take long
        predictor.check(picture)
    if predictor.task.kind.restores:
        _restore(predictor, found, references, output, **compared)
    elif any(compared.values()):
        raise ConfigError(
            "The network classifies, and restores no picture that could be compared; leave "
            "--reference, --degrade and --convention out."
        )
    else:
        _classify(predictor, found, output, top)


def _predictor(
    *,
    weights: Path,
    network: str | None,
    shapes: tuple[tuple[int, ...], ...],
    task: dict[str, Any] | None,
    classes: list[str] | None,
    threads: int | None,
    **how: Any,
) -> Predictor:
    if threads is not None:
        torch.set_num_threads(threads)
    size = shapes[0][-2:] if shapes else None
    model = load(weights, network)
    return Predictor(model, task, classes=classes, size=size, name=f"'{weights}'", **how)


def _restore(
    predictor: Predictor,
    pictures: list[Path],
    references: dict[Path, Path],
    output: Path,
    *,
    reference: Path | None,
    degrade: bool,
    convention: str | None,
) -> None:
    """Write every picture restored, and its PSNR if there is what to compare it with."""
    if reference is not None and degrade:
        raise click.UsageError("Give either --reference or --degrade, whose pictures are clean.")
    known = predictor.task.kind.conventions
    if convention is not None and convention not in known:
        raise ConfigError(f"This task has no convention '{convention}'; give {' or '.join(known)}.")
    for picture, clean in references.items():
        _check_size(predictor, picture, clean)
    read = [*pictures, *references.values()]
    restored = named(output, pictures, read, "")
    shown = named(output, pictures, read, "-input") if degrade else []
    twice = sorted({path.name for path in restored} & {path.name for path in shown})
    if twice:
        raise ConfigError(
            f"'{twice[0]}' would be written twice, for one picture as restored and for another as "
            "it was given; rename one, or leave one out."
        )
    pairs: Any = predictor.task.degraded(pictures) if degrade else None
    rows = []
    bar = progress(pictures, description="apply", unit="picture")
    after_tile = _shown_on(bar)
    for number, picture in enumerate(bar):
        target = None
        if degrade:
            inputs, target = pairs[number]
            made = predictor.answer(inputs, f"'{picture}'", after_tile=after_tile)
            write_image(shown[number], predictor.task.answer(inputs))
        else:
            made = predictor(picture, after_tile=after_tile)
            if picture in references:
                target = _target(made, references[picture])
        write_image(restored[number], made)
        if target is not None:
            quality = predictor.psnr(made, target, convention)
            rows.append({"image": picture.name, "psnr_db": quality})
            logger.info("%s: %.2f dB", picture, quality)
    if rows:
        write_rows(output / "psnr.csv", rows)
        mean = np.mean([row["psnr_db"] for row in rows])
        logger.info("Mean of %d: %.2f dB, by '%s'", len(rows), mean, convention or known[0])
    logger.info("Wrote %d pictures to %s", len(restored), output)


def _shown_on(bar: Any) -> Callable[[int, int], None]:
    """Show on a bar which tile is done, as often as it is drawn anew."""
    last = 0.0

    def after_tile(tile: int, tiles: int) -> None:
        nonlocal last
        if time.monotonic() - last >= bar.mininterval:
            last = time.monotonic()
            bar.set_postfix(tile=f"{tile}/{tiles}")

    return after_tile


def _check_size(predictor: Predictor, picture: Path, reference: Path) -> None:
    """A picture made small may have lost less than a pixel at the right and bottom."""
    scale = predictor.task.section.get("scale", 1)
    (height, width), clean = (scale * np.array(image_size(picture))), image_size(reference)
    if not (0 <= clean[0] - height < scale and 0 <= clean[1] - width < scale):
        raise ConfigError(
            f"The reference '{reference}' has {clean[0]} x {clean[1]} pixels, but what is restored "
            f"of '{picture}' has {height} x {width}; give the clean picture that belongs to it."
        )


def _target(made: NDArray[np.uint8], reference: Path) -> Tensor:
    """The clean picture (C, H, W), cut at the right and bottom to what is restored of it."""
    clean = read_image(reference)
    clean = to_gray(clean)[:, :, None] if made.ndim == 2 else to_rgb(clean)
    return to_tensor(clean[: made.shape[0], : made.shape[1]])


def _classify(predictor: Predictor, pictures: list[Path], output: Path, top: int) -> None:
    """Write the likeliest classes of every picture."""
    if predictor.classes is None:
        logger.warning("The weights do not name the classes, which are numbered from 0: --classes.")
    rows: list[dict[str, object]] = []
    for picture in progress(pictures, description="apply", unit="picture"):
        guesses = predictor(picture)[:top]
        rows += [
            {"image": picture.name, "rank": rank, "class": g.name, "probability": g.probability}
            for rank, g in enumerate(guesses, 1)
        ]
        logger.info("%s: %s", picture, ", ".join(f"{g.name} {g.probability:.1%}" for g in guesses))
    write_rows(output / "classes.csv", rows)
    logger.info("Wrote %s", output / "classes.csv")
