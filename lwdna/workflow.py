"""What Snakemake makes of its arguments: the configuration, and what it would run."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwdna.config import SECTIONS, check, with_filters
from lwdna.errors import ConfigError
from lwdna.plan import DryRun, read_dry_run

ROOT = Path(__file__).parents[1]
"""Where the Snakefile lies, in a clone of the project."""


def configuration(arguments: Sequence[str]) -> tuple[dict[str, Any], Path]:
    """The configuration that Snakemake makes of its arguments, and the folder it works in.

    Raises:
        ConfigError: if there is no Snakemake, or if the configuration is missing or wrong.
    """
    try:
        from snakemake.cli import parse_args, parse_config  # noqa: PLC0415
        from snakemake.common.configfile import load_configfile  # noqa: PLC0415
        from snakemake.exceptions import WorkflowError  # noqa: PLC0415
        from snakemake.utils import update_config  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "A plan needs Snakemake, which is not installed; run `make` in a clone of the project, "
            "or `pip install -e .[pipeline]` there."
        ) from error
    if not (ROOT / "Snakefile").is_file():
        raise ConfigError(
            f"There is no Snakefile in '{ROOT}'; run from a clone of the project, installed with "
            "`pip install -e .`."
        )
    _, settings = parse_args([*arguments, "--dry-run"])
    sections: dict[str, Any] = {}
    try:
        for path in settings.configfile or ():
            update_config(sections, load_configfile(path))
        given = parse_config(settings.config)
    except (WorkflowError, ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    if not set(sections) | set(given) >= SECTIONS:  # as in the Snakefile
        default = load_configfile(ROOT / "config.yaml")
        update_config(default, sections)
        sections = default
    config = with_filters(_merged(sections, given, update_config), sections)
    return check(config, ROOT / "config/schema.yaml"), Path(settings.directory or ".")


def _merged(sections: dict[str, Any], given: dict[str, Any], update: Any) -> dict[str, Any]:
    config = copy.deepcopy(sections)
    update(config, given)
    return config


def dry_run(arguments: Sequence[str]) -> DryRun:
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
