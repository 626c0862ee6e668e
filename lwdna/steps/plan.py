"""Say what a run will take."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from lwdna.config import check, with_filters
from lwdna.errors import ConfigError
from lwdna.files import write_text
from lwdna.plan import THROUGHPUT, DryRun, Plan, label, networks_of, read_dry_run
from lwdna.steps._options import FILE
from lwdna.throughput import Throughput, device_name, load_throughput, measure

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
"""Where the Snakefile lies, in a clone of the project."""

_HEADS = {
    "table": "Table",
    "dataset": "Dataset",
    "network": "Network",
    "jobs": "Jobs",
    "teachers_hours": "Teacher",
    "training_hours": "Training",
    "distillation_hours": "KD",
    "tests_hours": "Tests",
    "shrinkage_hours": "Shrink",
    "hours": "Hours",
    "disk_gb": "Disk, GB",
}


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--csv", type=FILE, help="Also write the table to this file.")
@click.option("--throughput", type=click.FloatRange(0, min_open=True), help="FLOPs a second.")
@click.option(
    "--calibrate",
    is_flag=True,
    help="Measure the throughput of this machine's device, and keep it.",
)
@click.option(
    "--throughput-file",
    type=FILE,
    help="Where a measured throughput is kept.  [default: results/throughput.json]",
)
@click.option("--accelerator", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(
    *,
    csv: Path | None,
    throughput: float | None,
    calibrate: bool,
    throughput_file: Path | None,
    accelerator: str,
    arguments: tuple[str, ...],
) -> None:
    """Print jobs, hours and disk of a run, by table and network, without running anything.

    ARGUMENTS are those of snakemake: targets, --configfile, --config, --directory. What is done
    already is not planned again.
    """
    if throughput is not None and (calibrate or throughput_file):
        raise click.UsageError("Give either --throughput, or --calibrate or --throughput-file.")
    config, folder = _configuration(arguments)
    kept = throughput_file or folder / "results/throughput.json"
    if throughput_file is not None and not calibrate and not kept.is_file():
        raise ConfigError(f"There is no file '{kept}'; make it with --calibrate.")
    measured = load_throughput(kept) if kept.is_file() and not calibrate else None
    dry_run = _dry_run(arguments)
    plan = Plan(config, dry_run)
    if calibrate:
        measured = _calibrate(config, dry_run, accelerator)
        measured.save(kept)
    if throughput is not None:
        said, rate = f"{throughput:.4g} FLOPs a second, as given", lambda _: throughput
    elif measured is not None:
        said, rate = _told(measured, kept), measured.of
    else:
        said = f"{THROUGHPUT:.4g} FLOPs a second, assumed; measure it with --calibrate"
        rate = lambda _: THROUGHPUT  # noqa: E731
    frame = plan.frame(rate)
    if csv is not None:
        write_text(csv, frame.to_csv(index=False, lineterminator="\n"))
    click.echo(_text(frame, dry_run))
    click.echo()
    for note in _notes(said, plan):
        click.echo(textwrap.fill(note, 100))


def _notes(throughput: str, plan: Plan) -> Iterator[str]:
    """What the numbers rest on."""
    yield (
        f"Hours are of one device, for {throughput}: FLOPs as the paper counts them x images x "
        "epochs, a backward pass as two forward passes. Waiting for data, the search of shrinkage, "
        "tables and figures are not in them. Disk is what stays: images, weights, last checkpoints."
    )
    if plan.unknown:
        yield (
            f"The number of images is not known of {', '.join(sorted(plan.unknown))}: training or "
            "tests on them are not in the hours."
        )


def _text(frame: pd.DataFrame, dry_run: DryRun) -> str:
    shown = frame[list(_HEADS)].rename(columns=_HEADS)
    hours = [_HEADS[name] for name in _HEADS if name.endswith("hours")]
    text: str = shown.to_string(
        index=False, formatters=dict.fromkeys([*hours, _HEADS["disk_gb"]], _number)
    )
    counts = ", ".join(f"{name} {number}" for name, number in sorted(dry_run.counts.items()))
    return f"{text}\n\nJobs by rule: {counts or 'none, everything is done'}."


def _number(value: float) -> str:
    return "-" if value == 0 else f"{value:,.1f}" if value >= 0.05 else "< 0.1"


def _told(measured: Throughput, path: Path) -> str:
    networks = ", ".join(
        f"{name} {rate:.4g}" for name, rate in sorted(measured.networks.items(), key=lambda x: x[1])
    )
    return (
        f"{measured.flops_per_second:.4g} FLOPs a second of {measured.device}, measured "
        f"({networks}; '{path}')"
    )


def _calibrate(config: dict[str, Any], dry_run: DryRun, accelerator: str) -> Throughput:
    """Measure the smallest, the middle and the largest of the networks to be trained."""
    names = networks_of(config, dry_run)
    if not names:
        raise ConfigError("No network is to be trained, so there is none to measure.")
    chosen = sorted({0, len(names) // 2, len(names) - 1})
    found = Throughput(device_name(accelerator))
    for index in chosen:
        section = config["experiments"][names[index]]
        protocol = config["protocols"][section["protocol"]]
        found.networks[label(section)] = measure(section, protocol, accelerator)
    return found


def _configuration(arguments: Sequence[str]) -> tuple[dict[str, Any], Path]:
    """The configuration that Snakemake makes of its arguments, and the folder it works in."""
    try:
        from snakemake.cli import parse_args, parse_config  # noqa: PLC0415
        from snakemake.common.configfile import load_configfile  # noqa: PLC0415
        from snakemake.exceptions import WorkflowError  # noqa: PLC0415
        from snakemake.utils import update_config  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "A plan needs Snakemake, which is not installed; run `pip install lwdna[pipeline]`."
        ) from error
    _, settings = parse_args([*arguments, "--dry-run"])
    sections: dict[str, Any] = {}
    try:
        for path in settings.configfile or ():
            update_config(sections, load_configfile(path))
        given = parse_config(settings.config)
    except (WorkflowError, ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    # As in the Snakefile: a configuration that is complete stands alone.
    if not {"datasets", "protocols", "experiments"} <= set(sections) | set(given):
        default = load_configfile(ROOT / "config.yaml")
        update_config(default, sections)
        sections = default
    config = with_filters(_merged(sections, given, update_config), sections)
    return check(config, ROOT / "config/schema.yaml"), Path(settings.directory or ".")


def _merged(sections: dict[str, Any], given: dict[str, Any], update: Any) -> dict[str, Any]:
    config = copy.deepcopy(sections)
    update(config, given)
    return config


def _dry_run(arguments: Sequence[str]) -> DryRun:
    """Ask Snakemake what it would run.

    Raises:
        ConfigError: with what Snakemake says, if it cannot.
    """
    command = [sys.executable, "-m", "snakemake", *arguments]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--dry-run", "--printshellcmds"]
    command += ["--cores", "1", "--nocolor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        lines = [line for line in said.strip().splitlines() if line.strip()]
        start = next((i for i, line in enumerate(lines) if "rror" in line), len(lines) - 2)
        raise ConfigError("Snakemake cannot plan this: " + " ".join(lines[start : start + 3]))
    return read_dry_run(said)
