"""The training loop. As a script, this file is the process that some tests kill."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from running import FRESH_PROCESS
from torch import nn
from trainings import RandomImages

from lwdna.errors import CheckpointError, ConfigError, LwdnaError, TrainingError
from lwdna.io.locks import lock
from lwdna.io.tensors import digest
from lwdna.training import checkpoints
from lwdna.training.loop import CHECKPOINT, train, write_history
from lwdna.training.sampler import EpochBatches
from lwdna.training.signals import StopRequest

SAMPLES, EPOCHS, BATCH = 26, 3, 8
STEPS = 4
KILL_AT = (1, 2)
"""Epoch and step (from 0) at which the data of a run to be killed stop coming."""

OPTIMIZERS = {
    "sgd": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True},
    "adam": {"kind": "adam", "lr": 1e-3, "weight_decay": 1e-4},
}


class Noisy(RandomImages):
    """Random images whose noise depends on (epoch, index); ``hook`` sees every access."""

    def __init__(self, size=SAMPLES, hook=None):
        super().__init__(size, classes=6, size=4, hook=hook)

    def __getitem__(self, position):
        image, label = super().__getitem__(position)
        epoch, index = position
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        return image + 0.1 * torch.randn(3, 4, 4, generator=generator), label


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 6),
        )


def protocol(kind="sgd", **changes):
    return {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "optimizer": OPTIMIZERS[kind],
        "schedule": {"kind": "step", "milestones": [2], "gamma": 0.1},
        **changes,
    }


def often(kind):
    """The protocol with a checkpoint after every step."""
    return protocol(kind, checkpoint_minutes=0)


def held_out():
    """Ten images for tests, as a list."""
    return [(image, label) for image, label in (Noisy(10)[0, i] for i in range(10))]


def run(folder, kind="sgd", hook=None, model=None, **changes):
    """A training of the little network; its weights' digest and its history."""
    model = network() if model is None else model
    arguments = {
        "task": "classification",
        "protocol": protocol(kind),
        "seed": 3,
        "checkpoint_dir": folder,
        "accelerator": "cpu",
        **changes,
    }
    rows = train(model, Noisy(hook=hook), held_out(), **arguments)
    return digest(model.state_dict()), rows


@pytest.fixture(scope="module")
def uninterrupted(one_thread, tmp_path_factory):
    """Weights and history of whole trainings, with SGD and with Adam."""
    return {kind: run(tmp_path_factory.mktemp(kind), kind) for kind in OPTIMIZERS}


def counting_hook(step, action):
    """Calls ``action`` once, when the data of this step (counted from the start) are read."""
    seen = []

    def hook(epoch, index):
        seen.append(index)
        if len(seen) == step * BATCH + 1:
            action()

    return hook


def child(folder, kind):
    """Train until the data of a step in the middle of an epoch are read; then wait."""

    def wait():
        (folder / "waiting").touch()
        for _ in range(600):
            if (folder / "go").exists():
                return
            time.sleep(0.1)

    # The last batch of the first epoch has 2 images instead of 8.
    before, seen = SAMPLES * KILL_AT[0] + BATCH * KILL_AT[1], []

    def hook(epoch, index):
        seen.append(index)
        if len(seen) == before + 1:
            wait()

    run(folder, kind, hook, protocol=often(kind))


@pytest.fixture(scope="module", autouse=True)
def children(tmp_path_factory):
    """Two real processes that train; they are started early, since importing torch takes long."""
    root = tmp_path_factory.mktemp("children")
    started = {}
    for kind in OPTIMIZERS:
        (root / kind).mkdir()
        command = [sys.executable, __file__, str(root / kind), kind]
        started[kind] = subprocess.Popen(command, env=FRESH_PROCESS, stderr=subprocess.DEVNULL)
    yield root, started
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize(("kind", "step"), [("sgd", 6), ("adam", 1), ("adam", 4)])
def test_a_crash_anywhere_goes_on_to_the_same_bits(tmp_path, uninterrupted, kind, step):
    def crash():
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        run(tmp_path, kind, counting_hook(step, crash), protocol=often(kind))
    assert run(tmp_path, kind) == uninterrupted[kind]


