"""Write the handwritten digits of scikit-learn as two stores."""

from __future__ import annotations

from pathlib import Path

import click

from lwdna.data.digits import digits_store
from lwdna.data.normalisation import log_normalisation
from lwdna.steps._options import WRITTEN, seed


@click.command()
@click.option("--train", type=WRITTEN, required=True, help="Store of the training digits.")
@click.option("--test", type=WRITTEN, required=True, help="Store of the test digits.")
@click.option(
    "--train-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    required=True,
    help="Share of the training digits.",
)
@seed
def main(train: Path, test: Path, train_fraction: float, seed: int) -> None:
    """Split the 1797 handwritten digits, enlarged to 32 x 32, into training and test."""
    digits_store(train, test, train_fraction=train_fraction, seed=seed)
    log_normalisation(train)
