"""The command line: ``lwdna STEP ...``, one subcommand for each step of the pipeline."""

from __future__ import annotations

import logging
import sys
from importlib import import_module

import click

from lwdna import __version__
from lwdna.config.methods import SEARCHES
from lwdna.errors import LwdnaError, first_line, says_memory_is_full
from lwdna.io import logs

logger = logging.getLogger(__name__)

COMMANDS = {
    "download": "Download the file of a dataset, or go on with it.",
    "images": "Lay out the images of a dataset in a folder.",
    "crop": "Cut images into sub-images (Sec. 2.3).",
    "gray": "Convert a store of sub-images to gray.",
    "digits": "Write the handwritten digits of scikit-learn as two stores.",
    "pack": "Pack or list a dataset for classification.",
    "shrink": "Shrink a network to a FLOPs budget by its latent vectors (Sec. 1.2).",
    "prune": "Cut a trained network down to a FLOPs budget, as a rival does.",
    **{name: search.about for name, search in SEARCHES.items()},
    "train": "Train a network, with knowledge distillation if there is a teacher.",
    "evaluate": "Measure a trained network on test sets.",
    "reference": "Measure the noisy input, or bicubic interpolation, on a test set.",
    "table": "Make a table of results, ours beside the paper's.",
    "training-logs": "Draw the training and testing logs (Fig. 1).",
    "channels": "Draw the percentage of remaining channels (Fig. 2).",
    "latents": "Draw the distribution of latent vectors during the search by DHP (Fig. 3).",
    "searches": "Draw what searches by AutoSlim and MetaPruning noted, step by step.",
    "agreement": "Compare the channels that different criteria keep.",
    "strip": "Draw a restored image: whole, ground truth, input, restored by each network.",
    "replicate": "Shrink a network of the paper again, at its published FLOPs.",
    "replication-table": "Put the sizes of networks shrunk again beside the paper's.",
    "complexity": "Count FLOPs and parameters by the paper's convention.",
    "zoo": "List published numbers of channels, or print one list.",
    "explain": "Say which channels of a network are coupled, and why.",
    "info": "Say what is in a weights file: channels by layer, FLOPs, parameters.",
    "track": "Follow an object through a video or a folder of frames.",
    "plan": "Say what a run will take: jobs, hours and disk by table and network.",
    "export": "Write a network as an ONNX file or a torch.export program.",
}
"""Subcommands and what they do; each lives in ``lwdna/steps/``, the searches in
``search.py``, and is loaded when called."""


class Steps(click.Group):
    """A group that imports a subcommand when it is called: ``--help`` needs no PyTorch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        step = "search" if cmd_name in SEARCHES else cmd_name.replace("-", "_")
        module = import_module(f"lwdna.steps.{step}")
        command: click.Command = module.command(cmd_name) if step == "search" else module.main
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Steps)
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
