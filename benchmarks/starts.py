"""What becomes of a shrunk network that starts from generated, rescaled or fresh weights.

For small networks of each kind: the root mean square of the weights and the standard deviation of
the outputs of every layer, at the start, after a tenth of the training and at its end; and the test
results of the LW-DNA shape from each start beside Baseline and Baseline KD. A seed is that of the
shrinkage, the training and the fresh weights. Everything is done by the package itself.

``python benchmarks/starts.py FOLDER`` runs all of it; what is in FOLDER already is not run again.
Digits and photographs come from installed packages, CIFAR-10 from a zip of class-named folders in
``train`` and ``test`` (``--cifar``); ``--pack`` makes a small one of it.
"""

from __future__ import annotations

import copy
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch
from pictures import pack, prepare
from pools import Pools, Table, work
from torch import Tensor, nn
from torch.utils.data import default_collate

import lwdna
from lwdna.errors import LwdnaError
from lwdna.networks.build import build_seeded
from lwdna.networks.registry import input_shape
from lwdna.networks.weights import save
from lwdna.results import markdown
from lwdna.results.statistics import paired_difference
from lwdna.shrinkage.starts import STARTS
from lwdna.tasks.restoration import input_multiple
from lwdna.tasks.task import test_dataset, train_dataset
from lwdna.training.companion import Companion
from lwdna.training.loop import train
from lwdna.training.sampler import batch_losses

logger = logging.getLogger("starts")

SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
ADAM = {"kind": "adam", "lr": 1e-3, "weight_decay": 1e-4}
COSINE = {"schedule": {"kind": "cosine"}, "distillation": {"temperature": 4, "weight": 0.4}}
SHORT = {"blocks": [[64, 1], [128, 2], [128, 1], [256, 2], [256, 1], [512, 2], [512, 1]]}
GREY = {"mean": [0.305] * 3, "std": [0.345] * 3, "pad": 2, "flip": False}
COLOURS = {"mean": [0.491, 0.482, 0.447], "std": [0.247, 0.243, 0.262], "pad": 4, "flip": True}


@dataclass(frozen=True)
class Case:
    """A network, its data and its protocol."""

    network: Mapping[str, Any]
    data: str
    task: Mapping[str, Any]
    epochs: int
    batch_size: int
    optimizer: Mapping[str, Any]
    ratio: float = 0.95
    batch_norm: bool = True

    @property
    def kind(self) -> str:
        """The task's name."""
        return str(self.task["kind"])

    @property
    def methods(self) -> list[str]:
        """What is trained, the teacher first."""
        first = ["teacher", "baseline", "baseline-kd"] if self.distils else ["baseline"]
        return [*first, *STARTS]

    @property
    def distils(self) -> bool:
        """Whether there is a teacher."""
        return self.kind == "classification"


def _restoration(name: str, options: dict[str, Any], task: dict[str, Any], **other: Any) -> Case:
    task = {"samples_per_epoch": 512} | task
    network = {"name": name, "options": options}
    return Case(network, "photographs", task, **({"epochs": 40, "batch_size": 16} | other))


def _classes(name: str, data: str, width: float, **other: Any) -> Case:
    options = other.pop("options", {})
    network = {"name": name, "dataset": data, "width": width, "options": options}
    task = {"kind": "classification", **(GREY if data == "digits" else COLOURS)}
    return Case(network, data, task, optimizer=SGD, **other)