@pytest.mark.parametrize("signum", StopRequest.SIGNALS)
def test_a_signal_completes_the_step_saves_and_exits(tmp_path, uninterrupted, signum):
    before = signal.getsignal(signum)
    hook = counting_hook(5, lambda: os.kill(os.getpid(), signum))
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, hook=hook)
    assert caught.value.code == 128 + signum
    assert signal.getsignal(signum) is before
    state = checkpoints.load(tmp_path / CHECKPOINT)
    assert 0 < state.step < STEPS and state.epoch == 1
    assert run(tmp_path) == uninterrupted["sgd"]


def test_a_signal_during_the_test_does_not_wait_for_it(tmp_path, uninterrupted):
    class Slow(list):
        def __getitem__(self, index):
            if index == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(index)

    arguments = {
        "task": "classification",
        "protocol": protocol(),
        "seed": 3,
        "checkpoint_dir": tmp_path,
        "accelerator": "cpu",
    }
    with pytest.raises(SystemExit):
        train(network(), Noisy(), Slow(held_out()), **arguments)
    state = checkpoints.load(tmp_path / CHECKPOINT)
    assert (state.epoch, state.step) == (0, STEPS)
    assert run(tmp_path) == uninterrupted["sgd"]


def test_a_second_ctrl_c_acts_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_signals_outside_the_main_thread_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def target():
        with StopRequest():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert seen == [before]


def test_workers_do_not_change_the_result(tmp_path, uninterrupted):
    assert run(tmp_path, protocol=protocol(workers=1)) == uninterrupted["sgd"]


def test_a_complete_training_is_read_not_repeated(tmp_path, uninterrupted):
    run(tmp_path)

    def touched():
        raise RuntimeError("trained again")

    model = network()
    assert run(tmp_path, hook=counting_hook(0, touched), model=model) == uninterrupted["sgd"]


def test_a_damaged_newest_checkpoint_falls_back(tmp_path, uninterrupted, caplog):
    hook = counting_hook(6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        run(tmp_path, hook=hook, protocol=often("sgd"))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    assert run(tmp_path) == uninterrupted["sgd"]
    assert "truncated or damaged" in caplog.text


def test_keyed_runs_of_other_settings_do_not_meet(tmp_path, uninterrupted):
    run(tmp_path, keyed=True, seed=4)
    assert run(tmp_path, keyed=True) == uninterrupted["sgd"]
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(CheckpointError, match="seed was 3 and is now 4"):
        run(tmp_path, seed=4)
    with pytest.raises(CheckpointError, match="network was"):
        run(tmp_path, model=network(seed=1))
    with pytest.raises(CheckpointError, match="data was nothing and is now"):
        run(tmp_path, key={"data": "sha256:0"})
    with pytest.raises(CheckpointError, match=r"protocol\.batch_size was 8 and is now 9"):
        run(tmp_path, protocol=protocol(batch_size=9))
    run(tmp_path, protocol=protocol(workers=1, checkpoint_minutes=3))  # these may change


def test_history_has_one_row_an_epoch(uninterrupted):
    _, rows = uninterrupted["sgd"]
    assert list(rows[0]) == [
        "epoch",
        "lr",
        "train_loss",
        "train_top1_error",
        "train_top5_error",
        "test_loss",
        "test_top1_error",
        "test_top5_error",
    ]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.005])


def test_tests_are_made_every_so_often_and_at_the_end(tmp_path):
    _, rows = run(tmp_path, protocol=protocol(test_every=2))
    assert [row["test_loss"] is not None for row in rows] == [False, True, True]
    write_history(rows, tmp_path / "history.csv")
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert re.search(r",,,,[0-9a-f]{8}$", lines[1]) and len(lines) == 4


