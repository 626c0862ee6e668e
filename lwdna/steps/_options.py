"""Parameter types and options that several steps share."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    TypeAlias,
    TypedDict,
)

import click

from lwdna.errors import ConfigError, require_file_name, shown
from lwdna.io.checksummed_csv import read_csv
from lwdna.steps._json import Json
from lwdna.steps._paths import ToRead, ToWrite

if TYPE_CHECKING:
    import pandas as pd

    from lwdna.tasks.sections import ProtocolSection, TaskSection

logger = logging.getLogger(__name__)

Command: TypeAlias = Callable[..., Any]
Option: TypeAlias = Callable[[Command], Command]
"""What ``click.option`` and ``click.argument`` return."""

_NAMES = dict.fromkeys(
    ("experiment", "method", "test_set", "layer", "dataset", "paper_flops_g", "paper_params_m"), str
)
"""Columns of text; numbers of the paper keep their printed digits."""


class Shape(click.ParamType):  # type: ignore[type-arg]
    """The shape of an input on the command line: 1x3x32x32."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse; what is no shape is a usage error."""
        if isinstance(value, tuple):
            return value
        sizes = str(value).split("x")
        if not all(size.isdecimal() and len(size) < 20 and int(size) for size in sizes):
            self.fail(
                f"{shown(value)} is not a shape; give sizes above 0 such as 1x3x32x32 (batch, "
                "channels, height, width)."
            )
        shape = tuple(map(int, sizes))
        if math.prod(shape) > _LARGEST_INPUT:
            self.fail(f"{value} has more numbers than any input; give one such as 1x3x224x224.")
        return shape


_LARGEST_INPUT = 2**32
"""Numbers of an input, which take 16 GiB."""


FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
ANY_PATH = click.Path(path_type=Path)
READ = ToRead(path_type=Path)
WRITTEN = ToWrite()
WRITTEN_FOLDER = ToWrite(folder=True)


def _set_threads(_ctx: click.Context, _param: click.Parameter, value: int) -> None:
    import torch  # noqa: PLC0415 - seconds that the steps without PyTorch need not wait

    torch.set_num_threads(value)


output = click.option("--output", type=WRITTEN, required=True, help="File to write.")
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**62),
    default=0,
    show_default=True,
    help="Of all that is random.",
)
accelerator = click.option(
    "--accelerator", default="auto", show_default=True, help="auto, gpu, cpu, cuda or mps."
)
devices = click.option(
    "--devices",
    type=click.IntRange(1, 4096),
    default=1,
    show_default=True,
    help="That share a batch.",
)
own_network = click.option(
    "--network", metavar="FILE:FUNCTION", help="What makes the network, where it is your own."
)
shapes = click.option(
    "--input",
    "shapes",
    type=Shape(),
    multiple=True,
    help="Shape of the input, such as 1x3x32x32; again for each further input.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(1, 4096),
    default=1,
    show_default=True,
    callback=_set_threads,
    expose_value=False,
    help="CPU threads of PyTorch; results are equal bit for bit only for equal numbers.",
)
task = click.option(
    "--task", type=Json("task"), required=True, help="The experiment's task section."
)
batch_norm = click.option(
    "--count-batch-norm/--no-count-batch-norm",
    "batch_norm",
    default=True,
    help="Count batch norm in the FLOPs, as Table 1 does and Table 2 does not.",
)
runs_of_files = click.option(
    "--labels", "runs", type=Json("runs"), required=True, help="By file: experiment, method, seed."
)
experiments = click.option(
    "--experiments", type=Json("experiments"), required=True, help="Experiments to show."
)
scale = click.option(
    "--scale", default="", help="Banner of a run that is not at the paper's scale."
)
images = click.option(
    "--output",
    "outputs",
    type=WRITTEN,
    multiple=True,
    required=True,
    help="PNG, SVG or PDF to write.",
)


def bundle(into: str, *options: Option) -> Option:
    """These options, whose values a command is given as one mapping, its argument ``into``."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def bundled(**given: Any) -> Any:
            return command(**{into: {name: given.pop(name) for name in names}}, **given)

        decorated: Any = bundled
        others = len(getattr(bundled, "__click_params__", ()))
        for option in reversed(options):
            decorated = option(decorated)
        names = [parameter.name for parameter in decorated.__click_params__[others:]]
        return bundled

    return decorate


class Written(TypedDict):
    """What is written of a shrunk network."""

    output: Path
    channels: Path | None


class ToShrink(Written):
    """What :data:`network_to_shrink` gives a step."""

    network: str
    """Its name, or FILE:FUNCTION."""
    dataset: str | None
    width: float
    """Of the baseline."""
    widen: float | None
    """What the width is multiplied by."""
    options: dict[str, Any]
    """Of the network."""
    shapes: tuple[tuple[int, ...], ...]
    """Of its inputs; none for those of the paper."""
    target_flops: float | None
    flops_ratio: float | None
    batch_norm: bool
    seed: int


_target_flops = click.option(
    "--target-flops", type=click.FloatRange(0, min_open=True), help="Budget in FLOPs."
)
_channels = click.option("--channels", type=WRITTEN, help="CSV to write: channels by layer.")


network_to_shrink = bundle(
    "asked",
    click.argument("network"),
    click.option("--dataset", help="Dataset the network is built for."),
    click.option(
        "--width",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        help="Width multiplier of the baseline.",
    ),
    click.option(
        "--widen",
        type=click.FloatRange(1),
        help="What the width is multiplied by before channels are dropped.  [default: 2]",
    ),
    click.option(
        "--options", type=Json(), default="{}", help="Other arguments of the network, as JSON."
    ),
    shapes,
    _target_flops,
    click.option(
        "--flops-ratio",
        type=click.FloatRange(0, min_open=True),
        help="Budget as a share of the FLOPs before widening.",
    ),
    batch_norm,
    _channels,
    output,
    seed,
)
"""NETWORK and the options of every step that widens a network and shrinks it to a budget."""


class ToPrune(Written):
    """What :data:`network_to_prune` gives a step."""

    weights: Path
    network: str | None
    """FILE:FUNCTION, where it is the user's own."""
    shapes: tuple[tuple[int, ...], ...]
    """Of its inputs; none for those that the file tells of."""
    target_flops: float | None
    flops_ratio: float | None
    batch_norm: bool


