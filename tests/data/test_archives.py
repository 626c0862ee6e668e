"""Folders and zips are read alike, and hostile zips do no harm."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from damage import flips

from lwdna.data import archives
from lwdna.data.archives import archive_of, open_tree
from lwdna.errors import DataError

FILES = {
    "cat/1.txt": b"one",
    "cat/deep/2.txt": b"two" * 1000,
    "dog/a b.txt": b"three",
    "top.txt": b"four",
    ".hidden/3.txt": b"no",
    "cat/.4.txt": b"no",
}


def write_zip(path: Path, files: dict[str, bytes], prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(prefix + name, content)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with open_tree(path) as tree:
        found = {}
        for name in tree.names:
            with tree.file(name).open("rb") as file:
                found[name] = file.read()
        return found


def test_folder_and_zip_hold_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", FILES)
    (folder / "empty").mkdir()
    archive = write_zip(tmp_path / "a.ZIP", FILES | {"__MACOSX/cat/5.txt": b"no"})
    expected = {name: FILES[name] for name in list(FILES)[:4]}
    assert contents(folder) == contents(archive) == expected
    assert list(contents(folder)) == ["cat/1.txt", "cat/deep/2.txt", "dog/a b.txt", "top.txt"]
    with open_tree(folder) as tree, open_tree(archive) as packed:
        assert tree.folders == ["cat", "dog", "empty"] and packed.folders == ["cat", "dog"]
        assert packed.file("cat/1.txt").name == "1.txt"
        assert str(packed.file("cat/1.txt")) == f"{archive}/cat/1.txt"


def test_a_folder_inside_a_zip(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES)
    assert contents(archive / "cat") == {"1.txt": b"one", "deep/2.txt": b"two" * 1000}
    with (
        pytest.raises(DataError, match=r"a\.zip' has no files in 'ca/'"),
        open_tree(archive / "ca"),
    ):
        pass


def test_class_folders_may_be_links_and_deeper_ones_may_go_round(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", {"1.txt": b"one"})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "folder")
    assert contents(tmp_path / "folder") == {"cat/1.txt": b"one"}


def test_which_archive_a_path_names(tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    assert archive_of(tmp_path / "folder.zip" / "x") is None
    assert archive_of("data/a.zip/b/c") == archive_of("data/a.zip") == Path("data/a.zip")
    assert archive_of("data/a") is None


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/evil.png", "..\\evil.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "a.zip", {"good.png": b"", name: b"evil"})
    with pytest.raises(DataError, match=r"evil\.png', a link or a name that leads out"):
        contents(archive)


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"link\.png', a link"):
        contents(tmp_path / "a.zip")


def test_bombs_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"{n}.png": bytes(10_000) for n in range(20)})
    contents(archive)
    monkeypatch.setattr(archives, "_FREE_BYTES", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(DataError, match="take 200,000 bytes, more than images"):
        contents(archive)


def test_a_size_that_lies_is_noticed(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"1.png": bytes(range(256)) * 40})
    data = archive.read_bytes()
    size = (256 * 40).to_bytes(4, "little")
    assert data.count(size) == 2
    archive.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"a\.zip/1\.png' cannot be read"):
        contents(archive)


def test_a_file_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("1.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("1.png", b"two")
    with pytest.raises(DataError, match=r"holds '1\.png' twice"):
        contents(tmp_path / "a.zip")


@pytest.mark.parametrize("offsets", [(6, 8)])
def test_encrypted_files_are_refused(tmp_path: Path, offsets: tuple[int, int]) -> None:
    archive = write_zip(tmp_path / "a.zip", {"1.png": b"secret"})
    data = bytearray(archive.read_bytes())
    for signature, offset in zip((b"PK\3\4", b"PK\1\2"), offsets, strict=True):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"1\.png' cannot be read.*password"):
        contents(archive)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    data = write_zip(tmp_path / "a.zip", {"1.png": content}).read_bytes()
    changed = tmp_path / "b.zip"
    for _ in flips(changed, data, every=7, mask=0x20):
        try:
            found = contents(changed)
        except DataError as error:
            assert "b.zip" in str(error)
        else:
            # Unimportant bits, such as times; or another name of the same file.
            assert list(found.values()) in ([content], [])
    for length in range(0, len(data), 13):
        changed.write_bytes(data[:length])
        with pytest.raises(DataError, match="not a whole zip archive"):
            contents(changed)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"archive .*a\.zip' does not exist"):
        contents(tmp_path / "a.zip")
    with pytest.raises(DataError, match=r"folder .*x' does not exist"):
        contents(tmp_path / "x")
