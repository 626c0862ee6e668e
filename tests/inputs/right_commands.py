"""A right command line for every command, each made of files that those before it have written."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

TASK = {"kind": "classification", "mean": [0.3] * 3, "std": [0.3] * 3, "pad": 2, "flip": False}
DENOISING = {"kind": "denoising", "sigma": 50, "patch_size": 16}
LARGER = {"kind": "super-resolution", "scale": 2, "patch_size": 8}
PROTOCOL = {
    "epochs": 1,
    "batch_size": 4,
    "optimizer": {"kind": "sgd", "lr": 0.01},
    "schedule": {"kind": "cosine"},
}
RUN = {"experiment": "e", "method": "lw-dna", "seed": 0}
EXPERIMENT = {
    "label": "ResNet8",
    "methods": ["baseline", "lw-dna"],
    "network": {"name": "ResNet8", "dataset": "digits", "width": 0.25, "options": {}},
    "tables": [1],
    "task": TASK,
    "test": ["digits"],
    "train": "digits",
}
PAPER = Path(__file__).parents[2] / "paper"


def labels(*files):
    return "--labels", json.dumps(dict.fromkeys(files, RUN))


SHRINK = "ResNet8 --dataset digits --width 0.25 --options {options} --output {name}.safetensors"
EXPERIMENTS = ("--experiments", json.dumps({"e": EXPERIMENT}))
TRAINING = (
    *("--task", json.dumps(TASK), "--protocol", json.dumps(PROTOCOL)),
    *("--train", "train.h5", "--test", "test.h5"),
)
OPTIONS = '{"num_classes":2}'


def shrink(name):
    return SHRINK.format(name=name, options=OPTIONS).split()


def search(name, record):
    checkpoints = ("--checkpoints", f"{name}-state", "--history", f"{name}.csv")
    return (*shrink(name), *TRAINING, *checkpoints, f"--{record}", f"{name}-record")


RIGHT = {
    "pack": [
        ("classes", "--output", "train.h5"),
        ("classes", "--split", "test", "--output", "test.h5"),
    ],
    "images": [("astronaut", "camera", "--output", "photographs")],
    "crop": [
        (*"images --size 32 --step 32 --threshold 0 --scale 2 --output colour.h5".split(),),
    ],
    "gray": [("colour.h5", "--output", "gray.h5")],
    "digits": [
        (*"--train digits.h5 --test digits-test.h5 --train-fraction 0.5".split(),),
    ],
    "shrink": [
        (
            *(*shrink("small"), "--flops-ratio", "0.9", "--criterion", "magnitude"),
            *("--batch-size", "4", "--channels", "channels.csv"),
        ),
    ],
    "train": [
        (
            *("--weights", "small.safetensors", *TRAINING, "--checkpoints", "state"),
            *("--history", "history.csv", "--output", "trained.safetensors"),
        ),
        (
            *("--network", '{"name": "DnCNN", "options": {"channels": 4, "blocks": 1}}'),
            *("--task", json.dumps(DENOISING), "--protocol", json.dumps(PROTOCOL)),
            *("--train", "gray.h5", "--test", "images", "--checkpoints", "noise"),
            *("--history", "noise.csv", "--output", "denoiser.safetensors"),
        ),
    ],
    "prune": [
        (
            "trained.safetensors",
            *"--criterion l1 --flops-ratio 0.9 --output l1.safetensors".split(),
        ),
    ],
    "evaluate": [
        (
            *("trained.safetensors", "--task", json.dumps(TASK), "--test", "digits", "test.h5"),
            *(*labels("trained.safetensors"), "--output", "metrics.csv"),
        ),
    ],
    "adaptive": [
        (
            *("trained.safetensors", "--task", json.dumps(TASK), "--train", "train.h5"),
            *("--test", "test.h5", "--widths", "1", "--widths", "0.5", "--sizes", "24"),
            *("--calibration", "1", "--output", "widths.csv"),
        ),
    ],
    "widths": [
        (
            *("widths.csv", *labels("widths.csv"), *EXPERIMENTS, "--output", "widths.png"),
            *("--csv", "grid.csv", "--markdown", "grid.md", "--html", "grid.html"),
            *("--latex", "grid.tex"),
        ),
    ],
    "reference": [
        (
            *("--task", json.dumps(DENOISING), "--test", "set", "images"),
            *("--output", "reference.csv"),
        ),
    ],
    "complexity": [("--table", "1", "paper.csv", "--output", "complexity.csv")],
    "table": [
        (
            *("1", "metrics.csv", *EXPERIMENTS, "--paper", "paper.csv"),
            *("--complexity", "complexity.csv"),
            *("--csv", "table.csv", "--markdown", "table.md", "--html", "table.html"),
            *("--latex", "table.tex"),
        ),
    ],
    "training-logs": [
        ("history.csv", *labels("history.csv"), *EXPERIMENTS, "--output", "logs.png"),
    ],
    "channels": [
        ("channels.csv", *labels("channels.csv"), *EXPERIMENTS, "--output", "left.png"),
    ],
    "strip": [
        (
            *("--weights", "DnCNN", "denoiser.safetensors", "--task", json.dumps(DENOISING)),
            *("--test", "images", "--size", "16", "--output", "strip.png"),
        ),
    ],
    "explain": [("ResNet8", "--dataset", "digits", "--width", "0.25")],
    "info": [("small.safetensors",)],
    "apply": [("denoiser.safetensors", "images/0.png", "--gray", "--output", "applied")],
    "dhp": [
        (*search("found", "latents"), *"--flops-ratio 3.6 --lambda 0.1 --stop-limit 1".split()),
    ],
    "autoslim": [
        (*search("slim", "trajectory"), *"--flops-ratio 0.9 --images 2 --held-out 0.4".split()),
    ],
    "latents": [("found-record", *"--layers 1 --epochs 0 --output latents.png".split())],
    "zoo": [("--dataset", "cifar10")],
}
"""By command. Not here is what asks a server, another program, or minutes."""

LEFT_OUT = {
    "download": "asks a server",
    "plan": "asks Snakemake",
    "replicate": "takes minutes, for a network of the paper",
    "replication-table": "is made of what that gives",
    "agreement": "takes many networks",
    "export": "asks ONNX",
    "report": "is made of what a run gives",
    "metapruning": "takes longer",
    "supernet": "takes as long",
    "searches": "is made of what a search gives",
    "import": "asks for weights of PyTorch",
    "track": "asks for a tracker",
    "sequences": "takes videos",
    "follow": "asks for a tracker",
    "evaluate-boxes": "is made of what that gives",
    "submission": "is made of what that gives",
    "success": "is made of what that gives",
    "boxes-strip": "is made of what that gives",
}


def lay_out(folder):
    """The images that the first commands read, and a few rows of the paper."""
    lines = (PAPER / "table1.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    few = [lines[0], *(line for line in lines if "ResNet56" in line)]
    (folder / "paper.csv").write_text("".join(few), encoding="utf-8")
    draws = np.random.default_rng(20210620)
    for name in ("classes/a", "classes/b", "images"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            side = 32 if name != "images" else 48
            pixels = draws.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