network_to_prune = bundle(
    "asked",
    click.argument("weights", type=FILE),
    own_network,
    shapes,
    _target_flops,
    click.option(
        "--flops-ratio",
        type=click.FloatRange(0, min_open=True),
        help="Budget as a share of the network's FLOPs.",
    ),
    batch_norm,
    _channels,
    output,
)
"""WEIGHTS and the options of every step that cuts a trained network down to a budget."""

figure = bundle("figure", experiments, scale, images)
"""What every figure that compares experiments is made of: these, its banner, its files."""


def figure_of(argument: str) -> Option:
    """What every figure of tables of runs is made of: :data:`figure`, and files as ``tables``.

    Args:
        argument: name of the files, CSV of other steps, which are read one below the other.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def drawn(*, runs: Runs, **given: Any) -> Any:
            paths = given.pop(argument)
            if not paths:
                logger.warning("No %s were given, so the figure shows none.", argument.upper())
            return command(tables=read_tables(paths, runs), **given)

        return click.argument(argument, type=FILE, nargs=-1)(runs_of_files(figure(drawn)))

    return decorate


table_files = bundle(
    "files",
    click.option("--csv", type=WRITTEN, required=True, help="File to write, for programs."),
    click.option("--markdown", type=WRITTEN, required=True, help="File to write, for people."),
    click.option("--html", type=WRITTEN, required=True, help="File to write, for the report."),
    click.option("--latex", type=WRITTEN, required=True, help="File to write, for a paper."),
)
"""What every step that makes a table writes."""


class TrainingRun(TypedDict):
    """What :func:`training_run` gives a step."""

    task: TaskSection
    protocol: ProtocolSection
    train_path: Path
    test_path: Path
    checkpoints: Path
    history: Path
    convention: str | None
    description: str
    tensorboard: bool
    accelerator: str
    devices: int


def training_run(description: str, *, history: bool = True) -> Option:
    """The options of every step that trains, as ``run``; ``history`` if it writes one."""
    written = click.option(
        "--history", type=WRITTEN, required=True, help="CSV to write: one row an epoch."
    )
    return bundle(
        "run",
        task,
        click.option("--protocol", type=Json("protocol"), required=True, help="How to train."),
        click.option("--train", "train_path", type=READ, required=True, help="Training images."),
        click.option("--test", "test_path", type=READ, required=True, help="Test images."),
        click.option(
            "--checkpoints",
            type=WRITTEN_FOLDER,
            required=True,
            help="Where an interrupted run goes on.",
        ),
        *([written] if history else []),
        click.option("--convention", help="How PSNR is taken after each epoch."),
        click.option("--description", default=description, help="Name on the progress bar."),
        click.option(
            "--tensorboard/--no-tensorboard",
            envvar="LWDNA_TENSORBOARD",
            help="Write events for TensorBoard, which must be installed, into --checkpoints.",
        ),
        accelerator,
        devices,
    )


Runs: TypeAlias = Mapping[str, Mapping[str, str | int]]
"""By file, the run whose it is: columns such as experiment, method and seed."""


def check_suffix(path: Path, suffix: str) -> None:
    """Refuse to write over a file of another kind.

    Raises:
        ConfigError: if the name does not end in ``suffix``.
    """
    if require_file_name(path, f"small{suffix}").suffix != suffix:
        raise ConfigError(
            f"'{path}' does not end in {suffix}; call it '{path.with_suffix(suffix).name}', say."
        )


def read_tables(paths: Iterable[Path], runs: Runs | None = None) -> pd.DataFrame:
    """CSV files of other steps one below the other; ``runs`` gives columns to add by file.

    Raises:
        DataError: if a file is missing or damaged.
    """
    import pandas as pd  # noqa: PLC0415 - half of what a step that makes images would wait for

    frames = []
    for path in paths:
        # Names such as "56" or "NA" are names, not numbers.
        frame = pd.read_csv(
            io.StringIO(read_csv(path)), dtype=_NAMES, keep_default_na=False, na_values=[""]
        )
        frames.append(frame.assign(**(runs or {}).get(str(path), {})))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
