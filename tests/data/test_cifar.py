"""CIFAR from miniatures of its official archives, byte for byte in their format."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lwdna.data import cifar
from lwdna.data.cifar import cifar_store
from lwdna.data.stores import Store
from lwdna.data.versions import Version
from lwdna.errors import ConfigError, DataError
from lwdna.steps import _datasets, pack


class Python2(pickle._Pickler):
    """Pickles as Python 2 did, whose text was bytes: so are the official archives."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_text(self, text: bytes | str) -> None:
        data = text if isinstance(text, bytes) else text.encode("latin-1")
        self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_text


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.", b"numpy.core.")


def archive(path: Path, files: dict[str, bytes]) -> str:
    """Write an archive; its checksum."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = [3, 0, 9, 1, 1, 2, 8, 7, 5, 4, 6, 0]
NAMES = [f"image_{index}.png" for index in range(12)]


def batch(first: int, last: int, labels: str) -> bytes:
    planes = PIXELS[first:last].transpose(0, 3, 1, 2).reshape(last - first, 3072)
    content = {
        "batch_label": f"batch {first}",
        labels: LABELS[first:last],
        "data": np.ascontiguousarray(planes),
        "filenames": NAMES[first:last],
    }
    return pickled(content)


@pytest.fixture
def cifar10(tmp_path: Path) -> tuple[Path, str]:
    folder = "cifar-10-batches-py"
    names = [f"class {number}" for number in range(10)]
    files = {f"{folder}/data_batch_{n + 1}": batch(2 * n, 2 * n + 2, "labels") for n in range(5)}
    files |= {
        f"{folder}/test_batch": batch(10, 12, "labels"),
        f"{folder}/batches.meta": pickled({"label_names": names, "num_vis": 3072}),
        f"{folder}/readme.html": b"<p>",
    }
    return tmp_path / "cifar-10-python.tar.gz", archive(tmp_path / "cifar-10-python.tar.gz", files)


@pytest.mark.parametrize(("split", "part"), [("train", slice(0, 10)), ("test", slice(10, 12))])
def test_cifar10(cifar10: tuple[Path, str], tmp_path: Path, split: str, part: slice) -> None:
    path, checksum = cifar10
    output = tmp_path / "s.h5"
    count = cifar_store(path, output, kind="cifar10", split=split, checksum=checksum)
    store = Store(output)
    assert count == len(store) == part.stop - part.start
    np.testing.assert_array_equal(np.stack(list(store)), PIXELS[part])
    assert store.labels.tolist() == LABELS[part]
    assert store.sources() == NAMES[part]
    assert store.classes == tuple(f"class {number}" for number in range(10))


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    files = {
        "cifar-100-python/train": batch(0, 8, "fine_labels"),
        "cifar-100-python/test": batch(8, 12, "fine_labels"),
        "cifar-100-python/meta": pickled(
            {"fine_label_names": [f"c{n}" for n in range(100)], "coarse_label_names": ["x"]}
        ),
    }
    checksum = archive(tmp_path / "a.tar.gz", files)
    for split, part in (("train", slice(0, 8)), ("test", slice(8, 12))):
        output = tmp_path / f"{split}.h5"
        cifar_store(tmp_path / "a.tar.gz", output, kind="cifar100", split=split, checksum=checksum)
        store = Store(output)
        np.testing.assert_array_equal(np.stack(list(store)), PIXELS[part])
        assert store.labels.tolist() == LABELS[part] and len(store.classes) == 100


def test_nothing_is_read_before_the_checksum(cifar10: tuple[Path, str], tmp_path: Path) -> None:
    path, checksum = cifar10
    options = {"kind": "cifar10", "split": "test"}
    with pytest.raises(ConfigError, match="not read without"):
        cifar_store(path, tmp_path / "s.h5", checksum="", **options)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="is expected"):
        cifar_store(path, tmp_path / "s.h5", checksum=checksum, **options)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        cifar_store(path, tmp_path / "s.h5", checksum=checksum, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_step_takes_the_checksum_from_the_table(
    cifar10: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, checksum = cifar10
    row = Version(path.name, "https://here", None, checksum, "none", "download")
    arguments = [str(path), "--kind", "cifar10", "--split", "test"]
    arguments += ["--output", str(tmp_path / "s.h5")]
    for module in (cifar, _datasets):
        monkeypatch.setattr(module, "read_versions", lambda: {path.name: row})
    assert CliRunner().invoke(pack.main, arguments).exit_code == 0
    assert len(Store(tmp_path / "s.h5")) == 2
    for module in (cifar, _datasets):
        monkeypatch.setattr(module, "read_versions", dict)
    assert isinstance(CliRunner().invoke(pack.main, arguments).exception, ConfigError)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("content", ["evil", "no pickle", "a list", "no labels", "floats"])
def test_even_a_trusted_archive_cannot_do_anything(tmp_path: Path, content: str) -> None:
    data = {
        "evil": pickle.dumps(Evil(tmp_path / "harm"), protocol=2),
        "no pickle": b"\x80\x02}q\x01",
        "a list": pickled([1, 2]),
        "no labels": pickled({"data": PIXELS.reshape(12, -1)}),
        "floats": pickled({"data": np.zeros((1, 3072)), "labels": [0], "filenames": ["x"]}),
    }[content]
    files = {
        "cifar-10-batches-py/test_batch": data,
        "cifar-10-batches-py/batches.meta": pickled({"label_names": ["a"]}),
    }
    checksum = archive(tmp_path / "a.tar.gz", files)
    with pytest.raises(DataError, match="does not hold what the official archive does"):
        cifar_store(
            *(tmp_path / "a.tar.gz", tmp_path / "s.h5"),
            kind="cifar10",
            split="test",
            checksum=checksum,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
