"""Trainings on two processes, and steps in micro-batches. As a script: one such process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from running import FRESH_PROCESS, run_python
from stopping import StopError, stop_at
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import BATCH, EPOCHS, SAMPLES, Images, losses, network, protocol, run

import lwdna
from lwdna.errors import ConfigError
from lwdna.io.tensors import digest
from lwdna.steps.digits import main as digits_step
from lwdna.steps.train import main as train_step
from lwdna.training import checkpoints
from lwdna.training.devices import GatheredPixels
from lwdna.training.loop import CHECKPOINT

STOP_AT = 2
"""The step of the second epoch, from 0, at which the data of a run to be killed stop coming."""


# Two processes.


def child(folder, kind):
    """A training on two processes: what `start` starts."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    if kind == "diverging":
        run(folder, network(norm=False), protocol=protocol(optimizer=HUGE), devices=2)
    if kind == "plain":
        model, seen = network(norm=False), []
        try:
            data = Images(lambda *position: seen.append(position))
            rows = run(folder, model, data, devices=2)
        finally:  # also in the process that ends in there
            (folder / f"seen{rank}.json").write_text(json.dumps(seen))
    else:
        # A rank reads half of each batch.
        before = SAMPLES // 2 + BATCH // 2 * STOP_AT

        seen = []

        def wait(*position):
            seen.append(position)
            if len(seen) == before + 1:
                (folder / f"waiting{rank}").touch()
                while not (folder / "go").exists():
                    time.sleep(0.05)

        model = network(norm=True, dropout=0.3)
        data = Images(wait if kind == "stopped" else None)
        rows = run(folder, model, data, protocol=protocol(checkpoint_minutes=0), devices=2)
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "weights").write_text(digest(model.state_dict()))
    torch.save(model.state_dict(), folder / "model.pt")


HUGE = {"kind": "sgd", "lr": 1e38}


def start(folder, kind):
    command = [sys.executable, __file__, str(folder), kind]
    return subprocess.Popen(
        command, env=FRESH_PROCESS, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def result(folder):
    return json.loads((folder / "rows.json").read_text()), (folder / "weights").read_text()


@pytest.fixture(scope="module", autouse=True)
def children(tmp_path_factory):
    """Trainings on two processes each, started early, since importing torch takes long."""
    root = tmp_path_factory.mktemp("children")
    started = {kind: start(root / kind, kind) for kind in ("plain", "whole", "stopped")}
    yield root, started
    for process in started.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="module")
def plain(children):
    """The folder of a training on two processes without batch norm."""
    status, said = finish(children[1]["plain"])
    assert status == 0, said
    return children[0] / "plain"


def test_two_processes_give_the_curve_of_one(plain, tmp_path):
    """To the rounding of single precision, which adds up over 18 steps."""
    model = network(norm=False)
    rows = run(tmp_path, model)
    theirs, _ = result(plain)
    for kind in ("train", "test"):
        assert losses(theirs, kind) == pytest.approx(losses(rows, kind), rel=1e-5)
    assert [row["train_top1_error"] for row in theirs] == [row["train_top1_error"] for row in rows]
    weights = torch.load(plain / "model.pt", weights_only=True)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-6)


def test_two_processes_see_every_image_once_an_epoch(plain):
    seen = [json.loads((plain / f"seen{rank}.json").read_text()) for rank in (0, 1)]
    assert len(seen[0]) == len(seen[1])
    everything = [(epoch, index) for epoch in range(EPOCHS) for index in range(SAMPLES)]
    assert sorted(tuple(position) for part in seen for position in part) == everything


def test_two_processes_killed_in_an_epoch_go_on_to_the_same_bits(children):
    root, started = children
    folder, process = root / "stopped", started["stopped"]
    for _ in range(2400):
        if all((folder / f"waiting{rank}").exists() for rank in (0, 1)):
            break
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    state = checkpoints.load(folder / CHECKPOINT)
    assert (state.epoch, state.step) == (1, STOP_AT)

    status, said = finish(start(folder, "whole"))
    assert status == 0, said
    assert finish(started["whole"])[0] == 0
    assert result(folder) == result(root / "whole")


def test_another_number_of_devices_is_another_run(plain, tmp_path):
    state = checkpoints.load(plain / CHECKPOINT)
    assert state.key["devices"] == 2
    with pytest.raises(checkpoints.CheckpointError, match="devices was 2 and is now 1"):
        run(plain, network(norm=False))


