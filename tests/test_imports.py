"""What each step may import: a step waits for what it uses, and for nothing else."""

import json

import pytest
from click.testing import CliRunner
from running import run_python

from lwdna.__main__ import COMMANDS
from lwdna.config.methods import SEARCHES
from lwdna.steps.digits import main as digits_step

COMPILER = ("torch._dynamo", "torch._inductor", "sympy")
"""PyTorch's, with what it loads."""

HEAVY = (
    *("torch", *COMPILER, "lightning_fabric", "torchvision", "pandas", "scipy", "skimage"),
    *("sklearn", "matplotlib", "h5py", "onnx", "snakemake"),
)
"""What takes long to import, and so may only be imported where the tables say so."""

WHEN_CALLED = {
    ("download", "images"): (),
    ("crop", "gray", "digits", "pack"): ("h5py",),
    ("zoo",): (),
    ("shrink", "prune", "evaluate", "apply", "reference", "explain", "info", "export"): ("torch",),
    ("track", "import", "adaptive"): ("torch",),
    ("train", "supernet", *SEARCHES): ("torch", "h5py"),
    ("sequences", "submission"): (),
    ("follow",): ("torch", "h5py", "scipy"),
    ("evaluate-boxes",): ("torch", "scipy"),
    ("success", "boxes-strip"): ("torch", "matplotlib", "scipy"),
    ("table", "report"): ("pandas",),
    ("training-logs", "channels", "searches", "widths"): ("pandas", "matplotlib"),
    ("latents",): ("pandas", "matplotlib", "h5py"),
    ("strip",): ("torch", "matplotlib"),
    ("complexity", "replication-table"): ("torch", "pandas"),
    ("agreement",): ("torch", "pandas", "matplotlib", "scipy"),
    ("plan",): ("torch", "pandas", "snakemake"),
    # It crops photographs by torchvision, which loads the compiler.
    ("replicate",): ("torch", "pandas", "torchvision", *COMPILER),
}
"""Commands, and what they have imported before they run."""

WHEN_DONE = ("torch", "h5py", "lightning_fabric")
"""What networks are shrunk, trained and measured with, unless their blocks are torchvision's."""

TASK = {"kind": "classification", "mean": [0.3] * 3, "std": [0.3] * 3, "pad": 2, "flip": False}
PROTOCOL = {"epochs": 1, "batch_size": 64, "schedule": {"kind": "cosine"}}
DATA = ("--task", json.dumps(TASK), "--train", "train.h5")


def train(optimizer):
    """The arguments of a training of the shrunk network."""
    settings = json.dumps({**PROTOCOL, "optimizer": {"kind": optimizer, "lr": 0.01}})
    files = f"--test test.h5 --checkpoints {optimizer} --history {optimizer}.csv"
    start = f"train --weights small.safetensors --output {optimizer}.safetensors {files}"
    return [*start.split(), "--protocol", settings, *DATA]


SHRINK = (
    "shrink ResNet8 --dataset digits --width 0.25 --flops-ratio 0.9 --batch-size 16 "
    "--warmup-steps 1 --output small.safetensors --channels channels.csv"
)
EVALUATE = "evaluate sgd.safetensors adam.safetensors --test digits test.h5 --output metrics.csv"
RUNS = [
    [*SHRINK.split(), *DATA],
    train("sgd"),
    train("adam"),
    [*EVALUATE.split(), *DATA[:2]],
]

CALL = """
import json, sys
from lwdna.__main__ import Steps, lwdna
heavy, calls = json.loads(sys.argv[1])
for call in calls:
    if isinstance(call, str):
        Steps().get_command(None, call)
    else:
        lwdna(call, standalone_mode=False)
    print(json.dumps([name for name in heavy if name in sys.modules]))
"""
"""Loads steps of that name, or runs them with those arguments, and says what is imported then."""


def imported(calls, folder):
    """What is imported after each of some calls, one after the other in a process of their own."""
    said = run_python("-c", CALL, json.dumps([HEAVY, calls]), folder=folder)
    return [set(json.loads(line)) for line in said.splitlines()]


def test_every_command_says_what_it_may_import():
    listed = [command for commands in WHEN_CALLED for command in commands]
    assert sorted(listed) == sorted(COMMANDS), (
        "A command is new, gone or named twice: say in WHEN_CALLED what it may import."
    )


@pytest.mark.parametrize("commands", WHEN_CALLED, ids=lambda commands: commands[0])
def test_commands_import_what_they_may_and_no_more(commands, tmp_path):
    may = set(WHEN_CALLED[commands])
    found = imported(commands, tmp_path)
    for command, names in zip(commands, found, strict=True):
        assert names <= may, (
            f"lwdna {command} imports {', '.join(sorted(names - may))} before it runs; import it "
            "where it is used, or say in WHEN_CALLED why it may."
        )
    assert found[-1] == may, f"{commands} no longer import {may - found[-1]}: mend WHEN_CALLED."


def test_shrinking_training_and_measuring_need_no_compiler(tmp_path):
    arguments = ["--train", f"{tmp_path}/train.h5", "--test", f"{tmp_path}/test.h5"]
    made = CliRunner().invoke(digits_step, [*arguments, "--train-fraction", "0.1"])
    assert made.exit_code == 0, made.output
    found = imported(RUNS, tmp_path)
    for run, names in zip(RUNS, found, strict=True):
        more = names - set(WHEN_DONE)
        assert not more, f"lwdna {run[0]} imports {', '.join(sorted(more))} where it is not used."
    assert found[-1] == set(WHEN_DONE), "Less is imported than WHEN_DONE says: mend it."
