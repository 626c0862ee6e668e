"""A GPU against the CPU: the same training, search and shrinkage, within a tolerance that is said.

`make test-gpu` runs them where PyTorch sees a GPU of NVIDIA. `LWDNA_TEST_DEVICE=cpu make test-gpu`
runs the same tests with the CPU in its place, which proves them, not the GPU. As a script: one
process of those that tests start. Nothing here needs Snakemake.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running import FRESH_PROCESS
from stopping import StopError, stop_at
from torch import nn
from torch.nn import functional
from trainings import BATCH, SAMPLES, Images, losses, network, protocol, run

import lwdna
from lwdna.networks.build import build_seeded
from lwdna.rivals import autoslim, mutualnet
from lwdna.rivals.dhp import Settings, search
from lwdna.tasks.task import task_for
from lwdna.training.devices import agreed, make_fabric, summed
from lwdna.training.evaluation import evaluate
from lwdna.training.protocol import Protocol
from lwdna.training.step import Learner
from lwdna.workflow.throughput import device_name, measure

DEVICE = os.environ.get("LWDNA_TEST_DEVICE", "cuda")

pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(),
    reason=f"PyTorch {torch.__version__} sees no GPU of NVIDIA; LWDNA_TEST_DEVICE=cpu runs the same"
    " on the CPU",
)

ROUNDING = 1e-4
"""Relative, of a loss after 18 steps in 32 bits: kernels add in another order."""

HALF = 5e-2
"""The same with `bf16-mixed`, whose numbers have 8 bits of mantissa."""

TINY = {"name": "MobileNetV1", "dataset": "digits", "width": 0.25, "options": {}}
TASK = {"kind": "classification", "mean": [0.3] * 3, "std": [0.35] * 3, "pad": 2, "flip": False}


@pytest.fixture(autouse=True)
def exact():
    """Convolutions in all of 32 bits: by default PyTorch lets cuDNN use TF32, of 10."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """Losses of a training on the CPU."""
    return losses(run(tmp_path_factory.mktemp("curve"), network(norm=True)))


def place(model):
    return next(model.parameters()).device.type


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({}, ROUNDING),
        ({"workers": 2}, ROUNDING),
        ({"channels_last": True}, ROUNDING),
        ({"precision": "bf16-mixed"}, HALF),
        ({"precision": "bf16-mixed", "channels_last": True}, HALF),
        ({"compile": True}, ROUNDING),
        ({"compile": True, "precision": "bf16-mixed", "channels_last": True}, HALF),
    ],
    ids=str,
)
def test_a_training_has_the_curve_of_the_cpu(tmp_path, curve, changes, tolerance):
    model = network(norm=True)
    rows = run(tmp_path, model, protocol=protocol(**changes), accelerator=DEVICE)
    assert losses(rows) == pytest.approx(curve, rel=tolerance)
    assert place(model) == DEVICE
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_micro_batches_have_the_curve_of_the_cpu(tmp_path):
    settings = protocol(accumulate=2)
    ours, theirs = (
        run(tmp_path / device, network(norm=True), protocol=settings, accelerator=device)
        for device in (DEVICE, "cpu")
    )
    assert losses(ours) == pytest.approx(losses(theirs), rel=ROUNDING)


def test_distillation_has_the_curve_of_the_cpu(tmp_path):
    settings = protocol(distillation={"temperature": 4, "weight": 0.4})
    found = {}
    for device in (DEVICE, "cpu"):
        teacher = network(norm=True, seed=9)
        arguments = {"teacher": teacher, "protocol": settings, "accelerator": device}
        found[device] = losses(run(tmp_path / device, network(norm=True), **arguments))
        assert place(teacher) == device
    assert found[DEVICE] == pytest.approx(found["cpu"], rel=ROUNDING)


def cut(folder, accelerator, **changes):
    """A training that stops in its second epoch."""
    settings = protocol(checkpoint_minutes=0, **changes)
    data = Images(stop_at(SAMPLES + BATCH * 2 + 1))
    with pytest.raises(StopError):
        run(folder, network(norm=True), data, protocol=settings, accelerator=accelerator)
    return settings


@pytest.mark.parametrize(
    "changes", [{}, {"channels_last": True}, {"precision": "bf16-mixed"}], ids=str
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_crash_goes_on_to_the_same_curve(tmp_path, changes, optimizer):
    """Up to rounding: cuDNN may add in another order each time."""
    if optimizer == "adam":
        changes = {**changes, "optimizer": {"kind": "adam", "lr": 1e-2}}
    settings = cut(tmp_path / "cut", DEVICE, **changes)
    resumed = run(tmp_path / "cut", network(norm=True), protocol=settings, accelerator=DEVICE)
    whole = run(tmp_path / "whole", network(norm=True), protocol=settings, accelerator=DEVICE)
    half = "precision" in changes
    assert losses(resumed) == pytest.approx(losses(whole), rel=HALF if half else ROUNDING)


@pytest.mark.parametrize("way", [("cpu", DEVICE), (DEVICE, "cpu")], ids=str)
def test_a_training_moves_to_another_device(tmp_path, curve, way):
    first, then = way
    settings = cut(tmp_path, first)
    rows = run(tmp_path, network(norm=True), protocol=settings, accelerator=then)
    assert losses(rows) == pytest.approx(curve, rel=ROUNDING)


def test_the_caller_keeps_its_random_numbers(tmp_path):
    device = torch.device(DEVICE)
    torch.manual_seed(1)
    wanted = torch.rand(3, device=device)
    torch.manual_seed(1)
    run(tmp_path, network(norm=True, dropout=0.3), accelerator=DEVICE)
    assert torch.equal(torch.rand(3, device=device), wanted)


def test_an_evaluation_agrees_with_the_cpu():
    model = lwdna.build("DnCNN", blocks=3, channels=8).eval()
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(3, 1, 24, 20, generator=generator) * 255
    noisy = clean + 20 * torch.randn(clean.shape, generator=generator)
    pairs = list(zip(noisy, clean, strict=True))
    section = {"kind": "denoising", "sigma": 20, "patch_size": 20}
    theirs = evaluate(model, pairs, task=section)
    ours = evaluate(model.to(DEVICE), pairs, task=section)
    assert ours == pytest.approx(theirs, rel=ROUNDING) and ours["n"] == 3


def batches(device):
    generator = torch.Generator().manual_seed(4)

    def loss(model):
        x = torch.randn(8, 3, 32, 32, generator=generator)
        y = torch.randint(0, 10, (8,), generator=generator)
        return functional.cross_entropy(model(x.to(device)), y.to(device))

    return loss


@pytest.mark.parametrize("warmup_steps", [0, 1])
@pytest.mark.parametrize("name", ["MobileNetV1", "ResNet14"])
def test_shrinkage_keeps_the_same_channels(name, warmup_steps):
    """All but a few that are as good as equal, and none of the budget is lost."""
    found = {}
    for device in (DEVICE, "cpu"):
        model = build_seeded(TINY | {"name": name, "width": 0.5}, 0).to(device)
        found[device] = lwdna.shrink(
            model,
            torch.empty(1, 3, 32, 32),
            batches(device),
            flops_ratio=0.5,
            warmup_steps=warmup_steps,
            batches=2,
            seed=3,
        )
        assert place(found[device].model) == device
    kept = [
        {(layer, channel) for layer, channels in shrunk.kept.items() for channel in channels}
        for shrunk in (found[DEVICE], found["cpu"])
    ]
    assert len(kept[0] ^ kept[1]) <= 0.01 * len(kept[1])
    assert found[DEVICE].flops <= 0.5 * found[DEVICE].flops_before


def test_a_search_by_dhp_meets_its_budget(tmp_path):
    """The first losses are those of the CPU; later ones drift with which elements vanish."""
    example = torch.empty(1, 3, 8, 8)

    def found(device):
        model = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 6)),
        )
        whole, _ = lwdna.complexity(model, example)
        settings = Settings(
            target_flops=0.5 * whole, lambda_=0.2, rho=0.1, tau=0.3, check_every=1, embedding=2
        )
        sgd = {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
        torch.manual_seed(0)
        for module in model:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        return whole, search(
            model,
            example,
            settings,
            train_data=Images(),
            test_data=None,
            task="classification",
            protocol=protocol(
                epochs=40, optimizer=sgd, schedule={"kind": "step", "milestones": [40]}
            ),
            seed=3,
            checkpoint_dir=tmp_path / device,
            accelerator=device,
        )

    whole, ours = found(DEVICE)
    _, theirs = found("cpu")
    assert losses(ours.history)[0] == pytest.approx(losses(theirs.history)[0], rel=1e-3)
    for shrunk in (ours.shrunk, theirs.shrunk):
        assert 0.9 * 0.5 * whole <= shrunk.flops <= 0.5 * whole
    assert len(ours.history) == pytest.approx(len(theirs.history), abs=1)


def test_a_search_by_autoslim_begins_as_on_the_cpu(tmp_path):
    """Later removals may differ: errors of few images are often nearly equal."""
    example = torch.empty(1, 3, 8, 8)
    whole, _ = lwdna.complexity(network(norm=True), example)

    def found(device):
        return autoslim.search(
            network(norm=True),
            example,
            autoslim.Settings(
                target_flops=0.6 * whole, held_out=0.25, channel_groups=4, start="inherited"
            ),
            train_data=Images(),
            test_data=None,
            task="classification",
            protocol=protocol(),
            seed=3,
            checkpoint_dir=tmp_path / device,
            accelerator=device,
        )

    ours, theirs = found(DEVICE), found("cpu")
    assert losses(ours.history) == pytest.approx(losses(theirs.history), rel=1e-3)
    first, same = ours.record.removals[0], theirs.record.removals[0]
    assert first.loss == pytest.approx(same.loss, rel=1e-3) and first.flops == same.flops
    for shrunk in (ours.shrunk, theirs.shrunk):
        assert 0.4 * whole <= shrunk.flops <= 0.6 * whole and place(shrunk.model) == "cpu"


def test_a_training_by_mutualnet_has_the_curve_of_the_cpu(tmp_path):
    def trained(device):
        model = network(norm=True)
        passes = mutualnet.passes_of(
            model,
            torch.empty(1, 3, 8, 8),
            mutualnet.Settings(sizes=[8, 6, 4], least_width=0.5, divisor=1),
            task=task_for("classification"),
            seed=3,
        )
        return losses(run(tmp_path / device, model, passes=passes, accelerator=device))

    assert trained(DEVICE) == pytest.approx(trained("cpu"), rel=1e-3)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_plan_measures_the_device(precision):
    section = {"label": "tiny", "network": TINY, "task": TASK, "train": "digits"}
    rate = measure(section, {**protocol(), "precision": precision}, DEVICE)
    assert math.isfinite(rate) and rate > 0
    if DEVICE == "cuda":
        assert device_name(DEVICE) == torch.cuda.get_device_name()


def start(kind, *arguments):
    command = [sys.executable, __file__, kind, DEVICE, *map(str, arguments)]
    return subprocess.Popen(
        command, env=FRESH_PROCESS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said


def test_one_process_of_several_devices_steps_like_one_device(tmp_path):
    """With NCCL (on the CPU gloo) in place: DistributedDataParallel over one process."""
    finished(start("alone", tmp_path))
    found = json.loads((tmp_path / "losses.json").read_text())
    assert found["ddp"] == pytest.approx(found["auto"], rel=ROUNDING)
    assert found["backend"] == {"cuda": "nccl", "cpu": "gloo"}[DEVICE]
    assert found["agreed"] == [True, False] and found["summed"] == {"n": 3.0}


def test_trainings_side_by_side_have_the_curve_of_one_alone(tmp_path, curve):
    processes = [start("beside", tmp_path / str(number)) for number in range(2)]
    for number, process in enumerate(processes):
        finished(process)
        rows = json.loads((tmp_path / f"{number}/rows.json").read_text())
        assert losses(rows) == pytest.approx(curve, rel=ROUNDING)


# What the processes do.


def alone(folder):
    """Steps of a network by itself and under DistributedDataParallel."""
    from lightning_fabric import Fabric

    torch.backends.cudnn.allow_tf32 = False
    plan, task = Protocol.read(protocol()), task_for("classification")
    found = {}
    for strategy in ("auto", "ddp"):
        fabric = (
            make_fabric(DEVICE, 1, "32-true")
            if strategy == "auto"
            else Fabric(accelerator=DEVICE, devices=1, strategy=strategy)
        )
        fabric.launch()
        learner = Learner(fabric, plan, task, network(norm=True))
        data = Images()
        found[strategy] = []
        for step in range(4):
            chosen = range(step * BATCH, (step + 1) * BATCH)
            x, y = (
                torch.stack([torch.as_tensor(data[0, i][part]) for i in chosen]) for part in (0, 1)
            )
            x, y = fabric.to_device((x, y))
            found[strategy] += [float(part.loss) for part in learner.step(x, y, BATCH)]
    number = torch.tensor([3.0], device=fabric.device)
    assert float(fabric.all_reduce(number, reduce_op="sum")) == 3
    found["backend"] = torch.distributed.get_backend()
    found["agreed"], found["summed"] = agreed(fabric, True, False), summed(fabric, {"n": 3})
    (folder / "losses.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def beside(folder):
    """One training."""
    torch.backends.cudnn.allow_tf32 = False
    folder.mkdir()
    rows = run(folder / "checkpoints", network(norm=True), accelerator=DEVICE)
    (folder / "rows.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    kind, DEVICE, where = sys.argv[1:]
    torch.set_num_threads(1)
    {"alone": alone, "beside": beside}[kind](Path(where))
