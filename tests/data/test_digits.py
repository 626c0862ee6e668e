"""The digits as a classification data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lwdna.data.digits import digits_store
from lwdna.data.stores import Store
from lwdna.errors import ConfigError


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("digits")
    counts = digits_store(folder / "train.h5", folder / "test.h5", train_fraction=0.15, seed=1)
    stores = Store(folder / "train.h5"), Store(folder / "test.h5")
    assert counts == (len(stores[0]), len(stores[1]))
    return stores


def test_the_split_is_disjoint_and_complete(split: tuple[Store, Store]) -> None:
    train, test = (set(store.sources()) for store in split)
    assert not train & test
    assert len(train | test) == 1797


def test_the_split_is_stratified(split: tuple[Store, Store]) -> None:
    train, test = (np.bincount(store.labels, minlength=10) for store in split)
    assert np.all(np.abs(train - 0.15 * (train + test)) <= 0.5)


def test_images_and_labels_belong_together(split: tuple[Store, Store]) -> None:
    data = load_digits()
    for store in split:
        assert store.shapes["images"][1:] == (32, 32, 3)
        assert store.classes == tuple("0123456789")
        for item, source in enumerate(store.sources()[:20]):
            original = int(source.split()[1])
            assert store.labels[item] == data.target[original]
            image = store[item].astype(float)
            assert np.ptp(image, axis=2).max() == 0
            means = image[:, :, 0].reshape(8, 4, 8, 4).mean(axis=(1, 3))
            assert np.corrcoef(means.ravel(), data.images[original].ravel())[0, 1] > 0.97
        assert store[0].max() > 230 and store[0].min() == 0


def test_the_seed_decides(split: tuple[Store, Store], tmp_path: Path) -> None:
    for seed, same in ((1, True), (2, False)):
        train, test = tmp_path / f"a{seed}.h5", tmp_path / f"b{seed}.h5"
        digits_store(train, test, train_fraction=0.15, seed=seed)
        assert (train.read_bytes() == split[0].path.read_bytes()) == same
        assert (test.read_bytes() == split[1].path.read_bytes()) == same


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5])
def test_impossible_fraction(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        digits_store(tmp_path / "a", tmp_path / "b", train_fraction=fraction, seed=1)


def test_impossible_seed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed"):
        digits_store(tmp_path / "a", tmp_path / "b", train_fraction=0.5, seed=-1)