_SR = {"kind": "super-resolution", "scale": 4, "patch_size": 20}
_NOISE = {"kind": "denoising", "sigma": 70}
_SMALL = {"blocks": 2, "channels": 16}
CASES = {
    "edsr": _restoration("EDSR", _SMALL, _SR, optimizer=ADAM),
    "srresnet": _restoration("SRResNet", _SMALL, _SR, optimizer=ADAM, epochs=120),
    "cifar-mobilenetv1": _classes("MobileNetV1", "cifar10", 0.25, epochs=16, batch_size=128),
    "digits-mobilenetv1": _classes(
        "MobileNetV1", "digits", 0.25, epochs=25, batch_size=32, options=SHORT
    ),
    "digits-resnet14": _classes("ResNet14", "digits", 0.5, epochs=25, batch_size=32),
    "cifar-resnet20": _classes("ResNet20", "cifar10", 0.5, epochs=16, batch_size=128),
    "unet": _restoration(
        *("U-Net", {"depth": 4, "channels": 8}, _NOISE | {"patch_size": 48}),
        **{"optimizer": ADAM, "epochs": 120, "ratio": 0.956, "batch_norm": False},
    ),
    "dncnn": _restoration(
        *("DnCNN", {"blocks": 4, "channels": 16}, _NOISE | {"patch_size": 40}),
        **{"optimizer": ADAM | {"lr": 1e-2}, "ratio": 0.597, "batch_norm": False},
    ),
}
"""In the order in which they are run."""

MOMENTS = {"10 %": 0.1, "end": 1.0}
RESULTS = "case,method,seed,device,metric,value,train_loss,flops,params,seconds,note"
KEYS = ("case", "method", "seed")
LAYERS = "case,method,seed,moment,layer,weight_rms,output_std"


@dataclass(frozen=True)
class Unit:
    """One thing to do in a process: data (without method) or a training."""

    case: str
    method: str = ""
    seed: int = 0

    def needs(self) -> list[Unit]:
        """What must be done before."""
        if not self.method:
            return []
        taught = CASES[self.case].distils and self.method not in ("teacher", "baseline")
        teacher = [Unit(self.case, "teacher", self.seed)] if taught else []
        return [Unit(CASES[self.case].data), *teacher]


class Probe(Companion):
    """Measures every layer of a network in training, at some moments, on one batch."""

    def __init__(self, model: nn.Module, batch: Tensor, steps: int) -> None:
        self.model, self.batch, self.steps = model, batch, steps
        self.record: dict[str, Tensor] = {}

    @property
    def complete(self) -> bool:
        """Never before the end."""
        return False

    def after_step(self, epoch: int, step: int, rate: float, *, last: bool) -> None:
        """Measure, if a moment has come."""
        for name, share in MOMENTS.items():
            if step == max(1, round(share * self.steps)):
                self.record[name] = torch.tensor([row[1:] for row in self.measure()])

    def measure(self) -> list[tuple[str, float, float]]:
        """By layer and for "output": root mean square of the weight, deviation of the output."""
        model = copy.deepcopy(self.model).train()  # batch norm as in a step of training
        found: dict[str, tuple[float, float]] = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.register_forward_hook(_noting(found, name))
        device = next(model.parameters()).device
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        ):
            torch.manual_seed(0)
            output = model(self.batch.to(device))
        found["output"] = (0.0, float(output.std()))
        return [(name, *values) for name, values in found.items()]


def _noting(found: dict[str, tuple[float, float]], name: str) -> Any:
    def note(module: Any, _: Any, output: Tensor) -> None:
        found[name] = (float(module.weight.square().mean().sqrt()), float(output.std()))

    return note