def test_an_error_of_two_processes_is_said_once(tmp_path):
    status, said = finish(start(tmp_path / "folder", "diverging"))
    assert status not in (0, None)
    assert said.count("Lower the learning rate") == 1, said


def test_the_command_line_trains_on_two_processes(tmp_path):
    """With batch norm: two processes normalise like one process with two micro-batches."""
    digits = ("--train", str(tmp_path / "train.h5"), "--test", str(tmp_path / "test.h5"))
    CliRunner().invoke(digits_step, [*digits, "--train-fraction", "0.022"])  # 40 images
    task = {"kind": "classification", "mean": [0.3] * 3, "std": [0.35] * 3, "pad": 2, "flip": False}
    net = {"name": "ResNet8", "dataset": "digits", "width": 0.25, "options": {}}

    def options(name, devices, accumulate):
        settings = protocol(epochs=2, accumulate=accumulate)
        return [
            *("--network", json.dumps(net), "--task", json.dumps(task), *digits),
            *("--protocol", json.dumps(settings), "--checkpoints", str(tmp_path / name)),
            *("--accelerator", "cpu", "--devices", str(devices)),
            *("--history", str(tmp_path / f"{name}.csv")),
            *("--output", str(tmp_path / f"{name}.safetensors")),
        ]

    run_python("-m", "lwdna", "train", *options("two", 2, 1))
    assert CliRunner().invoke(train_step, options("one", 1, 2)).exit_code == 0
    ours, theirs = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("two", "one"))
    assert list(ours) == list(theirs) and len(ours) == 2
    assert ours["train_loss"].tolist() == pytest.approx(theirs["train_loss"].tolist(), rel=1e-4)
    assert lwdna.load(tmp_path / "two.safetensors")


# Micro-batches.


def test_micro_batches_have_the_gradient_of_the_batch(tmp_path, caplog):
    """Without batch norm; a last batch of 4 is split into two, not three."""
    whole, parts = network(norm=False), network(norm=False)
    teacher = network(norm=True, seed=9)
    rows = run(tmp_path / "whole", whole, teacher=teacher)
    theirs = run(tmp_path / "parts", parts, teacher=teacher, protocol=protocol(accumulate=3))
    assert "accumulate" not in caplog.text
    assert losses(theirs) == pytest.approx(losses(rows), rel=1e-5)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_micro_batches_of_one_image_are_not_made_and_it_says_so(tmp_path, caplog):
    run(tmp_path, network(norm=True), protocol=protocol(epochs=1, accumulate=5))
    assert "'accumulate' is 5, but the 8 images of a batch for each device are split into 4" in (
        caplog.text
    )


def test_micro_batches_are_normalised_on_their_own(tmp_path):
    whole, parts = network(norm=True), network(norm=True)
    rows = run(tmp_path / "whole", whole)
    theirs = run(tmp_path / "parts", parts, protocol=protocol(accumulate=2))
    assert losses(theirs)[0] != pytest.approx(losses(rows)[0], rel=1e-5)


@pytest.fixture
def compiler():
    """The settings of the compiler, which works in this process: helpers would outlive a test."""
    from torch._inductor import config

    with config.patch(compile_threads=1):
        yield config


ALL = os.environ.get("LWDNA_TEST_ALL") == "1"
compiled = pytest.mark.skipif(not ALL, reason="takes a minute; `make test-all` runs it")


