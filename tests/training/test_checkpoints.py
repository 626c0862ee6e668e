import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lwdna.errors import CheckpointError
from lwdna.io.tensors import digest
from lwdna.training.checkpoints import Checkpoint, load, load_latest, previous, save

KEY = {"seed": 1, "protocol": {"optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}, "epochs": 3}}


def make(optimizer, steps=3):
    """A small trained network with shared and non-contiguous tensors, and its optimiser."""
    torch.manual_seed(0)
    tied = nn.Linear(16, 16)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), tied, tied)
    model.to(memory_format=torch.channels_last)
    model[1].register_buffer("mask", torch.tensor([True, False]))
    optimizer = optimizer(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3, 4, 4)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def snapshot(model, optimizer, **changes):
    return Checkpoint(KEY, dict(model.state_dict()), optimizer.state_dict()["state"], **changes)


OPTIMIZERS = {
    "sgd with momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-4),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-4),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_and_optimizer_come_back_bit_for_bit(tmp_path, name):
    model, optimizer = make(OPTIMIZERS[name])
    save(tmp_path / "c.safetensors", snapshot(model, optimizer))
    back = load(tmp_path / "c.safetensors", KEY)

    twin, fresh = make(OPTIMIZERS[name], steps=0)
    twin.load_state_dict(back.model)
    groups = fresh.state_dict()["param_groups"]
    fresh.load_state_dict({"state": back.optimizer, "param_groups": groups})
    assert digest(twin.state_dict()) == digest(model.state_dict())
    assert back.model["1.num_batches_tracked"].dtype == torch.int64
    assert back.model["1.mask"].tolist() == [True, False]
    for number, quantities in optimizer.state_dict()["state"].items():
        for quantity, value in quantities.items():
            other = fresh.state_dict()["state"][number][quantity]
            if isinstance(value, torch.Tensor):
                assert other.dtype == value.dtype and torch.equal(other, value)
            else:
                assert other == value

    images = torch.randn(5, 3, 4, 4)
    for network, its in ((model, optimizer), (twin, fresh)):
        its.zero_grad()
        network(images).square().sum().backward()
        its.step()
    assert digest(twin.state_dict()) == digest(model.state_dict())


def test_numbers_come_back_exactly(tmp_path):
    sums = {"loss": 0.1 + 0.2, "n": 7.0}
    rows = [{"epoch": 1, "lr": 1e-4 / 3, "test_loss": None}]
    checkpoint = Checkpoint(KEY, epoch=1, step=5, sums=sums, history=rows, finished=True)
    save(tmp_path / "c.safetensors", checkpoint)
    assert load(tmp_path / "c.safetensors") == checkpoint


def test_the_one_before_is_kept(tmp_path):
    path = tmp_path / "c.safetensors"
    assert load_latest(path, KEY) is None
    for epoch in (1, 2, 3):
        save(path, Checkpoint(KEY, epoch=epoch))
    assert load(path).epoch == 3
    assert load(previous(path)).epoch == 2
    path.unlink()
    assert load_latest(path, KEY).epoch == 2


def spoil_truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def spoil_flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_header(path):
    content = bytearray(path.read_bytes())
    content[20] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [spoil_truncate, spoil_flip, spoil_empty, spoil_header])
def test_a_damaged_file_is_named_and_the_one_before_used(tmp_path, spoil, caplog):
    path = tmp_path / "c.safetensors"
    model = {"weight": torch.randn(4, 4)}
    save(path, Checkpoint(KEY, model, epoch=1))
    save(path, Checkpoint(KEY, model, epoch=2))
    spoil(path)
    with pytest.raises(CheckpointError, match=r"c\.safetensors' is (truncated or )?damaged"):
        load(path)
    with caplog.at_level(logging.WARNING):
        assert load_latest(path, KEY).epoch == 1
    assert "put aside" in caplog.text
    # A new checkpoint must not push the only whole one out in favour of the damaged one.
    save(path, Checkpoint(KEY, model, epoch=2))
    assert (load(path).epoch, load(previous(path)).epoch) == (2, 1)


def test_no_whole_file_left_is_an_error(tmp_path):
    path = tmp_path / "c.safetensors"
    save(path, Checkpoint(KEY))
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="No whole checkpoint is left"):
        load_latest(path, KEY)


def test_other_settings_are_refused_and_named(tmp_path):
    path = tmp_path / "c.safetensors"
    save(path, Checkpoint(KEY))
    save(path, Checkpoint(KEY))
    other = {"seed": 1, "protocol": {"optimizer": {"lr": 0.2, "betas": (0.9, 0.99)}}}
    with pytest.raises(CheckpointError) as caught:
        load_latest(path, other)
    assert "protocol.optimizer.lr was 0.1 and is now 0.2" in str(caught.value)
    assert "protocol.epochs was 3 and is now nothing" in str(caught.value)
    assert "betas" not in str(caught.value) and "seed" not in str(caught.value)
    assert path.exists()


def test_foreign_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        load_latest(path, KEY)
    assert path.exists()


def test_digest_depends_on_names_shapes_types_and_values():
    base = digest({"a": torch.zeros(4)})
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.tensor([0.0, 0, 0, 1])},
    ]
    assert digest({"a": torch.zeros(4)}) == base
    assert base not in {digest(other) for other in others}
