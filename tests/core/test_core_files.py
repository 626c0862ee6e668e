"""Atomic writes: whole or not at all."""

import errno
import os
import resource
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from lwdna.errors import LwdnaError
from lwdna.files import atomic, atomic_folder, hold, write_text


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@contextmanager
def full_disk():
    """Let no file grow beyond 4 KiB; only around the write, for pytest writes files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_content_appears_at_the_end_and_whole(tmp_path):
    target = tmp_path / "new" / "folders" / "table.csv"
    with atomic(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("a,b\n", encoding="utf-8")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "a,b\n"
    assert names(target.parent) == ["table.csv"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "old")
    with atomic(target) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert target.read_text(encoding="utf-8") == "old"
    assert target.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "x.txt"
    write_text(target, "old")

    def half():
        with atomic(target) as temporary:
            temporary.write_text("ha", encoding="utf-8")
            raise error

    with pytest.raises(error):
        half()
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["x.txt"]


def test_text_is_utf8_with_unix_line_ends(tmp_path):
    write_text(tmp_path / "x", "é\n≥\n")
    assert (tmp_path / "x").read_bytes() == "é\n≥\n".encode()


def test_permissions_are_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "")
        assert os.umask(0o027) == 0o027  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "old")
    message = r"Cannot write '.*x\.txt': .*free some space"
    with pytest.raises(LwdnaError, match=message), full_disk():
        write_text(target, "n" * 100_000)
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("below", ["x", "a/x", "a/b/c/x"])
def test_path_below_a_file(tmp_path, below):
    (tmp_path / "file").write_text("old", encoding="utf-8")
    with pytest.raises(LwdnaError, match="Cannot write"):
        write_text(tmp_path / "file" / below, "new")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"


def test_target_is_a_folder(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(LwdnaError, match="directory"):
        write_text(tmp_path / "x", "new")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("below", ["x", "a/x", "a/b/c/x"])
def test_folder_that_is_not_writable(tmp_path, below):
    """As the superuser, for whom every folder is writable, a helper of another user tries."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    if os.geteuid() != 0:
        with pytest.raises(LwdnaError, match=r"Cannot write.*make the folder writable"):
            write_text(folder / below, "new")
        return
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from lwdna.files import write_text\n"
        "from lwdna.errors import LwdnaError\n"
        "os.chdir(sys.argv[2]); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: write_text(sys.argv[3], 'new')\n"
        "except LwdnaError as error: print(error)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, root, str(folder), below],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "make the folder writable" in done.stdout


def test_an_error_about_another_file_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "x"):
        (tmp_path / "source").read_bytes()
    assert names(tmp_path) == []


def test_an_error_without_a_file_name_is_the_targets(tmp_path):
    with pytest.raises(LwdnaError, match="No space left"), atomic(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_lock_is_held_until_its_process_ends(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from lwdna.files import hold\n"
        "hold(sys.argv[2]); print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LwdnaError, match=f"process {holder.pid} on "):
            hold(tmp_path / "lock")
        holder.kill()
        holder.wait()
    hold(tmp_path / "lock")
    # The same process asks again: it holds the lock already.
    hold(tmp_path / "lock")


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_left_alone(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from lwdna.files import atomic\n"
        "with atomic(sys.argv[2]): print('open', flush=True); sys.stdin.read()\n"
    )
    target = tmp_path / "store.h5"
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(target)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "open\n"
        write_text(target, "while the other is alive")
        assert len(names(tmp_path)) == 2
        writer.kill()
        writer.wait()
    write_text(target, "after its death")
    assert names(tmp_path) == ["store.h5"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "images"
    with pytest.raises(KeyError), atomic_folder(target) as folder:
        (folder / "a").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    # Two runs at a time, as when only the main process of one was killed: each has its own.
    with pytest.raises(LwdnaError), atomic_folder(target) as first:
        with atomic_folder(target) as second:
            (first / "a").touch()
            (second / "b").touch()
        assert names(target) == ["b"]
    assert names(tmp_path) == ["images"] and names(target) == ["b"]


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/precious").touch()
    with pytest.raises(LwdnaError, match="delete it and run"), atomic_folder(tmp_path / "images"):
        pass
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["precious"]


def test_folders_that_killed_processes_left_are_removed(tmp_path):
    code = "from lwdna.files import atomic_folder; import os\n"
    code += f"with atomic_folder({str(tmp_path / 'images')!r}): os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_folder(tmp_path / "images"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
