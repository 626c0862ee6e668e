"""What can be struck: the stages of the pipeline, and the files that each of them reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

from pipeline import ARCHIVE, FIGURES, SEARCHED, TRAINED

SHRUNK = "results/shrink/{}/seed0"
HISTORY = "history.csv"
NETWORK = ("network.safetensors", "network.json", "channels.csv")
TEACHER = "results/runs/digits/teacher/seed0"
TRAIN = {f"train {run}": f"results/runs/{run}/seed0" for run in TRAINED}

STAGES = {
    "download": (ARCHIVE, "results/data/objects/test.h5"),
    **{f"pack {name}": (f"results/data/objects/{name}.h5",) for name in ("train", "test")},
    "digits": ("results/data/digits/train.h5", "results/data/digits/test.h5"),
    **{f"images {name}": (f"results/images/photographs/{name}",) for name in ("train", "test")},
    "crop": ("results/data/photographs/colour.h5",),
    "gray": ("results/data/photographs/gray.h5",),
    **{
        f"shrink {name}": tuple(f"{SHRUNK.format(name)}/{n}" for n in NETWORK)
        for name in ("digits/lw-dna", "digits/uniform", "denoising/lw-dna")
    },
    **{
        f"search {name}": tuple(
            f"{SHRUNK.format(f'digits/{name}')}/{n}" for n in (*NETWORK, HISTORY, noted)
        )
        for name, noted in SEARCHED.items()
    },
    "prune": tuple(f"{SHRUNK.format('digits/l1')}/{n}" for n in NETWORK),
    **{
        stage: (f"{folder}/weights.safetensors", f"{folder}/{HISTORY}")
        for stage, folder in TRAIN.items()
    },
    "train teacher": (f"{TEACHER}/weights.safetensors", f"{TEACHER}/{HISTORY}"),
    **{f"evaluate {run}": (f"results/runs/{run}/metrics.csv",) for run in TRAINED},
    "reference": ("results/references/noisy-input-sigma70-denoising/photographs.csv",),
    "complexity": ("results/complexity.csv",),
    "tables": ("results/tables/table1.md", "results/tables/table2.md"),
    "agreement": ("results/tables/agreement.md",),
    "figures": tuple(f"results/figures/{n}.png" for n in FIGURES[:2]),
    "strip": ("results/figures/strip-denoising.png",),
    "latents": ("results/figures/latents-digits.png",),
    "replicate": ("results/complexity/networks/dncnn.csv",),
    "complexity table": ("results/complexity/table2.md",),
}
"""What is taken away from a finished run, and asked for again."""

LIGHT = (
    *("download", "pack train", "pack test", "digits", "images train", "images test"),
    *("crop", "gray", "tables", "agreement", "figures", "latents", "complexity table"),
)
"""The stages that need no PyTorch, which are struck as often as all others together."""

CHECKPOINTS = {
    **{f"search {name}": f"digits/{name}-search" for name in SEARCHED},
    "train teacher": "digits/teacher",
    **{f"train {run}": run for run in TRAINED},
}
"""Where the stages that train keep their checkpoints, below results/checkpoints."""

SUBJECTS = [
    # A file, and what is taken away so that a step reads it.
    ("archive", ARCHIVE, "pack train"),
    ("archive", ARCHIVE, "pack test"),
    ("store", "results/data/digits/train.h5", "shrink digits/lw-dna"),
    *(("store", "results/data/digits/train.h5", f"search {name}") for name in SEARCHED),
    ("store", "results/data/digits/train.h5", "train digits/baseline"),
    ("store", "results/data/digits/test.h5", "evaluate digits/baseline"),
    ("store", "results/data/photographs/colour.h5", "gray"),
    ("store", "results/data/photographs/gray.h5", "train denoising/baseline"),
    ("store", f"{SHRUNK.format('digits/dhp')}/latents.h5", "latents"),
    ("image", "inputs/train/a.png", "crop"),
    ("image", "inputs/test/c.png", "evaluate denoising/baseline"),
    ("image", "inputs/test/c.png", "reference"),
    ("image", "inputs/train/b.png", "replicate"),
    ("weights", f"{SHRUNK.format('digits/lw-dna')}/{NETWORK[0]}", "train digits/lw-dna"),
    ("weights", f"{SHRUNK.format('digits/uniform')}/{NETWORK[0]}", "agreement"),
    ("weights", f"{TEACHER}/weights.safetensors", "train digits/baseline-kd"),
    ("weights", f"{TRAIN['train digits/baseline']}/weights.safetensors", "prune"),
    ("weights", f"{TRAIN['train denoising/lw-dna']}/weights.safetensors", "strip"),
    *(
        ("weights", f"{TRAIN[f'train {run}']}/weights.safetensors", f"evaluate {run}")
        for run in TRAINED
    ),
    *(("CSV", f"results/runs/{run}/metrics.csv", "tables") for run in TRAINED),
    *(("CSV", f"{TRAIN[f'train {run}']}/history.csv", "figures") for run in TRAINED[:3]),
    ("CSV", f"{SHRUNK.format('digits/lw-dna')}/channels.csv", "figures"),
    ("CSV", "results/complexity.csv", "tables"),
    ("CSV", "results/complexity/networks/dncnn.csv", "complexity table"),
    ("CSV", "results/references/noisy-input-sigma70-denoising/photographs.csv", "tables"),
    # Of the training that was killed on the way, or of a finished one (see `Damage`).
    ("checkpoint", "newest", "train digits/baseline"),
    ("checkpoint", "previous", "train digits/baseline"),
    ("checkpoint", "both", "train digits/baseline"),
    ("checkpoint", "finished", "train denoising/baseline"),
    *(("checkpoint", "finished", f"search {name}") for name in SEARCHED),
    # What was measured by the second phase of a search.
    *(("checkpoint", "measured", f"search {name}") for name in ("autoslim", "metapruning")),
    ("bookkeeping", ".snakemake/metadata", "tables"),
]


def some_stage(rng, light):
    """A light stage or, unless only these are wanted, any other."""
    others = [stage for stage in STAGES if stage not in LIGHT]
    return rng.choice(LIGHT if light or rng.random() < 0.5 else others)


def remove(tree, stage):
    """Take the products of a stage away, and let the pipeline be asked for them."""
    for path in (tree.folder / name for name in STAGES[stage]):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if stage in CHECKPOINTS:
        shutil.rmtree(tree.folder / "results/checkpoints" / CHECKPOINTS[stage])
    # An archive that is there is an input, and so no target any more.
    tree.targets = tuple(name for name in STAGES[stage] if name != ARCHIVE)


@dataclass
class Struck:
    """What the run in which a fault struck said, and what to know of it."""

    status: int | str | None = 0
    """Exit status of the run; None if the fault needs no run to strike."""
    output: str = ""
    what: str = ""
    says: bool = False
    """Nothing was killed: if the run failed, somebody must have said what is the matter."""
    touched: set[str] = field(default_factory=set)
    """Products that the fault itself has changed, by their paths."""
    missed: bool = False
    """The pipeline was at its end before the fault could strike."""


class InAStage:
    """What happens to a random stage, at a share of the work."""

    name: str

    def __init__(self, rng, light=False):
        self.stage = some_stage(rng, light)
        self.share = rng.random()
        self.what = f"{self.name} in '{self.stage}'"