@pytest.mark.parametrize(
    "changes",
    [
        {"channels_last": True},
        {"accumulate": 3},
        {"precision": "bf16-mixed", "channels_last": True},
        pytest.param({"compile": True, "channels_last": True}, marks=compiled),
    ],
    ids=str,
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_crash_goes_on_to_the_same_bits(tmp_path, compiler, changes, optimizer):
    settings = protocol(checkpoint_minutes=0, **changes)
    if optimizer == "adam":
        settings["optimizer"] = {"kind": "adam", "lr": 1e-2}

    whole, resumed = network(norm=True), network(norm=True)
    rows = run(tmp_path / "whole", whole, protocol=settings)
    data = Images(stop_at(SAMPLES + BATCH * 2 + 1))
    with pytest.raises(StopError):
        run(tmp_path / "cut", network(norm=True), data, protocol=settings)
    assert run(tmp_path / "cut", resumed, protocol=settings) == rows
    assert digest(resumed.state_dict()) == digest(whole.state_dict())
    assert all(p.is_contiguous() for p in whole.parameters())


@compiled
def test_a_compiled_network_has_the_curve_of_a_plain_one(tmp_path, compiler):
    plain, compiled = (network(norm=True) for _ in range(2))
    rows = run(tmp_path / "plain", plain)
    theirs = run(tmp_path / "compiled", compiled, protocol=protocol(compile=True))
    for kind in ("train", "test"):
        assert losses(theirs, kind) == pytest.approx(losses(rows, kind), rel=1e-4)


@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled")
def test_a_network_that_cannot_be_compiled_is_refused_in_a_sentence(tmp_path, compiler):
    nowhere = {"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}
    with (
        compiler.patch(nowhere),
        pytest.raises(ConfigError, match=r"cannot be compiled here.*set 'compile'"),
    ):
        run(tmp_path, network(norm=False), protocol=protocol(compile=True))


def test_the_memory_format_reaches_the_network(tmp_path):
    found = set()

    def note(module, inputs, output):
        if module.training:
            for tensor in (*inputs, module.weight, output):
                found.add(tensor.is_contiguous(memory_format=torch.channels_last))

    model = network(norm=False)
    model[0].register_forward_hook(note)
    run(tmp_path, model, protocol=protocol(epochs=1, channels_last=True))
    assert found == {True}


class Strided(nn.Module):
    """1 x 1 convolutions with strides, of few channels: as a layer and as a function."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 12, 1, stride=2)
        self.third = nn.Parameter(torch.randn(6, 12, 1, 1) / 4)

    def forward(self, x):
        # So large that the kernels of this size fail.
        x = self.first(nn.functional.interpolate(x, size=(64, 64))).relu()
        x = self.second(x).relu()
        return nn.functional.conv2d(x, self.third, stride=(1, 2)).mean((2, 3))


@pytest.mark.parametrize(
    "changes",
    [{"channels_last": True}, pytest.param({"compile": True}, marks=compiled)],
    ids=str,
)
@pytest.mark.parametrize("processor", ["DEFAULT", "AVX2"])
def test_strided_convolutions_of_one_pixel_neither_kill_nor_mislead(tmp_path, changes, processor):
    """Without :class:`lwdna.training.devices.GatheredPixels` PyTorch 2.14.1 did one or the
    other."""
    arguments = (__file__, tmp_path, "strided", json.dumps(changes))
    run_python(*arguments, ONEDNN_MAX_CPU_ISA=processor)
    plain, changed = json.loads((tmp_path / "losses.json").read_text())
    assert changed == pytest.approx(plain, rel=1e-4)


def strided_child(folder, changes):
    """The losses of a plain training and of a changed one: what the test above starts."""
    torch.set_num_threads(1)
    found = []
    for name, settings in (("plain", {}), ("changed", changes)):
        torch.manual_seed(0)
        rows = run(folder / name, Strided(), protocol=protocol(**settings))
        found.append(losses(rows))
    (folder / "losses.json").write_text(json.dumps(found))


def test_pixels_are_gathered_for_strided_convolutions_of_one_pixel_alone():
    reached = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.convolution.default:
                reached.append((args[1].shape[-1], *args[3]))
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 4, 9, 8)
    layers = [
        (nn.Conv2d(4, 6, 1, stride=2), (1, 1, 1)),
        (nn.Conv2d(4, 6, 1, stride=(1, 3), bias=False, groups=2), (1, 1, 1)),
        (nn.Conv2d(4, 6, 1, stride=2, padding="valid"), (1, 1, 1)),
        (nn.Conv2d(4, 6, 1), (1, 1, 1)),
        (nn.Conv2d(4, 6, 1, stride=2, padding=1), (1, 2, 2)),
        (nn.Conv2d(4, 6, 3, stride=2), (3, 2, 2)),
    ]
    for layer, strides in layers:
        reached.clear()
        with GatheredPixels(), Note():
            found = layer(x)
        torch.testing.assert_close(found, layer(x))
        assert reached == [strides], layer


if __name__ == "__main__":
    if sys.argv[2] == "strided":
        strided_child(Path(sys.argv[1]), json.loads(sys.argv[3]))
    else:
        child(Path(sys.argv[1]), sys.argv[2])
