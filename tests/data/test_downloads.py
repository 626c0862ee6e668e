"""Downloads from a server that fails: whole and right in the end, or refused in a sentence."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from damage import mount, needs_mount, small_disk
from serving import Files

from lwdna.data import downloads
from lwdna.data.downloads import download, require
from lwdna.data.versions import Version, read_versions, version_of
from lwdna.errors import DataError, LwdnaError

NAME = "Some images.zip"
CONTENT = np.random.default_rng(0).bytes(500_000)
CHUNK = 2**16
"""What is lost of a part is less than this."""
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "WAIT_S", 0.001)


def version(server: Files, *, checksum: str = f"sha256:{SHA256}", size: int | None = None):
    server.files.setdefault("file", CONTENT)
    return Version(NAME, f"{server.url}/file", size, checksum, "none", "download")


def hidden(folder: Path) -> list[str]:
    """What lies beside the file, but the lock."""
    return sorted(p.name for p in folder.iterdir() if p.name not in {NAME, f".{NAME}.lock"})


def arrived(folder: Path) -> None:
    assert (folder / NAME).read_bytes() == CONTENT
    assert hidden(folder) == [f"{NAME}.sha256"]
    assert (folder / f"{NAME}.sha256").read_text() == f"{SHA256}  {NAME}\n"


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize(
    "checksum", ["", f"sha256:{SHA256}", f"md5:{hashlib.md5(CONTENT).hexdigest()}"]
)
def test_a_file_arrives_and_its_checksum_is_noted(
    server: Files, tmp_path: Path, checksum: str, size: int | None
) -> None:
    download(version(server, checksum=checksum, size=size), tmp_path / "new" / NAME)
    arrived(tmp_path / "new")
    assert server.asked == [None]


@pytest.mark.parametrize("checksum", ["", f"sha256:{SHA256}"])
def test_a_cut_connection_is_resumed(server: Files, tmp_path: Path, checksum: str) -> None:
    server.cuts = [2 * CHUNK, 3 * CHUNK]
    download(version(server, checksum=checksum), tmp_path / NAME)
    arrived(tmp_path)
    assert server.asked == [None, f"bytes={2 * CHUNK}-", f"bytes={5 * CHUNK}-"]
    assert server.sent == len(CONTENT)


def test_a_silent_server_is_asked_again(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    server.cuts, server.stalls = [2 * CHUNK], [True]
    download(version(server), tmp_path / NAME)
    arrived(tmp_path)
    assert len(server.asked) == 2 and server.asked[1] is not None


def test_a_later_run_goes_on(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.cuts = [2 * CHUNK]
    with pytest.raises(DataError, match="what has arrived is kept"):
        download(version(server), tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / f".{NAME}.part").stat().st_size == 2 * CHUNK
    download(version(server), tmp_path / NAME)
    arrived(tmp_path)
    assert server.sent == len(CONTENT)


def test_a_killed_download_goes_on(server: Files, tmp_path: Path) -> None:
    """Killed by SIGKILL when half of it has arrived and the server has fallen silent."""
    server.cuts, server.stalls = [250_000], [True]
    row = version(server)
    code = (
        "import sys; from lwdna.data.downloads import Version, download;"
        "download(Version(*sys.argv[1:3], None, sys.argv[3], '', 'download'), sys.argv[4])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, row.name, row.url, row.checksum, str(tmp_path / NAME)],
        stderr=subprocess.DEVNULL,
    )
    part = tmp_path / f".{NAME}.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size > CHUNK):
        pass
    process.kill()
    process.wait()
    assert not (tmp_path / NAME).exists()
    download(row, tmp_path / NAME)
    arrived(tmp_path)
    assert server.asked[1].startswith("bytes=") and server.asked[1] != "bytes=0-"


def test_a_part_that_is_complete_is_not_asked_for_again(server: Files, tmp_path: Path) -> None:
    part = tmp_path / f".{NAME}.part"
    part.write_bytes(CONTENT)
    download(version(server, size=len(CONTENT)), tmp_path / NAME)
    assert server.asked == []
    arrived(tmp_path)
    (tmp_path / NAME).rename(part)
    download(version(server), tmp_path / NAME)
    assert server.asked == [f"bytes={len(CONTENT)}-"]
    arrived(tmp_path)


def test_a_part_longer_than_the_file_is_thrown_away(server: Files, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(CONTENT + b"more")
    download(version(server), tmp_path / NAME)
    arrived(tmp_path)


def test_a_server_that_sends_no_parts_starts_over(server: Files, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [2 * CHUNK]
    download(version(server), tmp_path / NAME)
    arrived(tmp_path)
    assert server.sent == len(CONTENT) + 2 * CHUNK


@pytest.mark.parametrize("etag", ['"two"', None])
def test_parts_of_different_versions_are_not_mixed(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, etag: str | None
) -> None:
    """Without a known checksum nothing would tell that the file has changed in between."""
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.etag = '"one"' if etag else None
    server.files["file"] = b"an older version" * 50_000
    server.cuts = [2 * CHUNK]
    with pytest.raises(DataError, match="kept"):
        download(version(server, checksum=""), tmp_path / NAME)
    server.files["file"], server.etag = CONTENT, etag
    download(version(server, checksum=""), tmp_path / NAME)
    arrived(tmp_path)


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT + b"x"])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_wrong_bytes_are_deleted(
    server: Files, tmp_path: Path, wrong: bytes, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    server.files["file"] = wrong
    row = version(server, size=size)
    with pytest.raises(DataError, match=r"are expected; they were deleted|what has arrived"):
        download(row, tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
    server.files["file"] = CONTENT
    download(row, tmp_path / NAME)
    arrived(tmp_path)


def test_a_noted_checksum_is_compared_ever_after(server: Files, tmp_path: Path) -> None:
    download(version(server, checksum=""), tmp_path / NAME)
    require(tmp_path / NAME, {})
    (tmp_path / NAME).unlink()
    server.files["file"] = b"something else"
    with pytest.raises(DataError, match=f"14 bytes .*{SHA256}.*deleted"):
        download(version(server, checksum=""), tmp_path / NAME)
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=f"{SHA256} is expected"):
        require(tmp_path / NAME, {})
    (tmp_path / f"{NAME}.sha256").write_text("what?\n")
    with pytest.raises(DataError, match="holds no checksum; delete it"):
        require(tmp_path / NAME, {})


def test_what_the_server_does_not_have_is_said_at_once(server: Files, tmp_path: Path) -> None:
    row = version(server)
    server.files.clear()
    with pytest.raises(DataError, match=r"the server answers 404.*'?another way"):
        download(row, tmp_path / NAME)
    assert len(server.asked) == 1 and not (tmp_path / NAME).exists()


def test_a_busy_server_is_asked_again_but_not_forever(server: Files, tmp_path: Path) -> None:
    server.statuses = [503, 500, None]
    download(version(server), tmp_path / NAME)
    arrived(tmp_path)
    (tmp_path / NAME).unlink()
    server.statuses = [503] * 100
    with pytest.raises(DataError, match="503"):
        download(version(server), tmp_path / NAME)
    assert len(server.asked) == 3 + downloads.ATTEMPTS


def test_no_server_at_all(tmp_path: Path) -> None:
    row = Version(NAME, "http://127.0.0.1:9/file", None, "", "", "download")
    with pytest.raises(DataError, match="could not be downloaded"):
        download(row, tmp_path / NAME)


def test_what_is_there_is_left_alone(server: Files, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    download(version(server), tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"mine" and server.asked == []


@needs_mount
def test_a_full_disk_keeps_what_has_arrived(server: Files, tmp_path: Path) -> None:
    with small_disk(tmp_path, "300k"):
        with pytest.raises(LwdnaError, match=r"space.*the download goes on"):
            download(version(server), tmp_path / NAME)
        assert mount(tmp_path, "remount,size=2m")
        download(version(server), tmp_path / NAME)
        arrived(tmp_path)
        assert server.asked[1] is not None


def test_the_table_that_comes_along() -> None:
    versions = read_versions()
    assert len(versions) == 15
    for row in versions.values():
        assert row.licence and row.how and row.url.startswith("http")
    for name in ("DIV2K_train_HR.zip", "cifar-10-python.tar.gz", "tiny-imagenet-200.zip"):
        assert versions[name].downloadable and versions[name].checksum and versions[name].bytes
    assert not versions["imagenet"].downloadable


def test_torchvision_knows_the_same_cifar() -> None:
    from torchvision.datasets import CIFAR10, CIFAR100

    versions = read_versions()
    for theirs in (CIFAR10, CIFAR100):
        row = versions[theirs.filename]
        assert (row.url, row.checksum) == (theirs.url, f"md5:{theirs.tgz_md5}")


@pytest.mark.parametrize(
    "line",
    ["a,u,many,,l,h", "a,u,1,sha256:12,l,h", "a/b,u,,,l,h", "a,u,,,l,h\na,u,,,l,h", 'a,"u'],
)
def test_a_wrong_table_is_refused(tmp_path: Path, line: str) -> None:
    table = tmp_path / "versions.csv"
    table.write_text(f"name,url,bytes,checksum,licence,how\n{line}\n")
    with pytest.raises(DataError, match=r"versions\.csv' cannot be read"):
        read_versions(table)


def test_a_path_is_about_a_row_by_its_name_or_folder() -> None:
    versions = read_versions()
    for path, name in (
        ("data/DIV2K_train_HR.zip", "DIV2K_train_HR.zip"),
        ("/large disk/DIV2K_train_HR.zip/HR", "DIV2K_train_HR.zip"),
        ("data/imagenet/val", "imagenet"),
        ("data/Set5", "Set5"),
    ):
        assert version_of(path, versions).name == name
    assert version_of("data/mine", versions) is None


def test_what_is_missing_is_said_with_where_it_is_had(tmp_path: Path) -> None:
    versions = read_versions()
    with pytest.raises(DataError, match=r"Set5' does not exist.*benchmark/Set5/HR.*licence"):
        require(tmp_path / "Set5", versions)
    with pytest.raises(DataError, match=r"mine' does not exist.*put the images there"):
        require(tmp_path / "mine", versions)
    with pytest.raises(DataError, match=r"valid_HR.zip' does not exist.*https://data.vision"):
        require(tmp_path / "DIV2K_valid_HR.zip", versions)
    (tmp_path / "DIV2K_valid_HR.zip").write_bytes(b"a local copy, damaged")
    with pytest.raises(DataError, match="rename it if it is your own"):
        require(tmp_path / "DIV2K_valid_HR.zip", versions)
