"""A training small enough for every device, which tests of devices share."""

import torch
from torch import nn

from lwdna.training.loop import train

SAMPLES, EPOCHS, BATCH = 44, 3, 8


class RandomImages(torch.utils.data.Dataset):
    """Labelled images drawn at random.

    Args:
        samples: how many.
        classes: of their labels.
        size: of a side in pixels.
        hook: called with every epoch and index asked for.
    """

    def __init__(self, samples, *, classes, size, hook=None):
        generator = torch.Generator().manual_seed(5)
        self.images = torch.randn(samples, 3, size, size, generator=generator)
        self.labels = torch.randint(0, classes, (samples,), generator=generator).tolist()
        self.hook = hook

    def __len__(self):
        return len(self.images)

    def __getitem__(self, position):
        epoch, index = position
        if self.hook is not None:
            self.hook(epoch, index)
        return self.images[index], self.labels[index]


class Images(RandomImages):
    """What is learned from; ``hook`` sees every access."""

    def __init__(self, hook=None):
        super().__init__(SAMPLES, classes=6, size=8, hook=hook)


def network(*, norm, dropout=0.0, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 6),
        )


def protocol(*, lr=0.1, **changes):
    return {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "optimizer": {"kind": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": 1e-4},
        "schedule": {"kind": "cosine"},
        **changes,
    }


def run(folder, model, data=None, **changes):
    """A training; its rows."""
    arguments = {"protocol": protocol(), "seed": 3, "accelerator": "cpu", **changes}
    tests = [(Images().images[i], Images().labels[i]) for i in range(10)]
    return train(
        model,
        data or Images(),
        tests,
        task="classification",
        checkpoint_dir=folder,
        **arguments,
    )


def losses(rows, kind="train"):
    return [row[f"{kind}_loss"] for row in rows]