def test_training_learns(tmp_path):
    """Two kinds of flat images, told apart within a few epochs."""
    images = [(torch.full((3, 4, 4), 1.0 if i % 2 else -1.0), i % 2) for i in range(16)]

    class Flat(torch.utils.data.Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, position):
            return images[position[1]]

    rows = train(
        network(),
        Flat(),
        images,
        task="classification",
        protocol=protocol(epochs=10),
        seed=0,
        checkpoint_dir=tmp_path,
        accelerator="cpu",
    )
    assert rows[-1]["test_top1_error"] == 0.0
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_restoration_trains_with_the_same_loop(tmp_path):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(6, 1, 12, 12, generator=generator) * 255

    class Denoising(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, position):
            return clean[position[1]] + 10, clean[position[1]]

    rows = train(
        nn.Conv2d(1, 1, 3, padding=1),
        Denoising(),
        [(image + 10, image) for image in clean],
        task="denoising",
        protocol=protocol("adam", batch_size=2),
        seed=0,
        checkpoint_dir=tmp_path,
        accelerator="cpu",
    )
    assert list(rows[-1])[2:] == ["train_loss", "train_psnr", "test_loss", "test_psnr"]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_the_teacher_guides_and_does_not_change(tmp_path, uninterrupted):
    teacher = network(seed=9).train()
    before = digest(teacher.state_dict())
    weights, _ = run(tmp_path / "a", teacher=teacher)
    assert digest(teacher.state_dict()) == before
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert weights != uninterrupted["sgd"][0]

    ignored = protocol(distillation={"temperature": 4, "weight": 0})
    weights, _ = run(tmp_path / "b", teacher=teacher, protocol=ignored)
    assert weights == uninterrupted["sgd"][0]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    class Poisoned(Noisy):
        def __getitem__(self, position):
            image, label = super().__getitem__(position)
            poisoned = position == (1, order[2 * BATCH])
            return (image * torch.nan if poisoned else image), label

    batches = EpochBatches(SAMPLES, BATCH, seed=3)
    batches.seek(1)
    order = [index for batch in batches for _, index in batch]
    model = network()
    with pytest.raises(TrainingError, match=r"epoch 2, step 3 of 4: the loss is not finite") as e:
        train(
            model,
            Poisoned(),
            None,
            task="classification",
            protocol=often("sgd"),
            seed=3,
            checkpoint_dir=tmp_path,
            accelerator="cpu",
        )
    assert str(tmp_path / CHECKPOINT) in str(e.value) and "now 0.05" in str(e.value)
    state = checkpoints.load(tmp_path / CHECKPOINT)
    assert (state.epoch, state.step) == (1, 2)
    assert all(t.isfinite().all() for t in state.model.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    huge = protocol(optimizer={"kind": "sgd", "lr": 1e38})
    with pytest.raises(TrainingError, match=r"step . of 4: (a weight|the loss) is not finite"):
        run(tmp_path, protocol=huge)
    for path in tmp_path.glob("*.safetensors"):
        assert all(t.isfinite().all() for t in checkpoints.load(path).model.values())


def test_the_random_state_of_the_caller_is_left_alone(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run(tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": protocol(batchsize=8)}, "did you mean 'batch_size'"),
        ({"protocol": {"epochs": 1}}, "lacks 'batch_size'"),
        ({"protocol": protocol(epochs=0)}, "'epochs' of the training protocol is 0"),
        ({"protocol": protocol(optimizer={"kind": "sgd"})}, "lacks 'lr'"),
        ({"protocol": protocol(optimizer={"kind": "sdg", "lr": 1})}, "did you mean 'sgd'"),
        ({"protocol": protocol(optimizer={"kind": "sgd", "lr": -1})}, "not possible"),
        ({"protocol": protocol(optimizer={"kind": "sgd", "lr": 1, "mo": 1})}, "no setting 'mo'"),
        ({"task": "denoising", "teacher": nn.Identity()}, "no distillation"),
        ({"seed": -1}, "seed is -1"),
        ({"protocol": protocol(precision="16-mixed")}, "did you mean 'bf16-mixed'"),
        ({"protocol": protocol(accumulate=9)}, "splits batches of 8 into 9"),
        ({"protocol": protocol(channels_last="yes")}, "is .yes.; it must be true or false"),
        ({"accelerator": "tpu"}, "accelerator 'tpu' does not exist"),
        ({"devices": 0}, "0 devices were asked for"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, **changes)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("samples", [3, 8, 16, 17, 21, 26])
def test_every_index_comes_once_an_epoch(samples, world):
    parts = [EpochBatches(samples, 8, seed=1, rank=rank, world=world) for rank in range(world)]
    orders = []
    for epoch in (0, 1):
        for part in parts:
            part.seek(epoch)
        whole = [list(part) for part in parts]
        assert {len(batches) for batches in whole} == {len(parts[0])}
        pairs = [pair for batches in whole for batch in batches for pair in batch]
        assert sorted(pairs) == [(epoch, index) for index in range(samples)]
        for step in range(len(parts[0])):
            sizes = [len(batches[step]) for batches in whole]
            assert sum(sizes) == parts[0].size(step)
            assert min(sizes) >= min(2, samples // world)
        orders.append([index for _, index in pairs])
    assert orders[0] != orders[1]


def test_batches_depend_on_seed_and_epoch_and_can_start_in_the_middle():
    batches = EpochBatches(26, 8, seed=1)
    batches.seek(4)
    whole = list(batches)
    assert [len(batch) for batch in whole] == [8, 8, 8, 2]
    batches.seek(4, 2)
    assert list(batches) == whole[2:]
    other = EpochBatches(26, 8, seed=2)
    other.seek(4)
    assert list(other) != whole
    whole = list(EpochBatches(28, 8, seed=1))
    halves = [EpochBatches(28, 8, seed=1, rank=rank, world=2) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(b) for b in whole]


def test_a_last_batch_of_one_joins_the_one_before():
    assert [len(batch) for batch in EpochBatches(17, 8, seed=0)] == [8, 9]
    assert [len(batch) for batch in EpochBatches(3, 1, seed=0)] == [1, 1, 1]
    assert [len(batch) for batch in EpochBatches(1, 8, seed=0)] == [1]
    with pytest.raises(ConfigError, match="cannot be shared by 4 devices"):
        EpochBatches(3, 8, seed=0, world=4)
    with pytest.raises(ConfigError, match="no image"):
        EpochBatches(0, 8, seed=0)


HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "a+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    file.write("process 4711 on elsewhere")
    file.flush()
    print("held", flush=True)
    time.sleep(0.5)
"""


def test_a_second_process_waits_for_the_first(tmp_path, caplog):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline().strip() == "held"
        with caplog.at_level(logging.WARNING), lock(tmp_path / "lock", wait=True):
            assert holder.wait(10) == 0
    assert "in use by process 4711 on elsewhere; waiting" in caplog.text
    assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LwdnaError, match="Cannot write"):
        run(tmp_path / "file" / "folder")


def test_checkpoint_is_json_and_tensors_only(tmp_path):
    """Nothing in the file can run code when it is read."""
    run(tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["finished"] is True


@pytest.mark.parametrize(
    ("kind", "signum", "status"),
    [
        ("adam", signal.SIGKILL, -signal.SIGKILL),
        ("sgd", signal.SIGTERM, 128 + signal.SIGTERM),
    ],
)
def test_killed_processes_go_on_to_the_same_bits(children, uninterrupted, kind, signum, status):
    folder, process = children[0] / kind, children[1][kind]
    for _ in range(1200):
        if (folder / "waiting").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signum)
    (folder / "go").touch()
    assert process.wait(60) == status
    state = checkpoints.load(folder / CHECKPOINT)
    epoch, step = KILL_AT
    assert (state.epoch, state.step) == (epoch, step + (signum == signal.SIGTERM))

    weights, rows = run(folder, kind)
    assert (weights, rows) == uninterrupted[kind]
    for name, history in (("whole", uninterrupted[kind][1]), ("resumed", rows)):
        write_history(history, folder / f"{name}.csv")
    assert (folder / "whole.csv").read_bytes() == (folder / "resumed.csv").read_bytes()


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2])
