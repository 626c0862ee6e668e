"""Compare the channels that different criteria keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

import click

from lwdna.errors import CheckpointError, ConfigError
from lwdna.networks.weights import read_provenance
from lwdna.results.agreement import Kept, compare, plot_agreement, write_agreement
from lwdna.steps._options import FILE, Json


@click.command()
@click.argument("networks", type=FILE, nargs=-1)
@click.option("--labels", type=Json(), required=True, help="By file: experiment, method, seed.")
@click.option("--experiments", type=Json(), required=True, help="Experiments to show.")
@click.option("--scale", default="", help="Label of a run that is not at the paper's scale.")
@click.option("--csv", type=FILE, required=True, help="File to write, for programs.")
@click.option("--markdown", type=FILE, required=True, help="File to write, for people.")
@click.option("--html", type=FILE, required=True, help="File to write, for the report.")
@click.option("--output", type=FILE, multiple=True, required=True, help="PNG or SVG to write.")
def main(
    *,
    networks: tuple[Path, ...],
    labels: dict[str, Any],
    experiments: dict[str, Any],
    scale: str,
    csv: Path,
    markdown: Path,
    html: Path,
    output: tuple[Path, ...],
) -> None:
    """Compare the channels that are left of the NETWORKS."""
    for name, section in experiments.items():
        if not isinstance(section, dict):
            raise ConfigError(
                f"--experiments has {section!r} for '{name}'; give an object such as "
                '{"label": "ResNet56"}.'
            )
    kept = {}
    for path in networks:
        label = labels.get(str(path))
        if not _is_label(label):
            raise ConfigError(
                f"--labels has {label!r} for '{path}'; give an object such as "
                '{"experiment": "digits", "method": "dhp", "seed": 0}.'
            )
        provenance = read_provenance(path)
        if provenance.kept is None or provenance.shrinkage is None:
            raise CheckpointError(f"'{path}' holds a network that was not shrunk; give others.")
        kept[label["experiment"], label["method"], label["seed"]] = Kept.of(
            provenance.kept, provenance.shrinkage.channels_before
        )
    frame = compare(kept, experiments)
    write_agreement(frame, scale, csv=csv, markdown=markdown, html=html)
    plot_agreement(kept, output, experiments=experiments, scale=scale)


def _is_label(value: Any) -> TypeGuard[dict[str, Any]]:
    kinds = {"experiment": str, "method": str, "seed": int}
    return isinstance(value, dict) and all(
        isinstance(value.get(name), kind) for name, kind in kinds.items()
    )