def run(unit: Unit, device: str, folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Do a unit; of a training, return its rows: the first of the results, the others of layers."""
    if not unit.method:
        prepare(unit.case, folder, settings["cifar"])
        return []
    case, began = CASES[unit.case], time.monotonic()
    epochs = settings["epochs"] or case.epochs
    task = dict(case.task)
    if settings["samples"] and "samples_per_epoch" in task:
        task["samples_per_epoch"] = settings["samples"]
    root = folder / "data" / case.data
    names = ("train", "test") if case.distils else (case.kind, "test")
    suffixes = (".h5", ".h5" if case.distils else "")
    images = train_dataset(task, root / (names[0] + suffixes[0]), seed=unit.seed)
    tests = test_dataset(task, root / (names[1] + suffixes[1]))
    model = network(case, unit, images)
    flops, params = lwdna.complexity(model, example(case), batch_norm=case.batch_norm)
    steps = epochs * -(-len(images) // case.batch_size)
    batch = default_collate([images[0, i] for i in range(32)])[0]
    probe = Probe(model, batch, steps)
    start = probe.measure()
    teacher, note, row = None, "untrained" if settings["untrained"] else "", {}
    if not note and Unit(unit.case, "teacher", unit.seed) in unit.needs():
        teacher = lwdna.load(_weights(folder, unit.case, unit.seed))
    try:
        row = (
            {}
            if note
            else train(
                model,
                images,
                tests,
                task=case.kind,
                protocol={
                    "epochs": epochs,
                    "batch_size": case.batch_size,
                    "optimizer": case.optimizer,
                    "test_every": epochs,
                    **COSINE,
                },
                seed=unit.seed,
                checkpoint_dir=folder / "checkpoints",
                keyed=True,
                teacher=teacher,
                companion=probe,
                key={"unit": [unit.case, unit.method]},
                multiple=input_multiple(model),
                description=f"{unit.case} {unit.method} {unit.seed}",
                accelerator="gpu" if device == "cuda" else "cpu",
            )[-1]
        )
    except LwdnaError as error:
        note = str(error).replace(",", ";").replace("\n", " ")
    if unit.method == "teacher" and not settings["untrained"]:
        save(model, _weights(folder, unit.case, unit.seed))
    metric = "top1_error" if case.distils else "psnr"
    head = f"{unit.case},{unit.method},{unit.seed}"
    values = [row.get(f"test_{metric}"), row.get("train_loss")]
    texts = ["" if value is None else f"{value:.6g}" for value in values]
    seconds = f"{time.monotonic() - began:.1f}"
    rows = [",".join([head, device, metric, *texts, f"{flops}", f"{params}", seconds, note])]
    tables = {"start": [found[1:] for found in start]}
    tables |= {name: table.tolist() for name, table in probe.record.items()}
    for moment, table in tables.items():
        for (layer, *_), (weight, output) in zip(start, table, strict=True):
            rows.append(f"{head},{moment},{layer},{weight:.6g},{output:.6g}")
    return rows


def network(case: Case, unit: Unit, images: Any) -> nn.Module:
    """What a unit trains."""
    width = case.network.get("width", 1.0)
    if unit.method in ("baseline", "baseline-kd"):
        return build_seeded(case.network, unit.seed)
    wide = build_seeded({**case.network, "width": 2 * width}, unit.seed)
    if unit.method == "teacher":
        return wide
    baseline = build_seeded(case.network, unit.seed)
    flops, _ = lwdna.complexity(baseline, example(case), batch_norm=case.batch_norm)
    return lwdna.shrink(
        wide,
        example(case),
        batch_losses(case.kind, images, case.batch_size, unit.seed),
        target_flops=case.ratio * flops,
        batch_norm=case.batch_norm,
        seed=unit.seed,
        start=unit.method,  # type: ignore[arg-type]
    ).model


def example(case: Case) -> Tensor:
    """An input without content, of the size for which FLOPs are counted."""
    return torch.empty(input_shape(case.network["name"], case.network.get("dataset")))


def _weights(folder: Path, case: str, seed: int) -> Path:
    return folder / "teachers" / f"{case}-{seed}.safetensors"


def choose(ready: Sequence[Unit], device: str, *, alone: bool) -> Unit | None:
    """The next unit: a CPU beside a GPU leaves it the long ones, and begins with the short."""
    ready = list(ready)
    if device == "cpu" and not alone:
        ready = [unit for unit in ready if not unit.case.startswith("cifar")]
        ready.sort(key=lambda u: (u.method != "", u.seed, not u.case.startswith("digits")))
    return ready[0] if ready else None


def summary(results: pd.DataFrame, layers: pd.DataFrame) -> str:
    """The tables of results and of the start, in Markdown."""
    shown = []
    for (name, method), rows in results.groupby(["case", "method"], sort=False):
        case, values = CASES[str(name)], rows.set_index("seed")["value"]
        rival = "baseline-kd" if case.distils else "baseline"
        theirs = results[(results["case"] == name) & (results["method"] == rival)]
        difference = paired_difference(values, theirs.set_index("seed")["value"])
        text = ""
        if difference is not None and method != rival:
            text = f"{difference.mean:+.3f}"
            if difference.low is not None and difference.high is not None:
                text += f" [{difference.low:+.3f}, {difference.high:+.3f}]"
        notes = "; ".join(sorted(set(rows["note"].dropna())))
        numbers = (f"{values.mean():.3f}", f"{values.std():.3f}")
        shown.append((name, method, len(values), *numbers, text, notes))
    titles = ("Case", "Method", "n", "Mean", "SD", "To the baseline", "Notes")
    lines = [markdown.table(titles, shown, "llrrrll")]
    for quantity in ("output_std", "weight_rms"):
        chosen = layers[layers["method"] != "teacher"]
        table = chosen.pivot_table(
            index=["case", "layer"],
            columns=["moment", "method"],
            values=quantity,
            aggfunc="median",
            sort=False,
        )
        lines += ["", f"{quantity}, median over the seeds", "", "```"]
        lines += [table.to_string(float_format=lambda x: f"{x:.3g}"), "```"]
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--jobs", type=int, default=1, help="Processes on the CPU, a thread each.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--gpu-jobs", type=int, default=4, help="Processes that share the GPU, with cuda.")
@click.option("--seeds", type=int, default=5, show_default=True, help="How many, from 0.")
@click.option("--only", multiple=True, type=click.Choice([*CASES]), help="Cases; all if not given.")
@click.option("--minutes", type=float, default=1e6, help="End then with what there is.")
@click.option("--cifar", type=click.Path(path_type=Path), help="Zip of CIFAR-10; else not run.")
@click.option("--pack", "packed", type=click.Path(path_type=Path), help="Make a small --cifar.")
@click.option("--untrained", is_flag=True, help="Measure the layers at the start alone.")
@click.option("--quick", is_flag=True, help="Two epochs of little, to see that it runs.")
def main(
    *,
    folder: Path,
    jobs: int,
    device: str,
    gpu_jobs: int,
    seeds: int,
    only: tuple[str, ...],
    minutes: float,
    cifar: Path | None,
    packed: Path | None,
    untrained: bool,
    quick: bool,
) -> None:
    """Train every case from every start, and write results.csv, layers.csv, summary.md."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if packed is not None:
        pack(Path(str(cifar)), packed, 15000, 10000)
        return
    began = time.monotonic()
    (folder / "teachers").mkdir(parents=True, exist_ok=True)
    results, layers = Table(folder / "results.csv", RESULTS), Table(folder / "layers.csv", LAYERS)
    cases = [n for n in only or CASES if CASES[n].data != "cifar10" or cifar is not None]
    todo = sorted(
        (Unit(n, m, seed) for n in cases for seed in range(seeds) for m in CASES[n].methods),
        key=lambda u: (u.seed, u.method != "teacher"),
    )
    todo = [*dict.fromkeys(Unit(CASES[u.case].data) for u in todo), *todo]
    read = results.read(KEYS)
    done = {Unit(str(row.case), str(row.method), int(row.seed)) for row in read.itertuples()}
    settings = {"cifar": cifar, "epochs": 2 if quick else 0, "samples": 32 if quick else 0}
    settings["untrained"] = untrained

    def keep(unit: Unit, rows: list[str]) -> None:
        layers.append(rows[1:])
        results.append(rows[:1])

    missed = work(
        [unit for unit in todo if unit not in done],
        Pools(folder, {"cuda": gpu_jobs if device == "cuda" else 0, "cpu": jobs}),
        partial(choose, alone=device == "cpu" or gpu_jobs == 0),
        run=partial(run, folder=folder, settings=settings),
        keep=keep,
        done=done,
        seconds=60 * minutes - (time.monotonic() - began),
    )
    text = summary(results.read(KEYS), layers.read([*KEYS, "moment", "layer"]))
    (folder / "summary.md").write_text(text)
    logger.info("%d of %d not done; %s", len(missed), len(todo), folder / "summary.md")


if __name__ == "__main__":
    main()
