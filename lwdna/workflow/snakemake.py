"""What Snakemake makes of its arguments: the configuration, and what it would run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakemake import cli
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config
from snakemake_interface_logger_plugins.common import LogEvent

from lwdna.config.check import check
from lwdna.config.files import read_file
from lwdna.config.read import with_filters
from lwdna.config.sections import Config
from lwdna.config.sentences import BASES
from lwdna.errors import ConfigError, LwdnaError, first_line, require_known, shown
from lwdna.io.project import ROOT


@dataclass(frozen=True)
class Job:
    """A job that Snakemake would run."""

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DryRun:
    """What Snakemake would run."""

    jobs: Sequence[Job]

    @property
    def counts(self) -> Counter[str]:
        """Jobs by rule."""
        return Counter(job.rule for job in self.jobs)


def read_files(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
    """The sections of some configuration files, what a later one says before an earlier one's.

    Raises:
        ConfigError: if a file cannot be read.
    """
    sections: dict[str, Any] = {}
    for path in paths:
        content = read_file(path)
        if "__use_yte__" in content:  # which Snakemake evaluates
            try:
                content = load_configfile(path)
            except Exception as error:
                raise ConfigError(
                    f"The configuration file '{path}' cannot be evaluated ({first_line(error)}); "
                    "correct it, or leave out '__use_yte__'."
                ) from error
        update_config(sections, content)
    return sections


def base_of(config: Mapping[str, Any], default: str | os.PathLike[str]) -> str:
    """What the configuration files given are based on: "default", which is looked at, or "none".

    Args:
        config: of the files that are given, and of ``--config``.
        default: the path of the default.

    Raises:
        ConfigError: if the key ``base`` says neither, or the default cannot be read.
    """
    base = config.get("base", "default")
    require_known(base, BASES, f"The configuration has {shown(base)} at base:")
    if base == "default":
        read_file(default)
    return str(base)


class RefusedError(WorkflowError):  # type: ignore[misc]
    """What a user can act on, which Snakemake prints without the lines of the Snakefile."""

    __traceback__ = property(lambda _: None, lambda *_: None)  # type: ignore[assignment]


@contextmanager
def refusing() -> Iterator[None]:
    """Have Snakemake print an error that a user can act on as the sentence that it is."""
    try:
        yield
    except LwdnaError as error:
        raise RefusedError(str(error)) from None


def checked(
    config: Mapping[str, Any],
    files: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str] = ".",
) -> Config:
    """The configuration of a run, complete.

    Args:
        config: of files and ``--config`` together, as Snakemake merges them.
        files: the files alone, the default first.
        folder: where the run works.

    Raises:
        ConfigError: if something is wrong.
    """
    return check(with_filters(config, read_files(files)), folder=folder)


def configuration(arguments: Sequence[str]) -> tuple[Config, Path]:
    """The configuration that Snakemake makes of its arguments, and the folder it works in.

    Raises:
        ConfigError: if the configuration is missing or wrong.
    """
    if not (ROOT / "Snakefile").is_file():
        raise ConfigError(
            f"There is no Snakefile in '{ROOT}'; run from a clone of the project, installed with "
            "`pip install -e .`."
        )
    _, settings = cli.parse_args([*arguments, "--dry-run"])
    try:
        given = cli.parse_config(settings.config)
    except (WorkflowError, ValueError) as error:
        raise ConfigError(str(error)) from error
    files = list(settings.configfile or ())
    config = read_files(files)
    update_config(config, given)
    base = base_of(config, ROOT / "config.yaml")
    if base == "default":  # as in the Snakefile
        files.insert(0, ROOT / "config.yaml")
        config = read_files(files)
        update_config(config, given)
    config["base"] = base
    folder = Path(settings.directory or ".")
    return checked(config, files, folder), folder


def dry_run(arguments: Sequence[str]) -> DryRun:
    """Ask Snakemake what it would run.

    Raises:
        ConfigError: with what Snakemake says, if it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "jobs"
        command = [sys.executable, "-m", __name__, str(notes), *arguments]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--dry-run", "--cores", "1"]
        command += ["--nocolor", "--quiet", "host"]
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": _python_path()},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = [x for x in (done.stdout + done.stderr).strip().splitlines() if x.strip()]
            start = next((i for i, line in enumerate(lines) if "rror" in line), len(lines) - 2)
            raise ConfigError("Snakemake cannot plan this: " + " ".join(lines[start : start + 3]))
        return read_dry_run(notes)


def read_dry_run(path: str | os.PathLike[str]) -> DryRun:
    """Read the jobs that a process of :func:`dry_run` has noted, a line each."""
    # Snakemake's order differs from time to time, and with it the last digits of sums.
    lines = sorted(Path(path).read_text(encoding="utf-8").splitlines())
    return DryRun([Job(**json.loads(line)) for line in lines])


def _python_path() -> str:
    """Where the other process finds this package, wherever it works."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


class _Notes(logging.Handler):
    """Notes the jobs that Snakemake tells of, as it tells its logger plugins."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)
        self._path.touch()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the job that a record is about, if it is about one."""
        facts = vars(record)
        if facts.get("event") == LogEvent.JOB_INFO:
            job = Job(facts["rule_name"], dict(facts["wildcards"]))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(job), sort_keys=True) + "\n")


def _main(notes: str, *arguments: str) -> None:
    logging.getLogger().addHandler(_Notes(notes))
    cli.main(list(arguments))


if __name__ == "__main__":
    _main(*sys.argv[1:])
