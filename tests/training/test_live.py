"""A training is seen while it runs: its history so far, a line an epoch, the bar, TensorBoard."""

import importlib.util
import logging
import sys

import pytest
from stopping import StopError, stop_at
from trainings import EPOCHS, SAMPLES, Images, network, protocol, run

from lwdna.errors import ConfigError
from lwdna.training.live import HISTORY
from lwdna.training.loop import write_history


def after(epochs):
    """Images whose reading stops in the middle of the epoch after ``epochs``."""
    return Images(stop_at(epochs * SAMPLES + SAMPLES // 2))


def train(folder, data=None, **changes):
    return run(folder, network(norm=True), data, **changes)


def written(rows, folder):
    """The bytes of a history that is written in the end."""
    write_history(rows, folder / "final.csv")
    return (folder / "final.csv").read_bytes()


def test_the_history_is_whole_after_every_epoch(tmp_path):
    rows = train(tmp_path / "whole")
    for epochs in range(1, EPOCHS):
        with pytest.raises(StopError):
            train(tmp_path / "killed", after(1))  # from where the one before it was killed
        live = (tmp_path / "killed" / HISTORY).read_bytes()
        assert live == written(rows[:epochs], tmp_path)
    assert train(tmp_path / "killed") == rows
    for folder in ("killed", "whole"):
        assert (tmp_path / folder / HISTORY).read_bytes() == written(rows, tmp_path)


def test_it_is_there_again_where_all_is_done(tmp_path):
    rows = train(tmp_path)
    (tmp_path / HISTORY).unlink()
    train(tmp_path)
    assert (tmp_path / HISTORY).read_bytes() == written(rows, tmp_path)


def test_that_of_other_settings_is_not_taken_for_this_training(tmp_path):
    train(tmp_path, keyed=True)
    with pytest.raises(StopError):
        train(tmp_path, after(0), keyed=True, protocol=protocol(lr=0.2))
    assert not (tmp_path / HISTORY).exists()


def test_every_epoch_has_a_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = train(tmp_path, description="ours", protocol=protocol(test_every=2))
    lines = [line for line in caplog.messages if line.startswith("ours: epoch ")]
    assert [line.split(" in ")[0] for line in lines] == [f"ours: epoch {n} of 3" for n in (1, 2, 3)]
    for row, line in zip(rows, lines, strict=True):
        assert f"train loss {row['train_loss']:.4g}, top1_error " in line
        assert ("test loss" in line) == (row["test_loss"] is not None)
    assert f"test loss {rows[-1]['test_loss']:.4g}" in lines[-1]


def test_the_bar_shows_the_last_test(tmp_path, capfd):
    rows = train(tmp_path)
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert f"test_top1_error={rows[-1]['test_top1_error']:.4g}" in last, last


def test_tensorboard_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="not installed; run `pip install tensorboard`"):
        train(tmp_path, tensorboard=True)
    train(tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard, an extra"
)
def test_events_are_whole_after_a_crash(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(StopError):
        train(tmp_path, after(1), tensorboard=True)
    rows = train(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path)).Reload()
    for tag in ("loss/train", "loss/test", "top1_error/test", "lr"):
        part, _, name = tag.partition("/")
        column = f"{name}_{part}" if name else part
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [1, 2, 3]
        assert [value for _, value in found] == pytest.approx([row[column] for row in rows])
