"""The command line: ``lwdna STEP ...``, one subcommand for each step of the pipeline."""

from __future__ import annotations

import copy
import logging
import signal
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from lwdna import __version__
from lwdna.config.methods import SEARCHES
from lwdna.errors import LwdnaError, first_line, says_memory_is_full
from lwdna.io import logs
from lwdna.io.atomic import written
from lwdna.steps._door import check_words

logger = logging.getLogger(__name__)

COMMANDS = {
    "download": "Download the file of a dataset, or go on with it.",
    "images": "Lay out the images of a dataset in a folder.",
    "crop": "Cut images into sub-images (Sec. 2.3).",
    "gray": "Convert a store of sub-images to gray.",
    "digits": "Write the handwritten digits of scikit-learn as two stores.",
    "pack": "Pack or list a dataset for classification.",
    "sequences": "Check sets of videos of objects, and list them.",
    "shrink": "Shrink a network to a FLOPs budget by its latent vectors (Sec. 1.2).",
    "prune": "Cut a trained network down to a FLOPs budget, as a rival does.",
    **{name: search.about for name, search in SEARCHES.items()},
    "train": "Train a network, with knowledge distillation if there is a teacher.",
    "evaluate": "Measure a trained network on test sets.",
    "apply": "Restore or classify pictures by a trained network.",
    "reference": "Measure the noisy input, or bicubic interpolation, on a test set.",
    "follow": "Follow the objects of a test set by a tracker.",
    "evaluate-boxes": "Measure the boxes of trackers on test sets.",
    "submission": "Pack boxes of trackers as the server of a data set takes them.",
    "table": "Make a table of results, ours beside the paper's.",
    "training-logs": "Draw the training and testing logs (Fig. 1).",
    "channels": "Draw the percentage of remaining channels (Fig. 2).",
    "latents": "Draw the distribution of latent vectors during the search by DHP (Fig. 3).",
    "supernet": "Train a network at all widths, as AutoSlim does, or write that of a search.",
    "adaptive": "Measure a trained network at several widths and sizes of its images.",
    "widths": "Make a table and a figure of networks measured at several widths.",
    "searches": "Draw what searches by AutoSlim and MetaPruning noted, step by step.",
    "agreement": "Compare the channels that different criteria keep.",
    "success": "Draw success and precision of trackers.",
    "boxes-strip": "Draw and animate frames with the boxes of trackers.",
    "strip": "Draw a restored image: whole, ground truth, input, restored by each network.",
    "report": "Write one page with the tables and figures of a run.",
    "replicate": "Shrink a network of the paper again, at its published FLOPs.",
    "replication-table": "Put the sizes of networks shrunk again beside the paper's.",
    "complexity": "Count FLOPs and parameters by the paper's convention.",
    "zoo": "List published numbers of channels, or print one list.",
    "explain": "Say which channels of a network are coupled, and why.",
    "info": "Say what is in a weights file: channels by layer, FLOPs, parameters.",
    "track": "Follow an object through a video or a folder of frames.",
    "plan": "Say what a run will take: jobs, hours and disk by table and network.",
    "import": "Convert weights of PyTorch or safetensors to a file of lwdna.",
    "export": "Write a network as an ONNX file or a torch.export program.",
}
"""Subcommands and what they do; each lives in ``lwdna/steps/``, the searches in
``search.py``, and is loaded when called."""

PIPELINE = (
    *("download", "images", "crop", "gray", "digits", "pack", *SEARCHES),
    *("sequences", "follow", "evaluate-boxes", "submission", "success", "boxes-strip"),
    *("reference", "table", "channels", "latents", "searches", "agreement", "strip"),
    *("supernet", "widths"),
    *("replicate", "replication-table"),
)
"""Those that are called by the pipeline, and seldom by people."""


class Steps(click.Group):
    """A group that imports a subcommand when it is called: ``--help`` needs no PyTorch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a subcommand, with an example in its help."""
        if cmd_name not in COMMANDS:
            return None
        from lwdna.steps._examples import EXAMPLES  # noqa: PLC0415 - only where there is a command

        step = "search" if cmd_name in SEARCHES else cmd_name.replace("-", "_")
        step += "_" * iskeyword(step)  # no module is called `import`
        module = import_module(f"lwdna.steps.{step}")
        made: click.Command = module.command(cmd_name) if step == "search" else module.main
        command = copy.copy(made)
        command.name = cmd_name
        command.callback = _saying_what_it_wrote(made)
        lines = EXAMPLES.get(cmd_name, "").splitlines()
        if lines:
            command.epilog = "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand; refuse words after it that no command can mean."""
        name, command, words = super().resolve_command(ctx, args)
        if command is not None:
            check_words(command, ctx, words)
        return name, command, words

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand, and say what it means if that is interrupted."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            logger.error(
                "Stopped by Ctrl-C. Nothing half-written has the name of a product; run the same "
                "command again."
            )
            ctx.exit(128 + signal.SIGINT)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without loading them, those that people use first."""
        for title, there in (("Commands", False), ("Steps of the pipeline", True)):
            with formatter.section(title):
                formatter.write_dl(
                    [row for row in COMMANDS.items() if (row[0] in PIPELINE) == there]
                )


def _saying_what_it_wrote(command: click.Command) -> Callable[..., None]:
    """What a command does; at the end it names its products.

    What is in the folder of its ``--output`` goes by the name of that, and what is in another, such
    as that of checkpoints, is no product.
    """
    callback = command.callback

    @wraps(callback)  # type: ignore[arg-type]
    def said(**given: object) -> None:
        written.clear()
        callback(**given)  # type: ignore[misc]
        values = click.get_current_context().params
        folders = {
            values[parameter.name]: parameter.name == "output"
            for parameter in command.params
            if isinstance(parameter.type, click.Path) and not parameter.type.file_okay
        }
        products = []
        for path in written:
            around = next((folder for folder in folders if folder in path.parents), path)
            if folders.get(around, True) and around not in products:
                products.append(around)
        if products:
            logger.info("Wrote %s.", ", ".join(f"'{path}'" for path in products))

    return said


@click.group(cls=Steps, context_settings={"max_content_width": 100})
@click.version_option(__version__)
@click.option("--log", type=click.Path(dir_okay=False), help="Also write messages to this file.")
def lwdna(log: str | None) -> None:
    """Find layer-wise differentiated network architectures (LW-DNA, CVPR 2021)."""
    logs.setup(log)


def main() -> None:
    """Run the command line; a user's error becomes one sentence and exit status 1."""
    try:
        lwdna()
    except LwdnaError as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception as error:
        if says_memory_is_full(error):
            logger.error(
                "The memory is full: %s. Let fewer jobs share it and run the command again, or make"
                " batches smaller ('batch_size' or 'accumulate' of the protocol).",
                first_line(error).rstrip("."),
            )
            sys.exit(1)
        logger.exception("This should not happen; please report it with the lines below.")
        sys.exit(70)


if __name__ == "__main__":
    main()
