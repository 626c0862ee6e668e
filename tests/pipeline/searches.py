"""Trainings and searches small enough for a test, which tests of rivals share."""

import signal

import pytest
import torch
from stopping import StopError, stop_at
from torch import nn
from trainings import BATCH, RandomImages, protocol

import lwdna
from lwdna.io.tensors import digest
from lwdna.rivals import measuring
from lwdna.training.loop import train
from lwdna.training.passes import ordinary

SAMPLES = 32
EXAMPLE = torch.empty(1, 3, 8, 8)


class Noise(RandomImages):
    """What is learned from; ``hook`` sees every access."""

    def __init__(self, hook=None):
        super().__init__(SAMPLES, classes=4, size=8, hook=hook)


class Residual(nn.Module):
    """A stem, a depthwise block with a shortcut, and a classifier."""

    def __init__(self, *, norm=True):
        super().__init__()
        norms = [nn.BatchNorm2d(16) if norm else nn.Identity() for _ in range(2)]
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), norms[0], nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.norm = norms[1]
        self.last = nn.Conv2d(16, 24, 3, stride=2, padding=1)
        self.classifier = nn.Linear(24, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.norm(self.pointwise(self.depthwise(x)))
        return self.classifier(torch.relu(self.last(x)).mean((2, 3)))


def network(*, norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Residual(norm=norm)


FLOPS, _ = lwdna.complexity(network(), EXAMPLE)


def trained(folder, model, passes=ordinary, *, hook=None, lr=0.05, **changes):
    """A training of the network; its weights and history."""
    rows = train(
        model,
        Noise(hook),
        None,
        task="classification",
        protocol=protocol(lr=lr, **changes),
        seed=3,
        checkpoint_dir=folder,
        accelerator="cpu",
        passes=passes,
    )
    return digest(model.state_dict()), rows


def searching(search, settings, **of_protocol):
    """A function ``(folder, **changes)`` that makes the search of a rival with changed settings.

    Args:
        search: the rival's.
        settings: a function that makes settings of changes.
        of_protocol: what is changed in the protocol.
    """

    def run(folder, *, model=None, hook=None, tests=None, devices=1, minutes=15, **changes):
        return search(
            network() if model is None else model,
            EXAMPLE,
            settings(**changes),
            train_data=Noise(hook),
            test_data=tests,
            task="classification",
            protocol=protocol(lr=0.05, checkpoint_minutes=minutes, **of_protocol),
            seed=3,
            checkpoint_dir=folder,
            accelerator="cpu",
            devices=devices,
        )

    return run


def weights(outcome):
    """The digest of the weights that a search leaves."""
    return digest(outcome.shrunk.model.state_dict())


def stopped_by_signal(run, folder, monkeypatch, caplog, *, asked):
    """What a search finds that got a signal while it measured sub-networks, and goes on.

    Args:
        run: what :func:`searching` gives.
        folder: of its checkpoints.
        monkeypatch, caplog: of the test.
        asked: how often the search had asked for signals when one came.
    """

    class Stopped(measuring.StopRequest):
        times = 0

        @property
        def requested(self):
            Stopped.times += 1
            if Stopped.times == asked:
                signal.raise_signal(signal.SIGTERM)
            return super().requested

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as left:
        patched.setattr(measuring, "StopRequest", Stopped)
        run(folder)
    assert left.value.code == 128 + signal.SIGTERM
    assert "stopped by a signal after" in caplog.text
    return run(folder)


def gone_on(run, folder, step):
    """What a search finds that was stopped after a step, all steps being saved, and goes on.

    Args:
        run: what :func:`searching` gives.
        folder: of its checkpoints.
        step: number of the step, from 1.
    """
    with pytest.raises(StopError):
        run(folder, hook=stop_at(step * BATCH + 1), minutes=1e-9)
    return run(folder)
