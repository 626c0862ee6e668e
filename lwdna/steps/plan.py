"""Say what a run will take."""

from __future__ import annotations

import contextlib
import textwrap
from pathlib import Path
from typing import Any

import click

from lwdna.errors import ConfigError
from lwdna.io.atomic import write_text
from lwdna.steps._options import FILE, WRITTEN, accelerator, bundle

try:
    from lwdna.workflow import snakemake
    from lwdna.workflow.cost import Plan, as_text, notes
    from lwdna.workflow.throughput import load_throughput, measure_networks, rate_of
except ModuleNotFoundError as error:
    if error.name != "snakemake":
        raise
    raise ConfigError(
        "A plan needs Snakemake, which is not installed; run `make` in a clone of the project, "
        "or `pip install -e .[pipeline]` there."
    ) from error


_speed = bundle(
    "speed",
    click.option("--throughput", type=click.FloatRange(0, min_open=True), help="FLOPs a second."),
    click.option(
        "--calibrate",
        is_flag=True,
        help="Measure the throughput of this machine's device, and keep it.",
    ),
    click.option(
        "--throughput-file",
        "file",
        type=FILE,
        help="Where a measured throughput is kept.  [default: results/throughput.json]",
    ),
    accelerator,
)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--csv", type=WRITTEN, help="Also write the table to this file.")
@_speed
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(*, csv: Path | None, speed: dict[str, Any], arguments: tuple[str, ...]) -> None:
    """Print jobs, hours and disk of a run, by table and network, without running anything.

    ARGUMENTS are those of snakemake: targets, --configfile, --config, --directory. What is done
    already is not planned again.
    """
    calibrate, file = speed["calibrate"], speed["file"]
    if speed["throughput"] is not None and (calibrate or file):
        raise click.UsageError("Give either --throughput, or --calibrate or --throughput-file.")
    config, folder = snakemake.configuration(arguments)
    kept = file or folder / "results/throughput.json"
    if file is not None and not calibrate and not kept.is_file():
        raise ConfigError(f"There is no file '{kept}'; make it with --calibrate.")
    measured = load_throughput(kept) if kept.is_file() and not calibrate else None
    dry_run = snakemake.dry_run(arguments)
    with contextlib.chdir(folder):  # where networks of the user's own are
        plan = Plan(config, dry_run)
        found = measure_networks(config, dry_run, speed["accelerator"]) if calibrate else None
    if found is not None:
        measured = found
        measured.save(kept)
    said, rate = rate_of(speed["throughput"], measured, kept)
    frame = plan.frame(rate)
    if csv is not None:
        write_text(csv, frame.to_csv(index=False, lineterminator="\n"))
    click.echo(as_text(frame, dry_run))
    click.echo()
    for note in notes(said, plan):
        click.echo(textwrap.fill(note, 100))
